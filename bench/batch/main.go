package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// testCase is one cell of the comparison.
type testCase struct {
	dataset, format, cardinality string
	threads                      int
}

func (c testCase) String() string {
	return fmt.Sprintf("%s, %s, %s cardinality, %d threads", c.dataset, c.format, c.cardinality, c.threads)
}

func (c testCase) job() string {
	return fmt.Sprintf("bench-%s-%s-%s-%d", c.dataset, c.format, c.cardinality, c.threads)
}

func (c testCase) keys() []string {
	switch {
	case c.dataset == "rows":
		return []string{c.cardinality}
	case c.cardinality == "low":
		return []string{"carrier"}
	}
	return []string{"origin", "dest", "month", "day"}
}

// arguments are the columns that are summed, averaged and of which the largest is asked.
func (c testCase) arguments() (amount, price, most string) {
	if c.dataset == "rows" {
		return "amount", "price", "price"
	}
	return "distance", "dep_delay", "arr_delay"
}

// columns declares what the peers are told, too.
func (c testCase) columns() map[string]string {
	if c.dataset == "rows" {
		return map[string]string{c.cardinality: "BIGINT", "amount": "BIGINT", "price": "DOUBLE"}
	}
	all := map[string]string{"distance": "BIGINT", "dep_delay": "BIGINT", "arr_delay": "BIGINT"}
	for _, key := range c.keys() {
		all[key] = map[bool]string{true: "BIGINT", false: "VARCHAR"}[key == "month" || key == "day"]
	}
	return all
}

// outcome is what one side needed.
type outcome struct {
	wall, cpu, servers time.Duration
	peak               int64 // bytes
	stages             []string
	result             string // a pattern of Parquet files
}

type settings struct {
	rows, highRows, flights int64
	rounds                  int
	dir                     string

	datasets, formats, cardinalities, threads, peers []string
}

func main() {
	var s settings
	flag.Int64Var(&s.rows, "rows", 10_000_000, "generated rows, for low and medium cardinality")
	flag.Int64Var(&s.highRows, "high-rows", 40_000_000, "generated rows for high cardinality")
	flag.Int64Var(&s.flights, "flights", 100, "copies of the flights")
	flag.IntVar(&s.rounds, "rounds", 1, "how often each is done, all in turn; the least of each counts")
	flag.StringVar(&s.dir, "dir", "", "where data is kept for the next time; a temporary folder if empty")
	list := func(to *[]string, name, all, usage string) {
		*to = strings.Split(all, ",")
		flag.Func(name, usage+" (default "+all+")", func(text string) error {
			*to = strings.Split(text, ",")
			for _, one := range *to {
				if !slices.Contains(strings.Split(all, ","), one) {
					return fmt.Errorf("want some of %s, got %q", all, one)
				}
			}
			return nil
		})
	}
	list(&s.datasets, "datasets", "rows,flights", "which data")
	list(&s.formats, "formats", "jsonl,csv,parquet", "which formats")
	list(&s.cardinalities, "cardinalities", "low,medium,high", "how many groups")
	list(&s.threads, "threads", "1,2", "how many threads, ours as tasks of one thread each")
	list(&s.peers, "peers", "duckdb,polars,pyspark", "what to compare with")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, &s); err != nil {
		fmt.Fprintln(os.Stderr, "batch:", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, s *settings) (err error) {
	scratch, err := os.MkdirTemp("", "tidemill-batch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if s.dir == "" {
		s.dir = scratch
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	p, err := installPeers(ctx, scratch)
	if err != nil {
		return err
	}
	ours, err := startPlatform(ctx, scratch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	var wrong error
	for _, c := range s.cases() {
		wrong = errors.Join(wrong, s.one(ctx, p, ours, c, scratch))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return wrong
}

func (s *settings) cases() []testCase {
	var all []testCase
	for _, dataset := range s.datasets {
		for _, format := range s.formats {
			for _, cardinality := range s.cardinalities {
				for _, threads := range s.threads {
					n, err := strconv.Atoi(threads)
					if err == nil && (dataset == "rows" || cardinality != "high") {
						all = append(all, testCase{dataset, format, cardinality, n})
					}
				}
			}
		}
	}
	return all
}

// one compares all sides on one case and prints a table.
func (s *settings) one(ctx context.Context, p *peers, ours *platform, c testCase, scratch string) error {
	size := s.rows
	switch {
	case c.dataset == "flights":
		size = s.flights
	case c.cardinality == "high":
		size = s.highRows
	}
	folder, err := prepare(ctx, s.dir, c.dataset, c.format, size)
	if err != nil {
		return err
	}
	prefix := "bench/" + filepath.Base(folder) + "/"
	if err := ours.upload(ctx, folder, prefix); err != nil {
		return fmt.Errorf("upload %s: %w", folder, err)
	}
	least, problems, results := map[string]*outcome{}, map[string]error{}, map[string]string{}
	sides := append([]string{"tidemill"}, s.peers...)
	for range s.rounds {
		for _, side := range sides {
			target := filepath.Join(scratch, "result")
			var got *outcome
			if side == "tidemill" {
				got, err = ours.run(ctx, c, prefix, target)
			} else {
				got, err = p.run(ctx, side, c, folder, target)
			}
			if err == nil {
				results[side], err = fingerprint(ctx, c, got.result)
			}
			if err = errors.Join(err, os.RemoveAll(target)); err != nil {
				problems[side] = err
				continue
			}
			if best := least[side]; best == nil || got.cpu < best.cpu {
				least[side] = got
			}
		}
	}
	show(c, sides, least, problems, results)
	return verdict(c, sides, results, problems)
}

func show(c testCase, sides []string, least map[string]*outcome, problems map[string]error, results map[string]string) {
	fmt.Printf("\n%s\n", c)
	w := table.NewWriter()
	w.SetOutputMirror(os.Stdout)
	w.SetStyle(table.StyleLight)
	w.AppendHeader(table.Row{"", "wall s", "CPU s", "peak MiB", "ours: wall ×", "ours: CPU ×", "remarks"})
	ours := least["tidemill"]
	for _, side := range sides {
		o := least[side]
		if o == nil {
			w.AppendRow(table.Row{side, "–", "–", "–", "–", "–", problems[side]})
			continue
		}
		row := table.Row{side, seconds(o.wall), seconds(o.cpu), o.peak >> 20, "", "", ""}
		switch {
		case side == "tidemill":
			row[6] = fmt.Sprintf("%s; servers %s s CPU", strings.Join(o.stages, ", "), seconds(o.servers))
		case ours != nil:
			row[4], row[5] = ratio(ours.wall, o.wall), ratio(ours.cpu, o.cpu)
		}
		w.AppendRow(row)
	}
	w.Render()
	for _, side := range sides {
		if results[side] != "" {
			fmt.Printf("%-9s %s\n", side, results[side])
		}
	}
}

// verdict is an error if results differ, or if ours failed.
func verdict(c testCase, sides []string, results map[string]string, problems map[string]error) error {
	if results["tidemill"] == "" {
		return fmt.Errorf("%s: %w", c, problems["tidemill"])
	}
	for _, side := range sides {
		if results[side] != "" && results[side] != results["tidemill"] {
			return fmt.Errorf("%s: tidemill and %s differ: %s, %s", c, side, results["tidemill"], results[side])
		}
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
func ratio(ours, theirs time.Duration) string {
	return fmt.Sprintf("%.2f", ours.Seconds()/theirs.Seconds())
}
