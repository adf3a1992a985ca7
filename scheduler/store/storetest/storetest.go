package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
)

// Place is where a store lies.
type Place struct {
	// Open opens it, again and again. The tests close what they open.
	Open func() (store.Store, error)
	// Fits and TooLarge are sizes of values in bytes that can just and just not be stored; 0 if all can.
	Fits, TooLarge int
	// TakesOver: opening it while it is open shuts out who has it, instead of failing.
	TakesOver bool
}

// Run runs the suite, side by side. fresh prepares an empty place for one test.
func Run(t *testing.T, fresh func(t *testing.T) Place) {
	for name, test := range map[string]func(*testing.T, Place){
		"Empty":             testEmpty,
		"StoreAndRemove":    testStoreAndRemove,
		"LastChangeWins":    testLastChangeWins,
		"ValuesAreCopied":   testValuesAreCopied,
		"ValuesOfAnySize":   testValuesOfAnySize,
		"ValuesTooLarge":    testValuesTooLarge,
		"ManyAtOnce":        testManyAtOnce,
		"LoadBesideCommit":  testLoadBesideCommit,
		"OneAtATime":        testOneAtATime,
		"AllOrNothing":      testAllOrNothing,
		"Closed":            testClosed,
		"CancelledContext":  testCancelledContext,
		"BehavesLikeAMap":   testBehavesLikeAMap,
		"KindsAreApart":     testKindsAreApart,
		"StrangeIDsAreKept": testStrangeIDs,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
		})
	}
}

func open(t testing.TB, place Place) store.Store {
	t.Helper()
	s, err := place.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func commit(t testing.TB, s store.Store, changes ...scheduler.Change) {
	t.Helper()
	if err := s.Commit(context.Background(), changes); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func put(kind scheduler.RecordKind, id, value string) scheduler.Change {
	return scheduler.Change{Key: scheduler.Key{Kind: kind, ID: id}, Value: []byte(value)}
}

func remove(kind scheduler.RecordKind, id string) scheduler.Change {
	return scheduler.Change{Key: scheduler.Key{Kind: kind, ID: id}}
}

func load(t testing.TB, s store.Store) map[scheduler.Key]string {
	t.Helper()
	records, err := s.Load(context.Background())
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	out := make(map[scheduler.Key]string, len(records))
	for _, r := range records {
		if _, twice := out[r.Key]; twice {
			t.Errorf("load returns %v twice", r.Key)
		}
		out[r.Key] = string(r.Value)
	}
	return out
}

func check(t testing.TB, s store.Store, want map[scheduler.Key]string) {
	t.Helper()
	if got := load(t, s); !maps.Equal(got, want) {
		t.Errorf("load: got %v, want %v", got, want)
	}
}

func testEmpty(t *testing.T, place Place) {
	s := open(t, place)
	check(t, s, map[scheduler.Key]string{})
	commit(t, s)
	commit(t, s, remove(scheduler.KindRun, "never-there"))
	check(t, s, map[scheduler.Key]string{})
}

func testStoreAndRemove(t *testing.T, place Place) {
	s := open(t, place)
	commit(t, s, put(scheduler.KindJob, "a", "1"), put(scheduler.KindJob, "b", "2"), put(scheduler.KindFramework, "framework", "id"))
	commit(t, s, put(scheduler.KindJob, "a", "one"), remove(scheduler.KindJob, "b"))
	want := map[scheduler.Key]string{
		{Kind: scheduler.KindJob, ID: "a"}:               "one",
		{Kind: scheduler.KindFramework, ID: "framework"}: "id",
	}
	check(t, s, want)
	closeStore(t, s)
	check(t, open(t, place), want)
}

func testLastChangeWins(t *testing.T, place Place) {
	s := open(t, place)
	commit(t, s,
		put(scheduler.KindTask, "twice", "1"), put(scheduler.KindTask, "twice", "2"),
		put(scheduler.KindTask, "gone", "1"), remove(scheduler.KindTask, "gone"),
		remove(scheduler.KindTask, "back"), put(scheduler.KindTask, "back", "1"))
	check(t, s, map[scheduler.Key]string{
		{Kind: scheduler.KindTask, ID: "twice"}: "2",
		{Kind: scheduler.KindTask, ID: "back"}:  "1",
	})
}

func testValuesAreCopied(t *testing.T, place Place) {
	s := open(t, place)
	value := []byte("before")
	commit(t, s, scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindRun, ID: "r"}, Value: value})
	copy(value, "after!")
	records, err := s.Load(context.Background())
	if err != nil || len(records) != 1 {
		t.Fatalf("load: got %v, %v", records, err)
	}
	copy(records[0].Value, "spoilt")
	check(t, s, map[scheduler.Key]string{{Kind: scheduler.KindRun, ID: "r"}: "before"})
}

