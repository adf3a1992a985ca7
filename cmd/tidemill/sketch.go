package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/jobs/sketch"
)

// newSketchCommand reads the bytes of approximate measures. It needs no server.
func newSketchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sketch",
		Short: "Ask and merge the sketches of approximate measures",
		Long: `Ask and merge sketches: the bytes of measures with "as": "sketch", of membership, and those of any other program
that uses Apache DataSketches. Their kind is found out: HLL, theta, KLL of doubles, frequent items (longs or strings),
Bloom filter.

Files hold the bytes as they are, or text with a sketch in base64 on each line, as CSV results have them. No file, or -,
is standard input.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(newSketchEstimateCommand(), newSketchMergeCommand())
	return cmd
}

// maxSketches bounds one file.
const maxSketches = 1 << 30

func newSketchEstimateCommand() *cobra.Command {
	var ask asked
	cmd := &cobra.Command{
		Use:   "estimate [FILE]...",
		Short: "Show what sketches estimate",
		Long: `Show what each sketch estimates, with the bounds of 95 % confidence.

A KLL sketch shows the median, or the quantiles of --quantile; a frequent items sketch the most frequent items. --contains
asks a Bloom filter: it never misses a member, and takes some other values for members.`,
		Example: `  tidemill sketch estimate planes.hll
  tidemill sketch estimate --quantile 0.5 --quantile 0.99 delays.kll
  tidemill sketch estimate --contains N14228 planes.bloom`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := ask.check(cmd); err != nil {
				return usageError(err)
			}
			sketches, err := readSketches(cmd.InOrStdin(), files)
			if err != nil {
				return err
			}
			return ask.show(cmd.OutOrStdout(), sketches)
		},
	}
	flags := cmd.Flags()
	flags.Float64SliceVar(&ask.quantiles, "quantile", nil, "a rank from 0 to 1, of a KLL sketch (0.5 if none is given)")
	flags.IntVar(&ask.top, "top", 10, "how many items, of a frequent items sketch")
	flags.StringArrayVar(&ask.contains, "contains", nil, "a value that a Bloom filter is asked for")
	flags.StringVar(&ask.as, "type", "text", "what the values of --contains are: text, long (whole numbers up to 64 bits) or double")
	flags.StringVarP(&ask.output, "output", "o", "text", "text or json")
	return cmd
}

// asked is what is asked of sketches.
type asked struct {
	quantiles  []float64
	top        int
	contains   []string
	as, output string
	values     [][]byte // of contains
}

func (a *asked) check(cmd *cobra.Command) error {
	for _, q := range a.quantiles {
		if !(q >= 0 && q <= 1) {
			return fmt.Errorf("--quantile %g: want a number from 0 to 1", q)
		}
	}
	if a.top < 1 {
		return fmt.Errorf("--top %d: want 1 at least", a.top)
	}
	if a.output != "text" && a.output != "json" {
		return fmt.Errorf("--output %q: want text or json", a.output)
	}
	if cmd.Flags().Changed("type") && len(a.contains) == 0 {
		return errors.New("--type is only for --contains")
	}
	for _, text := range a.contains {
		value, err := valueOf(text, a.as)
		if err != nil {
			return err
		}
		a.values = append(a.values, value)
	}
	return nil
}

// valueOf is the bytes that a value has in a sketch.
func valueOf(text, as string) ([]byte, error) {
	switch as {
	case "text":
		return sketch.Text([]byte(text)), nil
	case "long":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("--contains %q: want a whole number up to 64 bits", text)
		}
		return sketch.Long(n, new([8]byte)), nil
	case "double":
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("--contains %q: want a number", text)
		}
		return sketch.Double(x, new([8]byte)), nil
	}
	return nil, fmt.Errorf("--type %q: want text, long or double", as)
}

// namedSketch is a sketch with the name of where it came from.
type namedSketch struct {
	name string
	*sketch.Any
}

func readSketches(stdin io.Reader, files []string) ([]namedSketch, error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	var all []namedSketch
	for _, name := range files {
		data, err := readSketchFile(stdin, name)
		if err != nil {
			return nil, usageError(err)
		}
		some, err := parseSketches(name, data)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func readSketchFile(stdin io.Reader, name string) (data []byte, err error) {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		from = file
	}
	data, err = io.ReadAll(io.LimitReader(from, maxSketches+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxSketches {
		return nil, fmt.Errorf("read %s: it has more than %d bytes", name, maxSketches)
	}
	return data, nil
}

// parseSketches reads one sketch as it is, or one on each line in base64.
func parseSketches(name string, data []byte) ([]namedSketch, error) {
	binary, binaryErr := sketch.Read(data)
	if binaryErr == nil {
		return []namedSketch{{name, binary}}, nil
	}
	if !isBase64(data) {
		return nil, fmt.Errorf("%s: %w", name, binaryErr)
	}
	var all []namedSketch
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	for i, line := range lines {
		at := name
		if len(lines) > 1 {
			at = fmt.Sprintf("%s:%d", name, i+1)
		}
		decoded, err := base64.StdEncoding.DecodeString(strings.Trim(string(line), " \t\r\""))
		if err != nil {
			return nil, fmt.Errorf("%s: it is neither a sketch nor base64: %w", at, err)
		}
		s, err := sketch.Read(decoded)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		all = append(all, namedSketch{at, s})
	}
	return all, nil
}

// isBase64 says whether data is text that may be base64.
func isBase64(data []byte) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\" \t\r\n"
	return len(bytes.TrimSpace(data)) > 0 && len(bytes.Trim(data, letters)) == 0
}

// show writes what the sketches say, below one another.
func (a *asked) show(out io.Writer, sketches []namedSketch) error {
	var objects []map[string]any
	for i, s := range sketches {
		facts, err := a.facts(s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if a.output == "json" {
			object := map[string]any{}
			for _, fact := range facts {
				object[fact.Name] = fact.Value
			}
			objects = append(objects, object)
			continue
		}
		if i > 0 {
			if _, err := fmt.Fprintln(out); err != nil {
				return err
			}
		}
		var fields [][2]string
		for _, fact := range facts {
			fields = append(fields, [2]string{fact.Name, factText(fact.Value)})
		}
		if err := writeFields(out, fields); err != nil {
			return err
		}
	}
	if a.output == "json" {
		return writeJSON(out, objects)
	}
	return nil
}

// facts are what is known, and what was asked.
func (a *asked) facts(s namedSketch) ([]sketch.Fact, error) {
	known, err := s.Facts()
	if err != nil {
		return nil, err
	}
	facts := append([]sketch.Fact{{Name: "sketch", Value: s.name}, {Name: "kind", Value: string(s.Kind())}}, known...)
	quantiles := a.quantiles
	if s.Kind() == sketch.KindKLL && len(quantiles) == 0 {
		quantiles = []float64{0.5}
	}
	for _, q := range quantiles {
		value, err := s.Quantile(q)
		if err != nil {
			return nil, fmt.Errorf("quantile %g: %w", q, err)
		}
		facts = append(facts, sketch.Fact{Name: fmt.Sprintf("quantile %g", q), Value: value})
	}
	if s.Kind() == sketch.KindFrequent {
		items, err := s.Top(a.top)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			facts = append(facts, sketch.Fact{Name: "item " + s.Text(item), Value: item.Count})
		}
	}
	for i, value := range a.values {
		in, err := s.Contains(value)
		if err != nil {
			return nil, err
		}
		answer := "no"
		if in {
			answer = "probably"
		}
		facts = append(facts, sketch.Fact{Name: "contains " + a.contains[i], Value: answer})
	}
	return facts, nil
}

func factText(value any) string {
	x, ok := value.(float64)
	if !ok {
		return fmt.Sprint(value)
	}
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', 10, 64)
}

func newSketchMergeCommand() *cobra.Command {
	var union, intersect, difference, plain bool
	var output string
	cmd := &cobra.Command{
		Use:   "merge FILE...",
		Short: "Merge sketches of one kind into one",
		Long: `Merge sketches of one kind into one of all that they have seen, and write it in base64.

