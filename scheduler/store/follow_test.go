package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// history is what a random writer made of a place, by commit.
type history struct {
	mu     sync.Mutex
	states map[uint64]state
}

func (h *history) add(commit uint64, s state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states[commit] = s
}

func (h *history) at(commit uint64) (state, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.states[commit]
	return s, ok
}

// randomCommit is mostly a few changes of a few hot records, sometimes many, large or removing everything.
func randomCommit(random *rand.Rand, now state) (changes []scheduler.Change) {
	value := func(size int) string { return strings.Repeat(fmt.Sprintf("%x ", random.Uint32()), 1+size/9) }
	switch random.IntN(80) {
	case 0: // more than a slot of the ring names
		for n := range maxRing + 10 {
			changes = append(changes, task(fmt.Sprint("many-", n), value(10)))
		}
	case 1:
		for id := range now {
			changes = append(changes, gone(id))
		}
	case 2: // more than a request takes
		for n := range 5 {
			changes = append(changes, task(fmt.Sprint("large-", n), value(150<<10)))
		}
	default:
		for range 1 + random.IntN(8) {
			id := fmt.Sprint("hot-", random.IntN(20))
			if random.IntN(3) == 0 {
				changes = append(changes, gone(id))
			} else {
				changes = append(changes, task(id, value(random.IntN(3*maxInline))))
			}
		}
	}
	return changes
}

// Followers see exactly what some commit left, never less than what was there when they asked, while others commit and
// take over from each other.
func TestSnapshotsAreExact(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	past := &history{states: map[uint64]state{0: {}}}
	var newest, seen atomic.Uint64 // commits
	ctx, stop := context.WithCancel(within(t))
	defer stop()

	var following sync.WaitGroup
	var snapshots, distinct atomic.Int64
	for n := range 2 {
		follower := NewZooKeeper(meet(server), quiet).Follower()
		following.Go(func() {
			last := uint64(0)
			for ctx.Err() == nil {
				asked := newest.Load()
				got, err := follower.Snapshot(ctx)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				want, known := past.at(got.Commit)
				if !known || got.Commit < max(asked, last) || !maps.Equal(stateOf(got.Records), want) {
					t.Errorf("snapshot of commit %d (known: %v) with %d records, want %d, and at least commit %d",
						got.Commit, known, len(got.Records), len(want), max(asked, last))
					return
				}
				if !slices.IsSortedFunc(got.Records, byKey) {
					t.Error("a snapshot is not in order")
				}
				if snapshots.Add(1); got.Commit != last {
					distinct.Add(1)
				}
				last = got.Commit
				seen.Store(last)
				if n == 1 { // one is slow, as one that nobody asks
					pause(ctx, 50*time.Millisecond)
				}
			}
		})
	}

	now, number := state{}, uint64(0)
	for range 3 {
		leader := mustLead(t, NewZooKeeper(meet(server), quiet))
		if got := mustLoad(t, leader); !maps.Equal(got, now) {
			t.Fatalf("a new leader loads %d records, want %d", len(got), len(now))
		}
		for n := range 60 {
			for n%15 == 14 && seen.Load() < number && ctx.Err() == nil {
				pause(ctx, time.Millisecond) // however slow the machine is, a follower sees some states in between
			}
			changes := randomCommit(random, now)
			next := now.after(changes)
			past.add(number+1, next) // before: followers may be faster than the answer
			if err := leader.Commit(ctx, changes); err != nil {
				t.Fatal(err)
			}
			if leader.fence.Commit == number { // nothing had to be written
				continue
			}
			now, number = next, number+1
			newest.Store(number)
			for number%10 == 0 && distinct.Load() < int64(number/10) && ctx.Err() == nil && !t.Failed() { // a busy machine may leave the followers behind
				pause(ctx, time.Millisecond)
			}
		}
	}
	stop()
	following.Wait()
	t.Logf("%d snapshots of %d commits", snapshots.Load(), distinct.Load())
	if distinct.Load() < 10 {
		t.Errorf("the followers saw %d commits of %d only", distinct.Load(), number)
	}
}

