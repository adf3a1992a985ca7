package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidemill/tidemill/api/wire"
)

func newWatchCommand() *cobra.Command {
	return verb(&cobra.Command{
		Use:   "watch RUN",
		Short: "Follow a run until it has ended: its stages and a bar on a terminal, lines otherwise",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		return watchRun(ctx, s, args[0])
	})
}

// watchRun follows a run on stderr and prints on stdout what it has come to. A run that did not succeed is an error.
func watchRun(ctx context.Context, s *shell, id string) error {
	var view runView = &runLines{out: s.err}
	if isTerminal(s.err) {
		view = newRunBar(s.err)
	}
	run, err := s.Watch(ctx, id, view.show)
	view.end(run)
	if err != nil {
		return err
	}
	if s.json {
		err = writeJSON(s.out, run)
	} else {
		fields := [][2]string{{"run", run.ID}, {"state", run.State}, {"took", formatTook(run.Started, run.Ended)}}
		err = errors.Join(writeFields(s.out, append(fields, outcome(run)...)), writeStages(s.out, run.Stages))
	}
	if err == nil && run.State != "succeeded" {
		return &exitError{code: exitFailed}
	}
	return err
}

// runView shows a run as it changes.
type runView interface {
	show(wire.Run) error
	end(wire.Run) // the last that was seen; the zero run if none was
}

// runLines writes a line for each change that matters.
type runLines struct {
	out  io.Writer
	last string
}

var numbers = regexp.MustCompile(`[0-9]+`)

// show leaves out each task's end.
func (l *runLines) show(run wire.Run) error {
	line := describeRun(run)
	text := fmt.Sprintf("%d %s", int(run.Progress*10), numbers.ReplaceAllString(line, "0"))
	if text == l.last {
		return nil
	}
	l.last = text
	_, err := fmt.Fprintf(l.out, "%3d %%  %s\n", int(run.Progress*100), line)
	return err
}

func underWay(run wire.Run) bool {
	return slices.ContainsFunc(run.Stages, func(s wire.Stage) bool {
		return s.Tasks.Launching+s.Tasks.Starting+s.Tasks.Running > 0
	})
}

func (l *runLines) end(wire.Run) {}

// describeRun is a run in one line. Why the rest waits changes all the time while some of a run is under way.
func describeRun(run wire.Run) string {
	line := run.State
	if stages := formatStages(run.Stages); stages != "" {
		line += "  " + stages
	}
	if left := formatLeft(run.TimeLeft); left != "" {
		line += "  " + left + " left"
	}
	if run.Waiting != "" && !underWay(run) {
		line += "  (" + run.Waiting + ")"
	}
	return line
}

// runBar draws the stage table and a bar below it.
type runBar struct {
	writer  progress.Writer
	tracker *progress.Tracker
	drawn   chan struct{} // closed when the drawing has ended
}

const barSteps = 1000

func newRunBar(out io.Writer) *runBar {
	b := &runBar{writer: progress.NewWriter(), tracker: &progress.Tracker{Total: barSteps, Units: progress.UnitsDefault}, drawn: make(chan struct{})}
	b.writer.SetOutputWriter(out)
	if file, ok := out.(*os.File); ok {
		// A line that fills the terminal would begin the next one, and not be drawn over.
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 1 {
			b.writer.SetTerminalWidth(width - 1)
		}
	}
	b.writer.SetTrackerLength(30)
	b.writer.SetUpdateFrequency(100 * time.Millisecond)
	b.writer.SetStyle(progress.StyleBlocks)
	b.writer.Style().Visibility.Value = false
	b.writer.Style().Visibility.ETA = false
	b.writer.Style().Options.TimeInProgressPrecision = time.Second
	b.writer.SetAutoStop(true) // when the tracker is marked; Stop would be lost if the drawing has not begun yet
	b.writer.AppendTracker(b.tracker)
	go func() {
		defer close(b.drawn)
		b.writer.Render()
	}()
	return b
}

func (b *runBar) show(run wire.Run) error {
	b.tracker.UpdateMessage(describeRun(run))
	b.writer.SetPinnedMessages(stageLines(run.Stages)...)
	if !wire.Ended(run.State) { // the tracker would take its last step for its end
		b.tracker.SetValue(min(int64(run.Progress*barSteps), barSteps-1))
	}
	return nil
}

func (b *runBar) end(run wire.Run) {
	if run.State == "succeeded" {
		b.tracker.MarkAsDone()
	} else {
		b.tracker.MarkAsErrored()
	}
	<-b.drawn
}
