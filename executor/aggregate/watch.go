package aggregate

import (
	"strconv"
	"sync"
	"time"

	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/task"
)

// watch reports what was read while a split is computed.
type watch struct {
	stage    *stage
	phase    string
	total    int64 // bytes of the split
	from, to float64
	counts   input.Counts
	quit     chan struct{}
	finished sync.WaitGroup
}

const reportInterval = 500 * time.Millisecond

// watch begins; the caller stops it.
func (t *stage) watch(phase string, total int64, from, to float64) *watch {
	w := &watch{stage: t, phase: phase, total: max(total, 1), from: from, to: to, quit: make(chan struct{})}
	w.finished.Go(func() {
		ticker := time.NewTicker(reportInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				w.report()
			case <-w.quit:
				return
			}
		}
	})
	w.report()
	return w
}

func (w *watch) report() {
	bytes := w.counts.Bytes.Load()
	share := min(float64(bytes)/float64(w.total), 1)
	w.stage.Report(task.Progress{Fraction: w.from + share*(w.to-w.from), Phase: w.phase, Rows: w.counts.Rows.Load(), Bytes: bytes})
}

// stop ends the reports with one of everything that was read.
func (w *watch) stop() {
	close(w.quit)
	w.finished.Wait()
	w.report()
}

// done reports what became of it.
func (w *watch) done(phase string, fraction float64, rows, bytes int64) {
	w.stage.Report(task.Progress{
		Fraction: fraction, Phase: phase, Rows: w.counts.Rows.Load(), Bytes: w.counts.Bytes.Load(), OutRows: rows, OutBytes: bytes,
	})
}

// listingProgress says how many files were found so far.
func (t *stage) listingProgress() func(files int) {
	var last time.Time
	return func(files int) {
		if now := time.Now(); now.Sub(last) >= reportInterval {
			last = now
			t.report("listing "+thousands(files)+" files", 0)
		}
	}
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