func TestFollowerFallsFarBehind(t *testing.T) {
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	leader := mustLead(t, NewZooKeeper(meet(server), quiet))
	follower := NewZooKeeper(meet(server), quiet).Follower()
	want := state{}
	for _, commits := range []int{1, ringSlots - 1, ringSlots, ringSlots + 1} {
		for n := range commits {
			c := []scheduler.Change{task(fmt.Sprint(n%50), fmt.Sprint(commits, n))}
			want = want.after(c)
			if err := leader.Commit(within(t), c); err != nil {
				t.Fatal(err)
			}
		}
		got, err := follower.Snapshot(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(stateOf(got.Records), want) || got.Commit != leader.fence.Commit {
			t.Errorf("after %d commits: got %d records of commit %d, want %d of %d", commits,
				len(got.Records), got.Commit, len(want), leader.fence.Commit)
		}
	}
}

func TestChanged(t *testing.T) {
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	follower := NewZooKeeper(meet(server), quiet).Follower()
	got, err := follower.Snapshot(within(t))
	if err != nil || got.Commit != 0 || len(got.Records) > 0 {
		t.Fatalf("snapshot of nothing: got %+v, %v", got, err)
	}
	ctx := within(t)
	wait := func(after uint64) <-chan error {
		result := make(chan error, 1)
		go func() { result <- follower.Changed(ctx, after) }()
		return result
	}
	first, second := wait(0), wait(1)
	leader := mustLead(t, NewZooKeeper(meet(server), quiet))
	hangs(t, first)
	if err := leader.Commit(ctx, []scheduler.Change{task("a", "1")}); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	hangs(t, second)
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := follower.Changed(short, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("changed without a change: got %v, want the context's error", err)
	}
	if err := leader.Commit(ctx, []scheduler.Change{task("a", "2")}); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

// counting counts what is read.
type counting struct {
	*zookeeper.Session
	reads atomic.Int64
}

func (c *counting) Get(ctx context.Context, path string) ([]byte, zookeeper.Stat, error) {
	c.reads.Add(1)
	return c.Session.Get(ctx, path)
}

// Whoever has kept up takes over without reading everything.
func TestTakingOverWarm(t *testing.T) {
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	leader := mustLead(t, NewZooKeeper(meet(server), quiet))
	want := state{}
	put := func(from, to int) {
		t.Helper()
		var changes []scheduler.Change
		for n := from; n < to; n++ {
			changes = append(changes, task(fmt.Sprint(n), "x"))
		}
		if err := leader.Commit(within(t), changes); err != nil {
			t.Fatal(err)
		}
		want = want.after(changes)
	}
	put(0, 500)
	session := &counting{Session: meet(server)}
	place := &ZooKeeper{session: session, log: quiet, follower: newFollower(session)}
	ctx, cancel := context.WithCancel(within(t))
	running := make(chan struct{})
	go func() {
		defer close(running)
		place.Follower().Run(ctx, quiet)
	}()
	for kept := 0; kept < 500; time.Sleep(time.Millisecond) {
		if err := place.follower.take(ctx); err != nil {
			t.Fatal(err)
		}
		kept = len(place.follower.entries)
		place.follower.turn <- struct{}{}
	}
	put(500, 510)
	cancel()
	<-running
	before := session.reads.Load()
	next := mustLead(t, place)
	if got := mustLoad(t, next); !maps.Equal(got, want) {
		t.Errorf("got %d records, want %d", len(got), len(want))
	}
	if reads := session.reads.Load() - before; reads > 30 {
		t.Errorf("%d reads to take over", reads)
	}
	// Later loads, such as those of exports, read everything, beside the writing.
	leader = next
	put(510, 520)
	if got := mustLoad(t, next); !maps.Equal(got, want) {
		t.Errorf("loaded again: got %d records, want %d", len(got), len(want))
	}
}

func TestReplace(t *testing.T) {
	leader := mustLead(t, NewZooKeeper(at(t)(zookeepertest.Shared(t).Address()), quiet))
	if err := leader.Commit(within(t), []scheduler.Change{task("old", "1"), task("both", "1")}); err != nil {
		t.Fatal(err)
	}
	key := func(id string) scheduler.Key { return scheduler.Key{Kind: scheduler.KindTask, ID: id} }
	err := Replace(within(t), leader, []scheduler.Record{{Key: key("both"), Value: []byte("2")}, {Key: key("empty")}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mustLoad(t, leader), (state{"both": "2", "empty": ""}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	all, err := steps(7, []scheduler.Change{task("a", "1"), gone("b"), task("c", strings.Repeat("x", 2*maxInline))})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range all {
		f.Add(s.data)
	}
	f.Add(slotOf(7, all).encode())
	f.Add(slot{commit: 1, reload: true}.encode())
	f.Add(encodeJournal(all))
	f.Add(fence{Format: layoutFormat, Journal: &journal{Parts: 2}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := decodeRecord(data); err == nil {
			again, err := decodeRecord(encodeRecord(e.commit, e.record.Key, e.record.Value))
			if err != nil || !reflect.DeepEqual(again, e) {
				t.Errorf("record %+v: read again as %+v, %v", e, again, err)
			}
		}
		if s, err := decodeSlot(data); err == nil {
			again, err := decodeSlot(s.encode())
			if err != nil || len(again.changes) != len(s.changes) || again.commit != s.commit {
				t.Errorf("slot %+v: read again as %+v, %v", s, again, err)
			}
		}
		if all, err := decodeJournal(data); err == nil {
			again, err := decodeJournal(encodeJournal(all))
			if err != nil || !bytes.Equal(encodeJournal(again), encodeJournal(all)) {
				t.Errorf("journal: read again as %d steps, %v, not %d", len(again), err, len(all))
			}
		}
		if f, err := decodeFence(data); err == nil {
			if _, err := decodeFence(f.encode()); err != nil {
				t.Errorf("fence %+v: %v", f, err)
			}
		}
	})
}