func testValuesOfAnySize(t *testing.T, place Place) {
	s := open(t, place)
	want := map[scheduler.Key]string{}
	var changes []scheduler.Change
	for _, size := range []int{0, 1, 4095, 4096, 250 << 10, 1 << 20, 3 << 20} {
		if place.TooLarge > 0 && size > place.Fits {
			continue
		}
		id := fmt.Sprint(size)
		value := bytes.Repeat([]byte{byte(size), 0xff}, (size+1)/2)[:size]
		changes = append(changes, scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: id}, Value: value})
		want[scheduler.Key{Kind: scheduler.KindTask, ID: id}] = string(value)
	}
	commit(t, s, changes...)
	closeStore(t, s)
	got := load(t, open(t, place))
	for key, value := range want {
		if stored, there := got[key]; !there || stored != value {
			t.Errorf("value of %s bytes: got %d bytes, there: %v", key.ID, len(stored), there)
		}
	}
}

func testValuesTooLarge(t *testing.T, place Place) {
	if place.TooLarge == 0 {
		return // there is no limit
	}
	s := open(t, place)
	fits := put(scheduler.KindTask, "fits", strings.Repeat("x", place.Fits))
	commit(t, s, fits)
	err := s.Commit(context.Background(), []scheduler.Change{
		put(scheduler.KindTask, "small", "x"), put(scheduler.KindTask, "large", strings.Repeat("x", place.TooLarge)),
	})
	if !errors.Is(err, store.ErrTooLarge) || !strings.Contains(err.Error(), `task "large"`) {
		t.Errorf("commit of %d bytes: got %v, want ErrTooLarge that names the record", place.TooLarge, err)
	}
	check(t, s, map[scheduler.Key]string{fits.Key: string(fits.Value)})
	commit(t, s, scheduler.Change{Key: fits.Key}) // nothing is broken
	check(t, s, map[scheduler.Key]string{})
}

// testManyAtOnce stores, changes and removes hundreds of records with one commit each, and a MiB.
func testManyAtOnce(t *testing.T, place Place) {
	s := open(t, place)
	const records = 600
	want := map[scheduler.Key]string{}
	var all, some, rest []scheduler.Change
	for n := range records {
		c := put(scheduler.KindTask, fmt.Sprintf("task-%d", n), strings.Repeat(fmt.Sprintf("%d ", n), 400+n/10))
		all = append(all, c)
		want[c.Key] = string(c.Value)
		switch n % 3 {
		case 0:
			some = append(some, scheduler.Change{Key: c.Key})
		case 1:
			some = append(some, put(scheduler.KindTask, c.Key.ID, "changed"))
			rest = append(rest, scheduler.Change{Key: c.Key})
		default:
			rest = append(rest, scheduler.Change{Key: c.Key})
		}
	}
	commit(t, s, all...)
	compare := func() {
		t.Helper()
		got := load(t, s)
		if !maps.Equal(got, want) {
			t.Errorf("got %d records, want %d, or other values", len(got), len(want))
		}
	}
	compare()
	commit(t, s, some...)
	for _, c := range some {
		if delete(want, c.Key); c.Value != nil {
			want[c.Key] = string(c.Value)
		}
	}
	closeStore(t, s)
	s = open(t, place)
	compare()
	commit(t, s, rest...)
	check(t, s, map[scheduler.Key]string{})
}

