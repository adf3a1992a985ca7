package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

var quiet = slog.New(slog.DiscardHandler)

// newSession holds a session until the test ends.
func newSession(t *testing.T, text string) *zookeeper.Session {
	t.Helper()
	url, err := zookeeper.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	s := zookeeper.Connect(url, zookeeper.Config{SessionTimeout: 2 * time.Second, Log: quiet})
	t.Cleanup(s.Close)
	return s
}

// at is a place at which several sessions meet, some through proxies.
func at(t *testing.T) func(address string) *zookeeper.Session {
	path := zookeepertest.URL(t, "", "")[len("zk://"):]
	return func(address string) *zookeeper.Session { return newSession(t, "zk://user:secret@"+address+path) }
}

func mustLead(t *testing.T, z *ZooKeeper) *Leader {
	t.Helper()
	l, err := z.Lead(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func task(id, value string) scheduler.Change {
	return scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: id}, Value: []byte(value)}
}

func gone(id string) scheduler.Change {
	return scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: id}}
}

type state map[string]string

func (s state) after(changes []scheduler.Change) state {
	next := maps.Clone(s)
	for _, c := range changes {
		if delete(next, c.Key.ID); c.Value != nil {
			next[c.Key.ID] = string(c.Value)
		}
	}
	return next
}

func stateOf(records []scheduler.Record) state {
	s := state{}
	for _, r := range records {
		s[r.Key.ID] = string(r.Value)
	}
	return s
}

