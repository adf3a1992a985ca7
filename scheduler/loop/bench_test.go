package loop_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/loop"
	"github.com/tidemill/tidemill/scheduler/store"
)

// storingCore stores one record for each command and answers.
type storingCore struct{ sequence uint64 }

func (c *storingCore) Step(in scheduler.Input) scheduler.Actions {
	command, ok := in.Event.(scheduler.Command)
	if !ok {
		return scheduler.Actions{}
	}
	c.sequence++
	id := command.Body.(scheduler.CancelRun).Run
	return scheduler.Actions{
		Store:   []scheduler.Change{{Key: scheduler.Key{Kind: scheduler.KindRun, ID: id}, Value: make([]byte, 500)}},
		Replies: []scheduler.Reply{{Ticket: command.Ticket}},
	}
}

func (c *storingCore) View() *scheduler.View { return &scheduler.View{Sequence: c.sequence} }

// noMaster never says anything.
type noMaster struct{}

func (noMaster) Run(ctx context.Context, _ scheduler.Identity, _ func(scheduler.Event)) error {
	<-ctx.Done()
	return nil
}

func (noMaster) Send([]scheduler.Call) {}

// commits counts store writes.
type commits struct{ n atomic.Int64 }

func (*commits) Count(scheduler.Count)                          {}
func (c *commits) Committed(_, _ int, _ time.Duration, _ error) { c.n.Add(1) }

// BenchmarkDo measures durable commands on the embedded store, by how many callers wait at one time: group commit lets
// them share a write.
func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			file, err := store.Open(filepath.Join(b.TempDir(), "tidemill.db"))
			if err != nil {
				b.Fatal(err)
			}
			written := &commits{}
			l, err := loop.Open(b.Context(), loop.Config{
				Core:     func([]scheduler.Record) (loop.Core, error) { return &storingCore{}, nil },
				Store:    file,
				Master:   noMaster{},
				Observer: written,
				Log:      slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- l.Run(ctx) }()
			var next atomic.Int64
			b.SetParallelism(callers)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := l.Do(ctx, scheduler.CancelRun{Run: fmt.Sprint(next.Add(1) % 10000)}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(next.Load())/float64(max(1, written.n.Load())), "commands/write")
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
			if err := file.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