// testLoadBesideCommit commits numbers, each as ten records, while they are loaded: no load sees half a commit.
func testLoadBesideCommit(t *testing.T, place Place) {
	s := open(t, place)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			var changes []scheduler.Change
			for i := range 10 {
				changes = append(changes, put(scheduler.KindTask, fmt.Sprint(i), fmt.Sprint(n)))
			}
			changes = append(changes, put(scheduler.KindRun, fmt.Sprint(n), fmt.Sprint(n)), remove(scheduler.KindRun, fmt.Sprint(n-1)))
			if err := s.Commit(context.Background(), changes); err != nil {
				t.Errorf("commit %d: %v", n, err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for seen := 0; seen < 20; {
		got := load(t, s)
		if len(got) == 0 {
			continue // before the first commit
		}
		seen++
		n := got[scheduler.Key{Kind: scheduler.KindTask, ID: "0"}]
		want := map[scheduler.Key]string{{Kind: scheduler.KindRun, ID: n}: n}
		for i := range 10 {
			want[scheduler.Key{Kind: scheduler.KindTask, ID: fmt.Sprint(i)}] = n
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want what commit %s made", got, n)
		}
	}
	close(stop)
	<-stopped
}

func testOneAtATime(t *testing.T, place Place) {
	first := open(t, place)
	commit(t, first, put(scheduler.KindJob, "a", "1"))
	want := map[scheduler.Key]string{{Kind: scheduler.KindJob, ID: "a"}: "1"}
	if place.TakesOver {
		second := open(t, place)
		for range 2 {
			if err := first.Commit(context.Background(), []scheduler.Change{put(scheduler.KindJob, "a", "2")}); !errors.Is(err, store.ErrFenced) {
				t.Errorf("commit of who was taken over: got %v, want ErrFenced", err)
			}
		}
		check(t, second, want)
		commit(t, second, put(scheduler.KindJob, "b", "2"))
		return
	}
	if second, err := place.Open(); !errors.Is(err, store.ErrInUse) {
		t.Errorf("open while open: got %v, %v, want ErrInUse", second, err)
	}
	closeStore(t, first)
	check(t, open(t, place), want)
}

// An empty ID cannot be stored by any implementation that we know; what matters is that the rest is not either.
func testAllOrNothing(t *testing.T, place Place) {
	s := open(t, place)
	err := s.Commit(context.Background(), []scheduler.Change{
		put(scheduler.KindJob, "good", "1"), put(scheduler.KindJob, "", "bad"), put(scheduler.KindJob, "good2", "1"),
	})
	if err == nil {
		t.Fatal("commit of an empty ID: got no error")
	}
	check(t, s, map[scheduler.Key]string{})
}

func testClosed(t *testing.T, place Place) {
	s := open(t, place)
	closeStore(t, s)
	closeStore(t, s)
	if _, err := s.Load(context.Background()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("load after close: got %v, want ErrClosed", err)
	}
	if err := s.Commit(context.Background(), []scheduler.Change{put(scheduler.KindJob, "a", "1")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit after close: got %v, want ErrClosed", err)
	}
}

func testCancelledContext(t *testing.T, place Place) {
	s := open(t, place)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Commit(ctx, []scheduler.Change{put(scheduler.KindJob, "a", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: got %v, want context.Canceled", err)
	}
	check(t, s, map[scheduler.Key]string{})
}

func testKindsAreApart(t *testing.T, place Place) {
	s := open(t, place)
	commit(t, s, put(scheduler.KindJob, "same", "job"), put(scheduler.KindRun, "same", "run"), put("job/same", "x", "kind with a slash"))
	commit(t, s, remove(scheduler.KindRun, "same"))
	check(t, s, map[scheduler.Key]string{
		{Kind: scheduler.KindJob, ID: "same"}: "job",
		{Kind: "job/same", ID: "x"}:           "kind with a slash",
	})
}

func testStrangeIDs(t *testing.T, place Place) {
	s := open(t, place)
	want := map[scheduler.Key]string{}
	for _, id := range []string{"a/1", "a/10", "a", "ä\x00z", "..", "a b%2f", string(bytes.Repeat([]byte("x"), 250))} {
		commit(t, s, put(scheduler.KindRevision, id, id))
		want[scheduler.Key{Kind: scheduler.KindRevision, ID: id}] = id
	}
	check(t, s, want)
}

// testBehavesLikeAMap compares random commits and reopenings with a map.
func testBehavesLikeAMap(t *testing.T, place Place) {
	s := open(t, place)
	rapid.Check(t, func(rt *rapid.T) {
		for key := range load(t, s) {
			commit(t, s, scheduler.Change{Key: key})
		}
		want := map[scheduler.Key]string{}
		key := rapid.Custom(func(t *rapid.T) scheduler.Key {
			return scheduler.Key{
				Kind: rapid.SampledFrom([]scheduler.RecordKind{scheduler.KindJob, scheduler.KindRun, scheduler.KindTask}).Draw(t, "kind"),
				ID:   rapid.StringMatching(`[a-c]{1,2}`).Draw(t, "id"),
			}
		})
		change := rapid.Custom(func(t *rapid.T) scheduler.Change {
			c := scheduler.Change{Key: key.Draw(t, "key")}
			if rapid.Bool().Draw(t, "put") {
				c.Value = append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "value")...)
			}
			return c
		})
		for _, changes := range rapid.SliceOfN(rapid.SliceOfN(change, 0, 6), 1, 5).Draw(rt, "commits") {
			commit(t, s, changes...)
			for _, c := range changes {
				if c.Value == nil {
					delete(want, c.Key)
				} else {
					want[c.Key] = string(c.Value)
				}
			}
		}
		if rapid.IntRange(0, 9).Draw(rt, "reopen") == 0 {
			closeStore(t, s)
			s = open(t, place)
		}
		if got := load(t, s); !maps.Equal(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
	records, err := s.Load(context.Background())
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	again, err := s.Load(context.Background())
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	same := func(a, b scheduler.Record) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }
	if !slices.EqualFunc(records, again, same) {
		t.Error("two loads differ in order")
	}
}
