package main

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tidemill/tidemill/api/wire"
)

// writeJSON writes a value for programs, indented for people all the same.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// writeTable writes rows below a header, without lines: they are easy to read and to cut.
func writeTable(w io.Writer, header table.Row, rows []table.Row) error {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(header)
	t.AppendRows(rows)
	for line := range strings.Lines(t.Render() + "\n") {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// valueWidth wraps long values, so that lines stay below a hundred columns.
const valueWidth = 84

// writeFields writes names and values below one another. Empty values are left out, further lines of a value indented.
func writeFields(w io.Writer, fields [][2]string) error {
	width := 0
	for _, f := range fields {
		if f[1] != "" {
			width = max(width, len(f[0]))
		}
	}
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		value := strings.ReplaceAll(f[1], "\n", "\n"+strings.Repeat(" ", width+2))
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, f[0], value); err != nil {
			return err
		}
	}
	return nil
}

// collect reads at most limit items of a list; 0 is all.
func collect[T any](items iter.Seq2[T, error], limit int) ([]T, error) {
	out := []T{}
	for item, err := range items {
		if err != nil {
			return out, err
		}
		out = append(out, item)
		if len(out) == limit {
			break
		}
	}
	return out, nil
}

// showList writes items as JSON, or as a table with a row for each.
func showList[T any](s *shell, items []T, header table.Row, row func(T) table.Row) error {
	if s.json {
		return writeJSON(s.out, items)
	}
	rows := make([]table.Row, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	return writeTable(s.out, header, rows)
}

// formatTime is a time in the reader's zone.
func formatTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// formatTook is how long something took, or takes so far.
func formatTook(begin, end *time.Time) string {
	if begin == nil {
		return ""
	}
	last := time.Now()
	if end != nil {
		last = *end
	}
	return formatDuration(last.Sub(*begin))
}

func formatDuration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// formatBytes is a size with three digits or so.
func formatBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// formatCount groups digits: 1,234,567.
func formatCount(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// plural is a count of things: "1 row", "1,234 rows".
func plural(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return formatCount(n) + " " + thing
}

func formatPercent(fraction float64) string { return fmt.Sprintf("%d %%", int(fraction*100)) }

// formatStages is how far each stage is: "plan 1/1, map 3/8".
func formatStages(stages []wire.Stage) string {
	parts := make([]string, len(stages))
	for i, stage := range stages {
		parts[i] = fmt.Sprintf("%s %d/%d", stage.Name, stage.Tasks.Finished, stage.Tasks.Sum())
	}
	return strings.Join(parts, ", ")
}

// formatRatio is a share with one decimal: "1.4 %".
func formatRatio(fraction float64) string { return fmt.Sprintf("%.1f %%", fraction*100) }

// formatShort is a number in four characters or so: 412, 12.1, 1.2M.
func formatShort(v float64) string {
	units := []string{"", "k", "M", "G", "T"}
	unit := 0
	for ; v >= 9_999.5 && unit < len(units)-1; unit++ {
		v /= 1000
	}
	if v == math.Trunc(v) || v >= 99.95 {
		return fmt.Sprintf("%.0f%s", v, units[unit])
	}
	return fmt.Sprintf("%.1f%s", v, units[unit])
}

// formatAge is how long ago something was, roughly.
func formatAge(t time.Time) string {
	age := max(time.Since(t), 0)
	switch {
	case age < time.Minute:
		return fmt.Sprintf("%ds", int(age.Seconds()))
	case age < time.Hour:
		return fmt.Sprintf("%dm", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh", int(age.Hours()))
	}
	return fmt.Sprintf("%dd", int(age.Hours()/24))
}

// shortVersion is an executor version that fits into a table: beginning and end of a long one. JSON has all of it.
func shortVersion(version string) string {
	const most, end = 20, 6
	if len(version) <= most {
		return version
	}
	return version[:most-end-1] + "…" + version[len(version)-end:]
}

// elide cuts a text to a width, and shows that it did.
func elide(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}
