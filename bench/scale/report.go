package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Aims; the ratios in the table are how many times better than these it is.
const (
	aimDecisions   = 100_000 // a second on one core
	aimLaunches    = 3750    // a second, stored
	aimPass        = 200 * time.Millisecond
	aimPending     = 512             // bytes
	aimReconcile   = 5 * time.Second // for 100,000 tasks
	aimReconcile10 = 2 * time.Second // for 10,000
)

// report prints what was measured.
func report(out io.Writer, l load, core decided, stores []string, results []result) {
	w := table.NewWriter()
	w.SetOutputMirror(out)
	w.SetStyle(table.StyleLight)
	w.Style().Format.Header = text.FormatDefault
	header := table.Row{fmt.Sprintf("%d agents, %d tasks", l.agents, l.tasks()), "core alone"}
	for _, name := range stores {
		header = append(header, name)
	}
	w.AppendHeader(header)
	row := func(name, alone string, cell func(r result) string) {
		line := table.Row{name, alone}
		for _, r := range results {
			if cell == nil {
				line = append(line, "")
				continue
			}
			line = append(line, cell(r))
		}
		w.AppendRow(line)
	}
	row("decisions a second of CPU", rate(core.rate, aimDecisions), nil)
	row("decisions a second", rate(core.clock, aimDecisions), nil)
	row("bytes allocated for a decision", fmt.Sprintf("%.0f", core.perTask), nil)
	row("pass over an offer of each agent", span(core.pass, aimPass), func(r result) string { return span(r.passCore, aimPass) })
	row("  on the wire, until the last was declined", "", func(r result) string { return span(r.passWire, aimPass) })
	row("heap with all tasks pending, MiB", "", func(r result) string { return fmt.Sprint(r.heap >> 20) })
	row("bytes for each pending task", "", func(r result) string {
		return fmt.Sprintf("%.0f (%.1f)", r.perPending, aimPending/r.perPending)
	})
	row("launches a second, from offers to the last ACCEPT", "", func(r result) string { return rate(r.all.rate, aimLaunches) })
	row("  offer to ACCEPT, p50 and p99", "", func(r result) string { return short(r.all.p50) + ", " + short(r.all.p99) })
	row("  writes to the store, the longest", "", func(r result) string { return fmt.Sprint(r.all.writes) + ", " + short(r.all.longest) })
	row("launches a second of tasks that end at once", "", func(r result) string { return rate(r.sustained, aimLaunches) })
	row("ends a second, stored and acknowledged", "", func(r result) string { return fmt.Sprintf("%.0f", r.ends) })
	for _, part := range []struct {
		of  func(result) launched
		aim time.Duration
	}{
		{func(r result) launched { return r.few }, aimReconcile10},
		{func(r result) launched { return r.all }, aimReconcile},
	} {
		if len(results) == 0 {
			break
		}
		name := fmt.Sprintf("fail-over with %d running: ", part.of(results[0]).tasks)
		row(name+"read the store", "", func(r result) string { return short(part.of(r).loaded) })
		row("  make the core", "", func(r result) string { return short(part.of(r).made) })
		row("  SUBSCRIBED to the last answer of reconciliation", "", func(r result) string { return span(part.of(r).reconcile, part.aim) })
	}
	w.Render()
}

func rate(got, aim float64) string { return fmt.Sprintf("%.0f (%.1f)", got, got/aim) }

func span(got, aim time.Duration) string {
	return fmt.Sprintf("%s (%.1f)", short(got), float64(aim)/float64(got))
}

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
