package loop

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/scheduler"
)

// fakeTerm is ended by the test, in two steps: first the clock says so, then Done.
type fakeTerm struct {
	done chan struct{}
	late atomic.Bool
}

func (t *fakeTerm) Done() <-chan struct{} { return t.done }
func (t *fakeTerm) Valid() bool           { return !t.late.Load() }

func startTerm(t *testing.T, change func(*rig)) (*rig, *fakeTerm) {
	term := &fakeTerm{done: make(chan struct{})}
	r := start(t, func(r *rig) {
		r.term = term
		if change != nil {
			change(r)
		}
	})
	return r, term
}

// The end of the term ends the loop at once, even while a write hangs; nothing of that turn is sent or answered as done.
func TestTermEndsInTheMiddleOfAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, term := startTerm(t, func(r *rig) { r.store.hold = make(chan struct{}) })
		answer := make(chan error, 1)
		go func() {
			_, err := r.Do(t.Context(), scheduler.CancelRun{Run: "r1"})
			answer <- err
		}()
		synctest.Wait()
		begin := time.Now()
		close(term.done)
		if err := <-r.ended; !errors.Is(err, ErrTermOver) && !errors.Is(err, ErrStoring) {
			t.Errorf("run: got %v, want %v or %v", err, ErrTermOver, ErrStoring)
		}
		var refused *scheduler.Error
		if err := <-answer; !errors.As(err, &refused) || refused.Kind != scheduler.Unavailable {
			t.Errorf("do: got %v, want unavailable", err)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("the end took %v", took)
		}
		if got, want := without(r.trace.all(), "tick"), []string{"step r1", "commit failed"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if r.View().Leading {
			t.Error("the view says that it leads")
		}
		r.stop()
	})
}

// A process that was asleep does nothing with what waits for it, even if nothing has told it yet that its term is over.
func TestTermIsOverByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, term := startTerm(t, nil)
		synctest.Wait()
		term.late.Store(true)
		if _, err := r.Do(t.Context(), scheduler.CancelRun{Run: "r1"}); err == nil {
			t.Error("do: got no error")
		}
		if err := <-r.ended; !errors.Is(err, ErrTermOver) {
			t.Errorf("run: got %v, want %v", err, ErrTermOver)
		}
		if got := without(r.trace.all(), "tick"); len(got) > 0 {
			t.Errorf("got %q, want nothing", got)
		}
		r.stop()
	})
}

// A loop that is told to stop while it leads finishes the write that it has begun.
func TestStopFinishesTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		r, _ := startTerm(t, func(r *rig) { r.store.hold = hold })
		answer := make(chan error, 1)
		go func() {
			_, err := r.Do(t.Context(), scheduler.CancelRun{Run: "r1"})
			answer <- err
		}()
		synctest.Wait()
		r.stop()
		synctest.Wait()
		close(hold)
		if err := <-answer; err != nil {
			t.Errorf("do: got %v", err)
		}
		if err := <-r.ended; err != nil {
			t.Errorf("run: got %v", err)
		}
	})
}

// Views of a later loop are newer than those of the one before.
func TestViewsAreNumberedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := startTerm(t, func(r *rig) { r.after = 41 })
		if got := r.View().Sequence; got != 41 {
			t.Errorf("first view: got number %d", got)
		}
		if _, err := r.Do(t.Context(), scheduler.CancelRun{Run: "r1"}); err != nil {
			t.Fatal(err)
		}
		view, err := r.Wait(t.Context(), 41)
		if err != nil || view.Sequence != 42 {
			t.Errorf("wait: got %+v, %v, want number 42", view, err)
		}
		r.stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
}
