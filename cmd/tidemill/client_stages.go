package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tidemill/tidemill/api/wire"
)

var stageHeader = table.Row{"stage", "tasks", "rows", "read", "rows out", "out", "took", "median", "slowest", "skew", "left"}

func stageRow(stage wire.Stage) table.Row {
	row := table.Row{stage.Name, fmt.Sprintf("%d/%d", stage.Tasks.Finished, stage.Tasks.Sum()), formatCount(stage.Rows), formatBytes(stage.Bytes),
		formatCount(stage.OutRows), formatBytes(stage.OutBytes), formatTook(stage.Started, stage.Ended), "", "", "", formatLeft(stage.TimeLeft)}
	if d := stage.Durations; d != nil {
		row[7], row[8] = formatSeconds(d.Median), formatSeconds(d.Max)
		if d.Tasks > 1 && d.Skew > 0 {
			row[9] = fmt.Sprintf("%.1f×", d.Skew)
		}
	}
	return row
}

// writeStages writes the stage table below an empty line; nothing if there are no stages yet.
func writeStages(w io.Writer, stages []wire.Stage) error {
	if len(stages) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	rows := make([]table.Row, len(stages))
	for i, stage := range stages {
		rows[i] = stageRow(stage)
	}
	return writeTable(w, stageHeader, rows)
}

// formatSeconds is a duration that the API gives in seconds.
func formatSeconds(seconds float64) string {
	return formatDuration(time.Duration(seconds * float64(time.Second)))
}

// formatLeft is an estimate, or nothing.
func formatLeft(seconds *float64) string {
	if seconds == nil {
		return ""
	}
	d := time.Duration(*seconds * float64(time.Second)).Round(time.Second)
	if d < time.Hour {
		return "about " + d.String()
	}
	return "about " + formatDuration(d)
}

// formatSome is a count, or nothing for none.
func formatSome(n int64) string {
	if n == 0 {
		return ""
	}
	return formatCount(n)
}

// formatAttempts is how many attempts a task has had, and whether one of them was launched beside another.
func formatAttempts(task wire.Task) string {
	text := fmt.Sprint(len(task.Attempts))
	for _, a := range task.Attempts {
		if a.Second != "" {
			return text + ", second"
		}
	}
	return text
}

// formatTaskTook is how long the attempt took that says most of a task: the one that finished, or else the newest.
func formatTaskTook(task wire.Task) string {
	for _, a := range task.Attempts {
		if a.State == "finished" && !a.GivenUp && !a.HandedOver {
			return formatTook(&a.Launched, a.Ended)
		}
	}
	if n := len(task.Attempts); n > 0 {
		return formatTook(&task.Attempts[n-1].Launched, task.Attempts[n-1].Ended)
	}
	return ""
}

// stageLines are the stage table as lines, for a terminal that is drawn over.
func stageLines(stages []wire.Stage) []string {
	var text strings.Builder
	if err := writeStages(&text, stages); err != nil {
		return nil // a builder takes everything
	}
	return strings.Split(strings.Trim(text.String(), "\n"), "\n")
}
