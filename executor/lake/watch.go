package lake

import (
	"strconv"
	"sync"
	"time"

	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/task"
)

// Watch reports what was read while it is computed.
type Watch struct {
	// Counts are of what is read.
	Counts input.Counts

	send     func(task.Progress)
	phase    string
	total    int64 // bytes that there are to be read
	from, to float64
	quit     chan struct{}
	finished sync.WaitGroup
}

const reportInterval = 500 * time.Millisecond

// NewWatch begins; the caller stops it. total is the bytes that there are to be read, and from and to say which part of the
// task that is.
func NewWatch(send func(task.Progress), phase string, total int64, from, to float64) *Watch {
	w := &Watch{send: send, phase: phase, total: max(total, 1), from: from, to: to, quit: make(chan struct{})}
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

func (w *Watch) report() {
	bytes := w.Counts.Bytes.Load()
	share := min(float64(bytes)/float64(w.total), 1)
	w.send(task.Progress{Fraction: w.from + share*(w.to-w.from), Phase: w.phase, Rows: w.Counts.Rows.Load(), Bytes: bytes})
}

// Stop ends the reports with one of everything that was read.
func (w *Watch) Stop() {
	close(w.quit)
	w.finished.Wait()
	w.report()
}

// Done reports what became of it.
func (w *Watch) Done(phase string, fraction float64, rows, bytes int64) {
	w.send(task.Progress{
		Fraction: fraction, Phase: phase, Rows: w.Counts.Rows.Load(), Bytes: w.Counts.Bytes.Load(), OutRows: rows, OutBytes: bytes,
	})
}

// Listing reports how many files were found so far.
func Listing(send func(task.Progress)) func(files int) {
	var last time.Time
	return func(files int) {
		if now := time.Now(); now.Sub(last) >= reportInterval {
			last = now
			send(task.Progress{Phase: "listing " + thousands(files) + " files"})
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
