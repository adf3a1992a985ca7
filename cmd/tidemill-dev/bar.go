package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/api/wire"
)

// bar shows a run's progress: one line that changes on a terminal, a line for each new stage elsewhere.
type bar struct {
	out      io.Writer
	name     string
	terminal bool
	last     string
}

func newBar(out io.Writer, name string) *bar {
	return &bar{out: out, name: name, terminal: isTerminal(out)}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

const barWidth = 30

func (b *bar) show(r wire.Run) {
	full := int(r.Progress * barWidth)
	what := r.State
	if n := len(r.Stages); n > 0 && r.Ended == nil {
		stage := r.Stages[n-1]
		what = fmt.Sprintf("%s %d/%d", stage.Name, stage.Tasks.Finished, stage.Tasks.Sum())
	}
	line := fmt.Sprintf("  %s [%s%s] %3.0f%% %s", b.name, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), 100*r.Progress, what)
	switch {
	case b.terminal:
		fmt.Fprintf(b.out, "\r\x1b[K%s", line)
	case what != b.last:
		fmt.Fprintln(b.out, line)
	}
	b.last = what
}

// done ends the line.
func (b *bar) done() {
	if b.terminal {
		fmt.Fprintln(b.out)
	}
}