func mustLoad(t *testing.T, l *Leader) state {
	t.Helper()
	records, err := l.Load(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return stateOf(records)
}

// crashing is a session that is dead from a certain write on: that one is sent, or not, and nothing is answered any more.
type crashing struct {
	*zookeeper.Session
	cancel context.CancelFunc
	at     int64 // the number of the write
	sent   bool  // whether that one still is
	writes atomic.Int64
}

func (c *crashing) Multi(ctx context.Context, ops ...zookeeper.Op) error {
	n := c.writes.Add(1)
	if n < c.at {
		return c.Session.Multi(ctx, ops...)
	}
	if n == c.at && c.sent {
		if err := c.Session.Multi(ctx, ops...); err != nil {
			return err
		}
	}
	c.cancel()
	return fmt.Errorf("%w: crashed", zookeeper.ErrUnsettled)
}

// A commit that is too large for one request is stopped at each of its requests, before and after it. Whoever leads next
// finds all of it or nothing, and all if it had been acknowledged.
func TestCrashInEachStepOfALargeCommit(t *testing.T) {
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	session := meet(server)
	place := NewZooKeeper(session, quiet)
	leader := mustLead(t, place)
	var first []scheduler.Change
	for n := range 40 {
		first = append(first, task(fmt.Sprint(n), "first"))
	}
	if err := leader.Commit(within(t), first); err != nil {
		t.Fatal(err)
	}
	now := state{}.after(first)
	outcomes := map[string]int{}
	for n := int64(1); ; n++ {
		acknowledged := false
		for _, sent := range []bool{false, true} {
			var changes []scheduler.Change
			for i := range 40 {
				id := fmt.Sprint(i + int(n)*7%20)
				if i%4 == 0 {
					changes = append(changes, gone(id))
				} else {
					changes = append(changes, task(id, strings.Repeat(fmt.Sprintf("%d %v %d ", n, sent, i), 3000)))
				}
			}
			next := now.after(changes)
			ctx, cancel := context.WithCancel(within(t))
			victim := &Leader{
				session: &crashing{Session: session, cancel: cancel, at: n + 1, sent: sent}, log: quiet, follower: place.follower,
			}
			if err := victim.takeOver(ctx, ""); err != nil {
				t.Fatal(err)
			}
			err := victim.Commit(ctx, changes)
			cancel()
			if err == nil {
				acknowledged = true
			} else if again := victim.Commit(within(t), changes); again == nil {
				t.Fatalf("write %d: a second commit after %v succeeded", n, err)
			}
			got := mustLoad(t, mustLead(t, place))
			switch {
			case maps.Equal(got, next):
				now = next
				outcomes["all"]++
			case err == nil:
				t.Fatalf("write %d, sent %v: acknowledged and not there", n, sent)
			case maps.Equal(got, now):
				outcomes["nothing"]++
			default:
				t.Fatalf("write %d, sent %v: a part of the commit is there", n, sent)
			}
			if children, err := session.Children(within(t), journalPath); err != nil || len(children) > 0 {
				t.Fatalf("write %d, sent %v: parts left of the journal: %v, %v", n, sent, children, err)
			}
		}
		if acknowledged {
			if n < 10 || outcomes["all"] < 5 || outcomes["nothing"] < 5 {
				t.Errorf("only %d writes, outcomes %v", n, outcomes)
			}
			return
		}
	}
}

// hangs checks that nothing comes for a moment, so that what follows happens while it hangs.
func hangs(t *testing.T, result <-chan error) {
	t.Helper()
	select {
	case err := <-result:
		t.Fatalf("it ended: %v", err)
	case <-time.After(50 * time.Millisecond): // not to be right: to let it get as far as it can
	}
}

func commitLater(t *testing.T, l *Leader, changes ...scheduler.Change) <-chan error {
	result := make(chan error, 1)
	ctx := within(t)
	go func() { result <- l.Commit(ctx, changes) }()
	return result
}

func TestOldLeaderWithACommitInFlight(t *testing.T) {
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	proxy := zookeepertest.NewProxy(t, server)
	old := mustLead(t, NewZooKeeper(meet(proxy.Address()), quiet))
	if err := old.Commit(within(t), []scheduler.Change{task("a", "1")}); err != nil {
		t.Fatal(err)
	}
	proxy.Hold(zookeepertest.Requests)
	result := commitLater(t, old, task("a", "old"), task("b", "old"))
	hangs(t, result)
	next := mustLead(t, NewZooKeeper(meet(server), quiet))
	if next.Epoch() != old.Epoch()+1 {
		t.Errorf("epochs: got %d after %d", next.Epoch(), old.Epoch())
	}
	if err := next.Commit(within(t), []scheduler.Change{task("a", "2")}); err != nil {
		t.Fatal(err)
	}
	proxy.Release()
	if err := <-result; !errors.Is(err, ErrFenced) {
		t.Errorf("commit in flight: got %v, want ErrFenced", err)
	}
	if err := old.Commit(within(t), []scheduler.Change{task("c", "old")}); !errors.Is(err, ErrFenced) {
		t.Errorf("commit afterwards: got %v, want ErrFenced", err)
	}
	if got, want := mustLoad(t, next), (state{"a": "2"}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A commit whose request or answer is lost is carried out once, and known to be.
func TestUnknownOutcomeIsSettled(t *testing.T) {
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	proxy := zookeepertest.NewProxy(t, server)
	leader := mustLead(t, NewZooKeeper(meet(proxy.Address()), quiet))
	follower := NewZooKeeper(meet(server), quiet).Follower()
	want := state{}
	for n, held := range []zookeepertest.Direction{zookeepertest.Requests, zookeepertest.Answers, zookeepertest.Requests, zookeepertest.Answers} {
		id := fmt.Sprint(n)
		proxy.Hold(held)
		result := commitLater(t, leader, task(id, "x"))
		want[id] = "x"
		if held == zookeepertest.Answers {
			if err := follower.Changed(within(t), uint64(n)); err != nil {
				t.Fatal(err)
			}
		}
		hangs(t, result)
		proxy.Cut()
		proxy.Release()
		if err := <-result; err != nil {
			t.Fatalf("commit with lost %v: %v", held, err)
		}
		got, err := follower.Snapshot(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if got.Commit != uint64(n)+1 || !maps.Equal(stateOf(got.Records), want) {
			t.Errorf("after %d commits: got commit %d with %v, want %v", n+1, got.Commit, got.Records, want)
		}
	}
	if leader.broken != nil {
		t.Errorf("the leader is broken: %v", leader.broken)
	}
}

func TestContextEndsInACommit(t *testing.T) {
	proxy := zookeepertest.NewProxy(t, zookeepertest.Shared(t).Address())
	leader := mustLead(t, NewZooKeeper(at(t)(proxy.Address()), quiet))
	proxy.Hold(zookeepertest.Answers)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := leader.Commit(ctx, []scheduler.Change{task("a", "1")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit: got %v, want the context's error", err)
	}
	proxy.Release()
	if err := leader.Commit(within(t), []scheduler.Change{task("b", "1")}); err == nil {
		t.Error("a commit after one whose outcome is unknown: got no error")
	}
}

// Several lead in turn, without a lease, and count: no count that was acknowledged is lost.
func TestNoLostUpdates(t *testing.T) {
	meet := at(t)
	server := zookeepertest.Shared(t).Address()
	const instances, each = 2, 3
	var group sync.WaitGroup
	for range instances {
		place := NewZooKeeper(meet(server), quiet)
		ctx := within(t)
		group.Go(func() {
			for acknowledged := 0; acknowledged < each; {
				leader, err := place.Lead(ctx, "")
				for err == nil && acknowledged < each {
					if err = count(ctx, leader); err == nil {
						acknowledged++
					}
				}
				if err != nil && !errors.Is(err, ErrFenced) {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	got := mustLoad(t, mustLead(t, NewZooKeeper(meet(server), quiet)))
	if want := fmt.Sprint(instances * each); got["count"] != want {
		t.Errorf("counted %s, acknowledged %s", got["count"], want)
	}
}

// count adds one to a number that is stored.
func count(ctx context.Context, l *Leader) error {
	records, err := l.Load(ctx)
	if err != nil {
		return err
	}
	n := 0
	if value := stateOf(records)["count"]; value != "" {
		if n, err = strconv.Atoi(value); err != nil {
			return err
		}
	}
	return l.Commit(ctx, []scheduler.Change{task("count", strconv.Itoa(n+1))})
}

func TestClaim(t *testing.T) {
	session := at(t)(zookeepertest.Shared(t).Address())
	place := NewZooKeeper(session, quiet)
	if err := session.EnsurePath(within(t), "/claims"); err != nil {
		t.Fatal(err)
	}
	claim, err := session.CreateEphemeral(within(t), "/claims/x-", nil)
	if err != nil {
		t.Fatal(err)
	}
	leader, err := place.Lead(within(t), claim)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Multi(within(t), zookeeper.Delete(claim, zookeeper.AnyVersion)); err != nil {
		t.Fatal(err)
	}
	if _, err := place.Lead(within(t), claim); !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), claim) {
		t.Errorf("lead with a claim that is gone: got %v, want ErrFenced", err)
	}
	if err := leader.Commit(within(t), []scheduler.Change{task("a", "1")}); err != nil {
		t.Errorf("the attempt disturbed who leads: %v", err)
	}
}

func TestWrongPassword(t *testing.T) {
	server := zookeepertest.Shared(t).Address()
	path := zookeepertest.URL(t, server, "")[len("zk://"):]
	mustLead(t, NewZooKeeper(newSession(t, "zk://user:secret@"+path), quiet))
	place := NewZooKeeper(newSession(t, "zk://user:wrong@"+path), quiet)
	if _, err := place.Lead(within(t), ""); !errors.Is(err, zookeeper.ErrNoAuth) {
		t.Errorf("lead: got %v, want ErrNoAuth", err)
	}
	if _, err := place.Follower().Snapshot(within(t)); !errors.Is(err, zookeeper.ErrNoAuth) {
		t.Errorf("follow: got %v, want ErrNoAuth", err)
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	session := at(t)(zookeepertest.Shared(t).Address())
	if err := session.EnsurePath(within(t), fencePath); err != nil {
		t.Fatal(err)
	}
	if err := session.Multi(within(t), zookeeper.Set(fencePath, []byte(`{"format": 2}`), 0)); err != nil {
		t.Fatal(err)
	}
	place := NewZooKeeper(session, quiet)
	if _, err := place.Lead(within(t), ""); !errors.Is(err, ErrFormat) {
		t.Errorf("lead: got %v, want ErrFormat", err)
	}
	if _, err := place.Follower().Snapshot(within(t)); !errors.Is(err, ErrFormat) {
		t.Errorf("follow: got %v, want ErrFormat", err)
	}
}

// measuring keeps the size of the largest request.
type measuring struct {
	*zookeeper.Session
	largest atomic.Int64
}

func (m *measuring) Multi(ctx context.Context, ops ...zookeeper.Op) error {
	size := int64(0)
	for _, op := range ops {
		size += int64(m.Size(op))
	}
	for seen := m.largest.Load(); size > seen && !m.largest.CompareAndSwap(seen, size); seen = m.largest.Load() {
	}
	return m.Session.Multi(ctx, ops...)
}

// Whatever is stored, no node, list or request is larger than ZooKeeper takes with ease, and every node is closed to
// those without credentials.
func TestNodes(t *testing.T) {
	server := zookeepertest.Shared(t).Address()
	path := zookeepertest.URL(t, server, "")[len("zk://"):]
	session := &measuring{Session: newSession(t, "zk://user:secret@"+path)}
	leader := &Leader{session: session, log: quiet, follower: newFollower(session)}
	ctx := within(t)
	if err := leader.takeOver(ctx, ""); err != nil {
		t.Fatal(err)
	}
	var small, large []scheduler.Change
	for n := range 6000 {
		small = append(small, task(fmt.Sprint("small-", n), "x"))
	}
	for n := range 12 {
		large = append(large, task(fmt.Sprint("large-", n), strings.Repeat("x", 250<<10)))
	}
	for _, changes := range [][]scheduler.Change{small, large, small[:1000], {gone("small-1"), gone("large-1")}} {
		if err := leader.Commit(ctx, changes); err != nil {
			t.Fatal(err)
		}
	}
	if got := session.largest.Load(); got > maxRequest || got < maxRequest/2 {
		t.Errorf("largest request: got %d bytes, want almost %d", got, maxRequest)
	}
	stranger := newSession(t, "zk://"+path)
	nodes := 0
	var walk func(string)
	walk = func(node string) {
		nodes++
		data, _, err := session.Get(ctx, node)
		if err != nil {
			t.Fatal(err)
		}
		children, err := session.Children(ctx, node)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > maxNode || len(children) > maxChildren {
			t.Errorf("%s: %d bytes, %d children", node, len(data), len(children))
		}
		if nodes%7 == 0 || len(children) > 0 { // all sorts of nodes, not each of thousands
			if _, _, err := stranger.Get(ctx, node); !errors.Is(err, zookeeper.ErrNoAuth) {
				t.Errorf("%s: a stranger gets %v, want ErrNoAuth", node, err)
			}
		}
		for _, child := range children {
			walk(node + "/" + child)
		}
	}
	walk(rootPath)
	if want := 6010 + buckets + ringSlots; nodes < want {
		t.Errorf("only %d nodes, want %d", nodes, want)
	}
	if got, want := len(leader.there), 6010; got != want {
		t.Errorf("the leader knows of %d records, want %d", got, want)
	}
}

func TestFullBucket(t *testing.T) {
	leader := mustLead(t, NewZooKeeper(at(t)(zookeepertest.Shared(t).Address()), quiet))
	one := task("one", "x")
	bucket := nameOf(one.Key).bucket()
	leader.fill[bucket] = maxChildren
	if err := leader.Commit(within(t), []scheduler.Change{one}); !errors.Is(err, ErrFull) {
		t.Errorf("commit into a full bucket: got %v, want ErrFull", err)
	}
	leader.fill[bucket]--
	if err := leader.Commit(within(t), []scheduler.Change{one}); err != nil {
		t.Errorf("commit of the last that fits: %v", err)
	}
	if err := leader.Commit(within(t), []scheduler.Change{task("one", "changed")}); err != nil {
		t.Errorf("change in a full bucket: %v", err)
	}
}