Theta sketches can be intersected and subtracted, too.`,
		Example: `  tidemill sketch merge monday.hll tuesday.hll | tidemill sketch estimate
  tidemill sketch merge --difference all.theta returned.theta --output lost.theta`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			sketches, err := readSketches(cmd.InOrStdin(), files)
			if err != nil {
				return err
			}
			operation := sketch.Merge
			switch {
			case union:
				operation = sketch.Union
			case intersect:
				operation = sketch.Intersect
			case difference:
				operation = sketch.Difference
			}
			var all []*sketch.Any
			for _, s := range sketches {
				all = append(all, s.Any)
			}
			merged, err := operation(all)
			if err != nil {
				return err
			}
			data, err := merged.Bytes()
			if err != nil {
				return err
			}
			return writeSketch(cmd.OutOrStdout(), output, data, plain)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&union, "union", false, "of theta sketches, what is in any (the same as without a flag)")
	flags.BoolVar(&intersect, "intersect", false, "of theta sketches, what is in all")
	flags.BoolVar(&difference, "difference", false, "of theta sketches, what is in the first and in no other")
	flags.StringVar(&output, "output", "", "a file that gets the sketch, as bytes, instead of standard output")
	flags.BoolVar(&plain, "bytes", false, "write bytes to standard output, not base64")
	cmd.MarkFlagsMutuallyExclusive("union", "intersect", "difference")
	cmd.MarkFlagsMutuallyExclusive("output", "bytes")
	return cmd
}

func writeSketch(out io.Writer, file string, data []byte, plain bool) error {
	switch {
	case file != "":
		return os.WriteFile(file, data, 0o666)
	case plain:
		_, err := out.Write(data)
		return err
	}
	_, err := fmt.Fprintln(out, base64.StdEncoding.EncodeToString(data))
	return err
}
