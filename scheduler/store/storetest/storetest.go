package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
)

// Opener opens one place again and again. The tests close what they open.
type Opener func() (store.Store, error)

// Run runs the suite. fresh prepares an empty place for one test.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for name, test := range map[string]func(*testing.T, Opener){
		"Empty":             testEmpty,
		"StoreAndRemove":    testStoreAndRemove,
		"LastChangeWins":    testLastChangeWins,
		"ValuesAreCopied":   testValuesAreCopied,
		"ValuesOfAnySize":   testValuesOfAnySize,
		"OneAtATime":        testOneAtATime,
		"AllOrNothing":      testAllOrNothing,
		"Closed":            testClosed,
		"CancelledContext":  testCancelledContext,
		"BehavesLikeAMap":   testBehavesLikeAMap,
		"KindsAreApart":     testKindsAreApart,
		"StrangeIDsAreKept": testStrangeIDs,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func open(t testing.TB, opener Opener) store.Store {
	t.Helper()
	s, err := opener()
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

func testEmpty(t *testing.T, opener Opener) {
	s := open(t, opener)
	check(t, s, map[scheduler.Key]string{})
	commit(t, s)
	commit(t, s, remove(scheduler.KindRun, "never-there"))
	check(t, s, map[scheduler.Key]string{})
}

func testStoreAndRemove(t *testing.T, opener Opener) {
	s := open(t, opener)
	commit(t, s, put(scheduler.KindJob, "a", "1"), put(scheduler.KindJob, "b", "2"), put(scheduler.KindFramework, "framework", "id"))
	commit(t, s, put(scheduler.KindJob, "a", "one"), remove(scheduler.KindJob, "b"))
	want := map[scheduler.Key]string{
		{Kind: scheduler.KindJob, ID: "a"}:               "one",
		{Kind: scheduler.KindFramework, ID: "framework"}: "id",
	}
	check(t, s, want)
	closeStore(t, s)
	check(t, open(t, opener), want)
}

func testLastChangeWins(t *testing.T, opener Opener) {
	s := open(t, opener)
	commit(t, s,
		put(scheduler.KindTask, "twice", "1"), put(scheduler.KindTask, "twice", "2"),
		put(scheduler.KindTask, "gone", "1"), remove(scheduler.KindTask, "gone"),
		remove(scheduler.KindTask, "back"), put(scheduler.KindTask, "back", "1"))
	check(t, s, map[scheduler.Key]string{
		{Kind: scheduler.KindTask, ID: "twice"}: "2",
		{Kind: scheduler.KindTask, ID: "back"}:  "1",
	})
}

func testValuesAreCopied(t *testing.T, opener Opener) {
	s := open(t, opener)
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

func testValuesOfAnySize(t *testing.T, opener Opener) {
	s := open(t, opener)
	want := map[scheduler.Key]string{}
	var changes []scheduler.Change
	for _, size := range []int{0, 1, 4095, 4096, 1 << 20, 3 << 20} {
		id := fmt.Sprint(size)
		value := bytes.Repeat([]byte{byte(size), 0xff}, (size+1)/2)[:size]
		changes = append(changes, scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: id}, Value: value})
		want[scheduler.Key{Kind: scheduler.KindTask, ID: id}] = string(value)
	}
	commit(t, s, changes...)
	closeStore(t, s)
	got := load(t, open(t, opener))
	for key, value := range want {
		if stored, there := got[key]; !there || stored != value {
			t.Errorf("value of %s bytes: got %d bytes, there: %v", key.ID, len(stored), there)
		}
	}
}

func testOneAtATime(t *testing.T, opener Opener) {
	first := open(t, opener)
	commit(t, first, put(scheduler.KindJob, "a", "1"))
	if second, err := opener(); !errors.Is(err, store.ErrInUse) {
		t.Errorf("open while open: got %v, %v, want ErrInUse", second, err)
	}
	closeStore(t, first)
	check(t, open(t, opener), map[scheduler.Key]string{{Kind: scheduler.KindJob, ID: "a"}: "1"})
}

// An empty ID cannot be stored by any implementation that we know; what matters is that the rest is not either.
func testAllOrNothing(t *testing.T, opener Opener) {
	s := open(t, opener)
	err := s.Commit(context.Background(), []scheduler.Change{
		put(scheduler.KindJob, "good", "1"), put(scheduler.KindJob, "", "bad"), put(scheduler.KindJob, "good2", "1"),
	})
	if err == nil {
		t.Fatal("commit of an empty ID: got no error")
	}
	check(t, s, map[scheduler.Key]string{})
}

func testClosed(t *testing.T, opener Opener) {
	s := open(t, opener)
	closeStore(t, s)
	closeStore(t, s)
	if _, err := s.Load(context.Background()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("load after close: got %v, want ErrClosed", err)
	}
	if err := s.Commit(context.Background(), []scheduler.Change{put(scheduler.KindJob, "a", "1")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit after close: got %v, want ErrClosed", err)
	}
}

func testCancelledContext(t *testing.T, opener Opener) {
	s := open(t, opener)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Commit(ctx, []scheduler.Change{put(scheduler.KindJob, "a", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: got %v, want context.Canceled", err)
	}
	check(t, s, map[scheduler.Key]string{})
}

func testKindsAreApart(t *testing.T, opener Opener) {
	s := open(t, opener)
	commit(t, s, put(scheduler.KindJob, "same", "job"), put(scheduler.KindRun, "same", "run"), put("job/same", "x", "kind with a slash"))
	commit(t, s, remove(scheduler.KindRun, "same"))
	check(t, s, map[scheduler.Key]string{
		{Kind: scheduler.KindJob, ID: "same"}: "job",
		{Kind: "job/same", ID: "x"}:           "kind with a slash",
	})
}

func testStrangeIDs(t *testing.T, opener Opener) {
	s := open(t, opener)
	want := map[scheduler.Key]string{}
	for _, id := range []string{"a/1", "a/10", "a", "ä\x00z", "..", "a b%2f", string(bytes.Repeat([]byte("x"), 250))} {
		commit(t, s, put(scheduler.KindRevision, id, id))
		want[scheduler.Key{Kind: scheduler.KindRevision, ID: id}] = id
	}
	check(t, s, want)
}

// testBehavesLikeAMap compares random commits and reopenings with a map.
func testBehavesLikeAMap(t *testing.T, opener Opener) {
	s := open(t, opener)
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
			s = open(t, opener)
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
