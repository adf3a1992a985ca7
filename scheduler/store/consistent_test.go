package store

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// lagging is a session that is lost in the middle of a read: what was to be read next comes, once, from a server that is
// behind.
type lagging struct {
	*zookeeper.Session
	mu     sync.Mutex
	behind map[string][]byte // by path
	lost   chan struct{}
}

func (l *lagging) Lost() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *lagging) Get(ctx context.Context, path string) ([]byte, zookeeper.Stat, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if data, is := l.behind[path]; is {
		delete(l.behind, path)
		close(l.lost)
		l.lost = make(chan struct{})
		return data, zookeeper.Stat{}, nil
	}
	return l.Session.Get(ctx, path)
}

func TestSessionIsLostWhileReading(t *testing.T) {
	session := at(t)(zookeepertest.Shared(t).Address())
	leader := mustLead(t, NewZooKeeper(session, quiet))
	path := nameOf(task("a", "").Key).path()
	if err := leader.Commit(within(t), []scheduler.Change{task("a", "old"), task("b", "old")}); err != nil {
		t.Fatal(err)
	}
	old, _, err := session.Get(within(t), path)
	if err != nil {
		t.Fatal(err)
	}
	now := []scheduler.Change{task("a", "new"), task("b", "new")}
	if err := leader.Commit(within(t), now); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, leader) // the records that it had from taking over
	for what, read := range map[string]func(*lagging) (state, error){
		"follower": func(l *lagging) (state, error) {
			got, err := newFollower(l).Snapshot(within(t))
			return stateOf(got.Records), err
		},
		"leader": func(l *lagging) (state, error) {
			leader.session = l
			got, err := leader.Load(within(t))
			return stateOf(got), err
		},
	} {
		broken := &lagging{Session: session, behind: map[string][]byte{path: old}, lost: make(chan struct{})}
		got, err := read(broken)
		if want := (state{}).after(now); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: got %v and %v, want %v", what, got, err, want)
		}
		if len(broken.behind) > 0 {
			t.Errorf("%s: the old record was never read", what)
		}
	}
}

// slow is a session that stops within a commit, between the requests that carry out its journal, until goOn is closed.
type slow struct {
	*zookeeper.Session
	leader  *Leader
	stopped chan struct{} // closed when it has
	asked   chan struct{} // closed when the fence is read after that
	goOn    chan struct{}
	once    [2]sync.Once
}

func (s *slow) Multi(ctx context.Context, ops ...zookeeper.Op) error {
	if j := s.leader.fence.Journal; j != nil && j.Applied > 0 {
		s.once[0].Do(func() { close(s.stopped) })
		select {
		case <-s.goOn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Session.Multi(ctx, ops...)
}

func (s *slow) Get(ctx context.Context, path string) ([]byte, zookeeper.Stat, error) {
	select {
	case <-s.stopped:
		if path == fencePath {
			s.once[1].Do(func() { close(s.asked) })
		}
	default:
	}
	return s.Session.Get(ctx, path)
}

// Load beside a commit that is decided, but not yet in all records, gives what the commit leaves.
func TestLoadWhileAJournalIsCarriedOut(t *testing.T) {
	session := at(t)(zookeepertest.Shared(t).Address())
	leader := mustLead(t, NewZooKeeper(session, quiet))
	var first, second []scheduler.Change
	for n := range 20 {
		first = append(first, task(fmt.Sprint("old-", n), "old"))
		second = append(second, task(fmt.Sprint("old-", n), strings.Repeat("new", 20_000)), task(fmt.Sprint("new-", n), strings.Repeat("new", 20_000)))
	}
	if err := leader.Commit(within(t), first); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, leader) // the records that it had from taking over
	s := &slow{Session: session, leader: leader, stopped: make(chan struct{}), asked: make(chan struct{}), goOn: make(chan struct{})}
	leader.session = s
	committed := commitLater(t, leader, second...)
	<-s.stopped
	loaded := make(chan state, 1)
	go func() {
		records, err := leader.Load(within(t))
		if err != nil {
			t.Error(err)
		}
		loaded <- stateOf(records)
	}()
	<-s.asked
	close(s.goOn)
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	if got, want := <-loaded, (state{}).after(first).after(second); !maps.Equal(got, want) {
		t.Errorf("loaded %d records, want %d; or other values", len(got), len(want))
	}
}
