package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
)

// TestReadsDoNotWaitForAStoreThatIsAway: the first reader finds out that the store does not answer, the others show what
// there is at once; now and then one of them tries again, so that the view is fresh soon after the store is back.
func TestReadsDoNotWaitForAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := true
		commit := uint64(1)
		f := newFollower(func(ctx context.Context) (store.Snapshot, error) {
			if away {
				<-ctx.Done()
				return store.Snapshot{}, ctx.Err()
			}
			commit++
			return store.Snapshot{Commit: commit}, nil
		}, func([]scheduler.Record) (*scheduler.View, error) {
			return &scheduler.View{}, nil
		}, func(scheduler.View) bool { return true })
		read := func() (took, age time.Duration, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			begin := time.Now()
			age, err = f.read(ctx, begin.Add(-freshFor), false)
			return time.Since(begin), age, err
		}

		// Without any view there is nothing to be shown: each reader waits as long as it may.
		for range 2 {
			if took, _, err := read(); took != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("without a view: got %v after %v", err, took)
			}
		}
		away = false
		if took, age, err := read(); took != 0 || age != 0 || err != nil {
			t.Errorf("the store is there: got %v, %v after %v", age, err, took)
		}

		away = true
		time.Sleep(2 * freshFor)
		if took, age, err := read(); took != 3*time.Second || age != 5*time.Second || err != nil {
			t.Errorf("the first one: got %v, %v after %v", age, err, took)
		}
		waited := time.Duration(0)
		for range 100 { // in 10 s and what they wait
			took, age, err := read()
			if took > tryFor || age < 5*time.Second || err != nil {
				t.Errorf("a later one: got %v, %v after %v", age, err, took)
			}
			waited += took
			time.Sleep(100 * time.Millisecond)
		}
		if waited == 0 || waited > 10*tryFor {
			t.Errorf("they waited for %v", waited)
		}

		// Who must see what was stored just now is not put off.
		if _, _, err := read(); err != nil {
			t.Error(err)
		}
		away = false
		begin := time.Now()
		if age, err := f.read(t.Context(), begin, true); age != 0 || err != nil {
			t.Errorf("insisting: got %v, %v", age, err)
		}
		time.Sleep(freshFor + time.Millisecond)
		if took, age, err := read(); took != 0 || age != 0 || err != nil {
			t.Errorf("the store is back: got %v, %v after %v", age, err, took)
		}
	})
}
