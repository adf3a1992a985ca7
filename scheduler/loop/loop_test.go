package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trace is what happened, in order.
type trace struct {
	mu    sync.Mutex
	lines []string
}

func (t *trace) add(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func (t *trace) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// fakeCore answers each event with actions that name it.
type fakeCore struct {
	trace    *trace
	sequence uint64
	wake     time.Duration // after now; 0: none
	stepped  bool          // down
	views    int           // how often View was called
}

func (c *fakeCore) Step(in scheduler.Input) scheduler.Actions {
	c.sequence++
	var out scheduler.Actions
	if c.wake > 0 {
		out.Wake = in.Now.Add(c.wake)
	}
	switch e := in.Event.(type) {
	case scheduler.Tick:
		c.sequence--
		c.trace.add("tick")
	case scheduler.SteppedDown:
		c.stepped = true
	case scheduler.Rescind:
		c.trace.add("step %s", e.OfferID)
		out.Store = []scheduler.Change{{Key: scheduler.Key{Kind: scheduler.KindTask, ID: e.OfferID}, Value: []byte{1}}}
		out.Calls = []scheduler.Call{scheduler.Kill{MesosID: e.OfferID}}
		out.Counts = []scheduler.Count{{Metric: e.OfferID}}
	case scheduler.Message:
		c.trace.add("step message") // stores nothing
	case scheduler.Offers:
		out.Store = []scheduler.Change{{Key: scheduler.Key{Kind: scheduler.KindTask, ID: "offered"}, Value: []byte{1}}}
		for range e.Offers {
			out.Calls = append(out.Calls, scheduler.Accept{})
		}
	case scheduler.Command:
		switch body := e.Body.(type) {
		case scheduler.CancelRun:
			c.trace.add("step %s", body.Run)
			out.Store = []scheduler.Change{{Key: scheduler.Key{Kind: scheduler.KindRun, ID: body.Run}, Value: []byte{1}}}
			out.Replies = []scheduler.Reply{{Ticket: e.Ticket, Value: body.Run}}
		case scheduler.DeleteJob:
			out.Replies = []scheduler.Reply{{Ticket: e.Ticket, Err: &scheduler.Error{Kind: scheduler.NotFound, Message: body.Name}}}
		}
	}
	return out
}

func (c *fakeCore) View() *scheduler.View {
	c.views++
	return &scheduler.View{Sequence: c.sequence, Framework: scheduler.Identity{ID: "fw"}, Leading: !c.stepped}
}

// fakeStore can be held, so that what comes meanwhile gathers, and can be made to fail.
type fakeStore struct {
	trace *trace
	hold  chan struct{}
	fail  error
}

func (s *fakeStore) Load(context.Context) ([]scheduler.Record, error) { return formatted, nil }

// formatted is a store without anything to migrate.
var formatted = []scheduler.Record{{
	Key:   scheduler.Key{Kind: scheduler.KindFormat, ID: "format"},
	Value: proto.Encode(&proto.Format{Version: scheduler.FormatVersion}),
}}

func (s *fakeStore) Commit(ctx context.Context, changes []scheduler.Change) error {
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.fail != nil {
		return s.fail
	}
	ids := ""
	for _, c := range changes {
		ids += " " + c.Key.ID
	}
	s.trace.add("commit%s", ids)
	return nil
}

// fakeMaster delivers what the test puts into events.
type fakeMaster struct {
	trace    *trace
	events   chan scheduler.Event
	fail     chan error
	identity scheduler.Identity
}

func (m *fakeMaster) Run(ctx context.Context, identity scheduler.Identity, deliver func(scheduler.Event)) error {
	m.identity = identity
	for {
		select {
		case e := <-m.events:
			deliver(e)
		case err := <-m.fail:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *fakeMaster) Send(calls []scheduler.Call) {
	for _, c := range calls {
		switch c := c.(type) {
		case scheduler.Kill:
			m.trace.add("send %s", c.MesosID)
		case scheduler.Accept:
			m.trace.add("send accept")
		}
	}
}

type fakeObserver struct{ trace *trace }

func (o fakeObserver) Count(c scheduler.Count) {
	if c.Metric == scheduler.MetricOfferToLaunch {
		o.trace.add("count %s %v", c.Metric, c.Value)
		return
	}
	o.trace.add("count %s", c.Metric)
}

func (o fakeObserver) Committed(events, changes int, _ time.Duration, err error) {
	if err != nil {
		o.trace.add("commit failed")
	}
}

type rig struct {
	*Loop
	trace  *trace
	core   *fakeCore
	store  *fakeStore
	master *fakeMaster
	term   Term
	after  uint64
	ended  chan error
	stop   context.CancelFunc
}

// start runs a loop. Call it within a synctest bubble.
func start(t *testing.T, change func(*rig)) *rig {
	t.Helper()
	tr := &trace{}
	r := &rig{
		trace:  tr,
		core:   &fakeCore{trace: tr},
		store:  &fakeStore{trace: tr},
		master: &fakeMaster{trace: tr, events: make(chan scheduler.Event), fail: make(chan error)},
		ended:  make(chan error, 1),
	}
	if change != nil {
		change(r)
	}
	l, err := Open(t.Context(), Config{
		Core:     func([]scheduler.Record) (Core, error) { return r.core, nil },
		Store:    r.store,
		Master:   r.master,
		Observer: fakeObserver{tr},
		Log:      slog.New(slog.DiscardHandler),
		Term:     r.term,
		After:    r.after,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Loop = l
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.ended <- l.Run(ctx) }()
	synctest.Wait()
	return r
}

func (r *rig) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func without(lines []string, drop string) []string {
	return slices.DeleteFunc(lines, func(s string) bool { return s == drop })
}

func TestStoreBeforeCallsAndReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.master.events <- scheduler.Rescind{OfferID: "o1"}
		synctest.Wait()
		got := without(r.trace.all(), "tick")
		want := []string{"step o1", "commit o1", "send o1", "count o1"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if r.master.identity.ID != "fw" {
			t.Errorf("framework ID: got %q, want the stored one", r.master.identity.ID)
		}
		r.end(t)
	})
}

// TestOfferToLaunch: the time begins when the offers come, also while an earlier turn is being stored, and ends when the
// ACCEPT is sent.
func TestOfferToLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(r *rig) { r.store.hold = make(chan struct{}) })
		r.master.events <- scheduler.Rescind{OfferID: "e1"}
		synctest.Wait() // in its commit
		r.master.events <- scheduler.Offers{Offers: make([]scheduler.Offer, 2)}
		time.Sleep(2 * time.Second)
		r.store.hold <- struct{}{}
		synctest.Wait() // in the commit of the offers
		time.Sleep(time.Second)
		r.store.hold <- struct{}{}
		synctest.Wait()
		want := []string{"step e1", "commit e1", "send e1", "count e1", "commit offered", "send accept", "send accept",
			"count tidemill_offer_to_launch_seconds 3", "count tidemill_offer_to_launch_seconds 3"}
		if got := without(r.trace.all(), "tick"); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		r.end(t)
	})
}

func TestEventsThatWaitShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := start(t, func(r *rig) { r.store.hold = hold })
		r.master.events <- scheduler.Rescind{OfferID: "first"}
		synctest.Wait() // its commit is held
		for _, id := range []string{"a", "b", "a", "c"} {
			r.master.events <- scheduler.Rescind{OfferID: id}
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		got := without(r.trace.all(), "tick")
		want := []string{
			"step first", "commit first", "send first", "count first",
			"step a", "step b", "step a", "step c", "commit a b c",
			"send a", "send b", "send a", "send c", "count a", "count b", "count a", "count c",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
		r.end(t)
	})
}

func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		before := r.View().Sequence
		value, err := r.Do(t.Context(), scheduler.CancelRun{Run: "r1"})
		if value != "r1" || err != nil {
			t.Errorf("do: got %v, %v", value, err)
		}
		if r.View().Sequence <= before {
			t.Error("the view after Do does not show the write")
		}
		if got := without(r.trace.all(), "tick"); !slices.Equal(got, []string{"step r1", "commit r1"}) {
			t.Errorf("got %q", got)
		}
		_, err = r.Do(t.Context(), scheduler.DeleteJob{Name: "nope"})
		var refused *scheduler.Error
		if !errors.As(err, &refused) || refused.Kind != scheduler.NotFound {
			t.Errorf("do: got %v, want not found", err)
		}
		r.end(t)
	})
}

func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		var all sync.WaitGroup
		for i := range 2000 {
			all.Go(func() {
				id := fmt.Sprint(i)
				if value, err := r.Do(t.Context(), scheduler.CancelRun{Run: id}); value != id || err != nil {
					t.Errorf("do %s: got %v, %v", id, value, err)
				}
			})
		}
		all.Wait()
		r.end(t)
	})
}

func TestFailedCommitEndsLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		r := start(t, func(r *rig) { r.store.fail = full })
		_, err := r.Do(t.Context(), scheduler.CancelRun{Run: "r1"})
		var refused *scheduler.Error
		if !errors.As(err, &refused) || refused.Kind != scheduler.Unavailable {
			t.Errorf("do: got %v, want unavailable", err)
		}
		if err := <-r.ended; !errors.Is(err, full) {
			t.Errorf("run: got %v, want %v", err, full)
		}
		got := without(r.trace.all(), "tick")
		if want := []string{"step r1", "commit failed"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if view := r.View(); view.Leading || view.Sequence != 0 {
			t.Errorf("the view is %+v: it still leads, or shows what was not stored", view)
		}
		if _, err := r.Do(t.Context(), scheduler.CancelRun{Run: "late"}); !errors.As(err, &refused) {
			t.Errorf("do after the end: got %v", err)
		}
		if _, err := r.Wait(t.Context(), 1<<60); !errors.Is(err, ErrStopped) {
			t.Errorf("wait after the end: got %v", err)
		}
		r.stop()
	})
}

func TestMasterRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		refused := errors.New("framework has been removed")
		r.master.fail <- refused
		if err := <-r.ended; !errors.Is(err, refused) {
			t.Errorf("run: got %v, want %v", err, refused)
		}
		r.stop()
	})
}

func TestTicks(t *testing.T) {
	for name, test := range map[string]struct {
		wake, every time.Duration // what the core asks for; how often events come (0: never)
		want        int           // in ten seconds
	}{
		"idle":        {0, 0, 11},
		"woken":       {100 * time.Millisecond, 0, 101},
		"late wake":   {time.Hour, 0, 11},
		"busy":        {0, 300 * time.Millisecond, 11},
		"busy, woken": {time.Hour, 300 * time.Millisecond, 11},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, func(r *rig) { r.core.wake = test.wake })
				begin := time.Now()
				for test.every > 0 && time.Since(begin) < 10*time.Second {
					r.master.events <- scheduler.Message{}
					time.Sleep(test.every)
				}
				time.Sleep(10*time.Second - time.Since(begin) + time.Millisecond)
				synctest.Wait()
				got := 0
				for _, line := range r.trace.all() {
					if line == "tick" {
						got++
					}
				}
				if got < test.want-2 || got > test.want {
					t.Errorf("ticks in ten seconds: got %d, want %d", got, test.want)
				}
				r.end(t)
			})
		})
	}
}

func TestWaitersSeeTenViewsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		type seen struct{ views, newest int }
		result := make(chan seen)
		go func() {
			var s seen
			var sequence uint64
			for {
				view, err := r.Wait(ctx, sequence)
				if err != nil {
					result <- s
					return
				}
				if view.Sequence <= sequence {
					t.Errorf("wait for newer than %d: got %d", sequence, view.Sequence)
				}
				sequence = view.Sequence
				s.views, s.newest = s.views+1, int(sequence)
			}
		}()
		for range 1000 {
			r.master.events <- scheduler.Rescind{OfferID: "o"}
			time.Sleep(3 * time.Millisecond)
		}
		s := <-result
		if s.views < 25 || s.views > 35 {
			t.Errorf("views in three busy seconds: got %d, want about 30", s.views)
		}
		if s.newest != 1000 {
			t.Errorf("newest view: got %d, want 1000: the last one was never shown", s.newest)
		}
		r.end(t)
	})
}

func TestBurstsShareAView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		for range 1000 {
			r.master.events <- scheduler.Rescind{OfferID: "o"}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(drawEvery)
		synctest.Wait()
		if got := r.View().Sequence; got != 1000 {
			t.Errorf("newest view: got %d, want 1000", got)
		}
		r.end(t)
		if got := r.core.views; got < 30 || got > 60 {
			t.Errorf("views drawn in a busy second: got %d, want about 50", got)
		}
	})
}

func TestFirstChangeAfterSilenceIsSeenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		time.Sleep(time.Minute)
		at := make(chan time.Time)
		go func() {
			if _, err := r.Wait(t.Context(), r.View().Sequence); err != nil {
				t.Errorf("wait: %v", err)
			}
			at <- time.Now()
		}()
		synctest.Wait()
		begin := time.Now()
		r.master.events <- scheduler.Rescind{OfferID: "o"}
		if took := (<-at).Sub(begin); took > drawEvery {
			t.Errorf("seen after %v, want at most %v", took, drawEvery)
		}
		r.end(t)
	})
}

func TestDoGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := start(t, func(r *rig) { r.store.hold = hold })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Do(ctx, scheduler.CancelRun{Run: "slow"})
		var refused *scheduler.Error
		if !errors.As(err, &refused) || refused.Kind != scheduler.Unavailable {
			t.Errorf("do: got %v, want unavailable", err)
		}
		close(hold)
		r.end(t)
		if got := without(r.trace.all(), "tick"); !slices.Equal(got, []string{"step slow", "commit slow"}) {
			t.Errorf("the command was not carried out: got %q", got)
		}
	})
}

func TestOpenFails(t *testing.T) {
	damaged := errors.New("damaged")
	_, err := Open(t.Context(), Config{
		Core:  func([]scheduler.Record) (Core, error) { return nil, damaged },
		Store: &fakeStore{trace: &trace{}},
	})
	if !errors.Is(err, damaged) {
		t.Errorf("open: got %v, want %v", err, damaged)
	}
}
