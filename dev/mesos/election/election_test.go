package election_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/election"
)

const patience = 20 * time.Second

func info(id string, port int32) *v1.MasterInfo {
	ip, hostname, wide := "127.0.0.1", "localhost", uint32(port)
	return &v1.MasterInfo{
		ID: id, IP: 16777343, Port: &wide, Hostname: &hostname,
		Address: &v1.Address{Hostname: &hostname, IP: &ip, Port: port},
	}
}

// seen is what one party was told.
type seen struct {
	t    *testing.T
	stop func()

	mu   sync.Mutex
	told []string // IDs of leaders, empty for none
}

func (s *seen) changed(leader *v1.MasterInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, leader.GetID())
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.told...)
}

// await waits until the last thing told is this leader.
func (s *seen) await(leader string) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		told := s.all()
		if n := len(told); n > 0 && told[n-1] == leader {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("was told %q, want %q at last", told, leader)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// follow runs a part of an election until the test ends, or stop is called.
func follow(t *testing.T, part func(ctx context.Context, changed func(*v1.MasterInfo))) *seen {
	ctx, cancel := context.WithCancel(context.Background())
	s, done := &seen{t: t}, make(chan struct{})
	s.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		part(ctx, s.changed)
	}()
	t.Cleanup(s.stop)
	return s
}

func contend(t *testing.T, e election.Election, candidate func() *v1.MasterInfo) *seen {
	return follow(t, func(ctx context.Context, changed func(*v1.MasterInfo)) { e.Contend(ctx, candidate, changed) })
}

func always(info *v1.MasterInfo) func() *v1.MasterInfo { return func() *v1.MasterInfo { return info } }

func TestGroupDoesAsItIsTold(t *testing.T) {
	group := election.NewGroup()
	watcher := follow(t, group.Watch)
	lives := 0
	first := contend(t, group, func() *v1.MasterInfo {
		lives++
		return info("a"+string(rune('0'+lives)), 5050)
	})
	second := contend(t, group, always(info("b", 5051)))
	group.Lead("127.0.0.1:5050")
	for _, s := range []*seen{watcher, first, second} {
		s.await("a1")
	}
	group.Lead("127.0.0.1:5051")
	for _, s := range []*seen{watcher, first, second} {
		s.await("b")
	}
	group.Lead("127.0.0.1:5050") // one that lost is another
	watcher.await("a2")
	first.stop()
	if told := watcher.all(); told[len(told)-1] != "a2" {
		t.Errorf("the leader that went away is forgotten already: %q", told)
	}
	group.Lead("")
	watcher.await("")
}

func TestParseZooKeeper(t *testing.T) {
	for _, good := range []string{
		"zk://localhost/mesos", "zk://a:2181,b:2182,c/mesos/one/", "zk://user:pass@a,b/mesos", "zk://user:p%40ss@a/mesos", "zk://u:a@b@host/mesos",
	} {
		if _, err := election.ParseZooKeeper(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "http://a/mesos", "zk://", "zk://a", "zk://a/", "zk://a,,b/mesos", "zk:///mesos", "zk://hunter2@a/mesos",
	} {
		_, err := election.ParseZooKeeper(bad)
		if err == nil {
			t.Errorf("%q is accepted", bad)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v tells a secret", err)
		}
	}
}

func FuzzParseZooKeeper(f *testing.F) {
	f.Add("zk://user:pass@a:2181,b/mesos")
	f.Add("zk://%zz:@[::1]:2181/a//b")
	f.Fuzz(func(t *testing.T, text string) {
		z, err := election.ParseZooKeeper(text)
		if (z == nil) == (err == nil) {
			t.Errorf("%q: got %v, %v", text, z, err)
		}
	})
}
