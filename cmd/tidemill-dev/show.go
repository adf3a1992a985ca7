package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tidemill/tidemill/dev/result"
)

// showRows is how many rows of a result are printed.
const showRows = 8

// showResult prints the first rows of a result as a table.
func showResult(out io.Writer, t *result.Table) {
	w := table.NewWriter()
	w.SetOutputMirror(out)
	w.SetStyle(table.StyleLight)
	w.Style().Format.Header = text.FormatDefault
	header := make(table.Row, len(t.Columns))
	configs := make([]table.ColumnConfig, len(t.Columns))
	for i, name := range t.Columns {
		header[i] = name
		configs[i] = table.ColumnConfig{Number: i + 1}
		if numeric(t, i) {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	w.AppendHeader(header)
	w.SetColumnConfigs(configs)
	for _, values := range t.Rows[:min(showRows, len(t.Rows))] {
		row := make(table.Row, len(values))
		for i, v := range values {
			row[i] = v
		}
		w.AppendRow(row)
	}
	w.Render()
	if rest := len(t.Rows) - showRows; rest > 0 {
		fmt.Fprintf(out, "… and %d more rows\n", rest)
	}
}

// numeric says whether all values of a column are numbers.
func numeric(t *result.Table, column int) bool {
	for _, row := range t.Rows {
		if _, err := strconv.ParseFloat(row[column], 64); err != nil && row[column] != result.Null && row[column] != "" {
			return false
		}
	}
	return true
}
