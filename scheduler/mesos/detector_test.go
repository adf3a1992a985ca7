package mesos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

const nobody = "http://127.0.0.1:1"

func waiting(s *stream) { s.WriteHeader(http.StatusServiceUnavailable) }

// neverBack makes every wait between two tries last longer than the test.
func neverBack(c *Connection) { c.pace.backoffMin, c.pace.backoffMax = time.Hour, time.Hour }

func TestListIsTriedAtOnce(t *testing.T) {
	leader, standby := newMaster(t, good), newMaster(t, waiting)
	s := connect(t, strings.Join([]string{nobody, standby.URL, leader.URL}, ", "), neverBack)
	s.subscriptions(1)
	if got := s.events()[0].(scheduler.Subscribed).Master; got != leader.URL {
		t.Errorf("master: got %s, want %s", got, leader.URL)
	}
}

func TestListWaitsOnceRound(t *testing.T) {
	a, b := newMaster(t, waiting), newMaster(t, waiting)
	s := connect(t, a.URL+","+b.URL, neverBack)
	eventually(t, "both to be tried", func() bool {
		return len(a.received(sched.Call_SUBSCRIBE)) == 1 && len(b.received(sched.Call_SUBSCRIBE)) == 1
	})
	s.close()
	s.ended <- nil
	if n := len(a.received(sched.Call_SUBSCRIBE)) + len(b.received(sched.Call_SUBSCRIBE)); n != 2 {
		t.Errorf("SUBSCRIBE was sent %d times, want one to each before the first wait", n)
	}
}

// The leader goes away; the next one is found by going round.
func TestListFollowsTheLeader(t *testing.T) {
	first, second := newMaster(t, func(s *stream) { s.subscribed(0); s.rescind("after") }, waiting), newMaster(t, good)
	s := connect(t, first.URL+","+second.URL, nil)
	s.until("a subscription with the second", func(events []scheduler.Event) bool {
		return slices.ContainsFunc(events, func(e scheduler.Event) bool {
			up, ok := e.(scheduler.Subscribed)
			return ok && up.Master == second.URL
		})
	})
}

// ensemble is a ZooKeeper of which a test says what it holds.
type ensemble struct {
	mu      sync.Mutex
	nodes   map[string]string // nil: the path is not there
	fails   error
	watches []chan zk.Event
	reads   int // of nodes' data
}

func (e *ensemble) set(nodes map[string]string, fails error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes, e.fails = nodes, fails
	for _, watch := range e.watches {
		watch <- zk.Event{}
	}
	e.watches = nil
}

func (e *ensemble) watch() zookeeper.Watch {
	watch := make(chan zk.Event, 1)
	e.watches = append(e.watches, watch)
	return watch
}

func (e *ensemble) ChildrenWatch(_ context.Context, path string) ([]string, zookeeper.Watch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	names, err := e.names(path)
	if err != nil {
		return nil, nil, err
	}
	return names, e.watch(), nil
}

func (e *ensemble) Children(_ context.Context, path string) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.names(path)
}

func (e *ensemble) names(path string) ([]string, error) {
	switch {
	case path != "/":
		return nil, fmt.Errorf("asked for the children of %q", path)
	case e.fails != nil:
		return nil, e.fails
	case e.nodes == nil:
		return nil, zookeeper.ErrNoNode
	}
	var names []string
	for name := range e.nodes {
		names = append(names, name)
	}
	return names, nil
}

// The watch of a change is lost; the change is found all the same.
func TestZooKeeperIsAskedAgain(t *testing.T) {
	found, err := newZooKeeper(Config{Master: "zk://a/mesos"})
	if err != nil {
		t.Fatal(err)
	}
	found.again = time.Millisecond
	e := &ensemble{nodes: map[string]string{"json.info_1": info("10.0.0.1", 5050)}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	followed := make(chan error, 1)
	go func() { followed <- found.follow(ctx, e) }()
	first, err := found.next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.nodes, e.watches = map[string]string{"json.info_2": info("10.0.0.2", 5050)}, nil
	e.mu.Unlock()
	select {
	case <-first.lost:
	case <-ctx.Done():
		t.Error("nothing was told")
	}
	if second, err := found.next(ctx); err != nil || second.master.Host != "10.0.0.2:5050" {
		t.Errorf("leader: got %v, %v", second.master, err)
	}
	cancel()
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

func (e *ensemble) ExistsWatch(context.Context, string) (bool, zookeeper.Watch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes != nil, e.watch(), nil
}

func (e *ensemble) Get(_ context.Context, path string) ([]byte, zookeeper.Stat, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reads++
	data, there := e.nodes[strings.TrimPrefix(path, "/")]
	if !there {
		return nil, zookeeper.Stat{}, zookeeper.ErrNoNode
	}
	return []byte(data), zookeeper.Stat{}, nil
}

// info is what a Mesos 1.12 master writes.
func info(host string, port int) string {
	return fmt.Sprintf(`{"address":{"hostname":"node.example","ip":%q,"port":%d},"capabilities":[{"type":"AGENT_UPDATE"},`+
		`{"type":"AGENT_DRAINING"},{"type":"QUOTA_V2"}],"domain":{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"a"}}},`+
		`"hostname":"node.example","id":"ef3f0566-e7c1-4ebe-b636-2cc13d907bf1","ip":16777343,"pid":"master@%[1]s:%[2]d","port":%[2]d,"version":"1.12.0"}`, host, port)
}

func TestZooKeeperNamesTheLeader(t *testing.T) {
	found, err := newZooKeeper(Config{Master: "zk://a/mesos"})
	if err != nil {
		t.Fatal(err)
	}
	found.pause = time.Millisecond
	e := &ensemble{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	followed := make(chan error, 1)
	go func() { followed <- found.follow(ctx, e) }()
	next := func(want string) candidate {
		t.Helper()
		got, err := found.next(ctx)
		if err != nil || got.master.String() != want {
			t.Fatalf("leader: got %v, %v, want %s", got.master, err, want)
		}
		return got
	}
	none := func() {
		t.Helper()
		eventually(t, "nobody to lead", func() bool {
			found.mu.Lock()
			defer found.mu.Unlock()
			return !found.leads
		})
	}
	closed := func(c candidate) bool {
		select {
		case <-c.lost:
			return true
		default:
			return false
		}
	}

	none() // the path is not there yet
	e.set(map[string]string{"log_replicas": "", "info_0000000001": "old"}, nil)
	none()
	both := map[string]string{
		"log_replicas": "", "json.info_0000000012": info("10.0.0.2", 5050), "json.info_0000000009": info("10.0.0.1", 5051),
		"json.info_x": "no master", "json.info_": "",
	}
	e.set(both, nil)
	first := next("http://10.0.0.1:5051")
	// While ZooKeeper is away nothing changes.
	e.set(both, errors.New("connection lost"))
	next("http://10.0.0.1:5051")
	e.set(both, nil)
	if next("http://10.0.0.1:5051"); closed(first) {
		t.Error("the leader was given up although it leads")
	}
	if e.reads != 1 {
		t.Errorf("the leader's node was read %d times, want once", e.reads)
	}
	// The leader's node goes: the one that it named is not given up before another one leads, but not tried again either.
	e.set(map[string]string{}, nil)
	none()
	if closed(first) {
		t.Error("the leader was given up although no other one leads")
	}
	e.set(map[string]string{"json.info_0000000009": info("10.0.0.1", 5051)}, nil)
	if next("http://10.0.0.1:5051"); closed(first) {
		t.Error("the leader was given up although it is back")
	}
	// ZooKeeper is set up anew and counts from the beginning: another master's node may have the number of one before.
	e.set(nil, nil)
	none()
	e.set(map[string]string{"json.info_0000000009": info("10.0.0.3", 5050)}, nil)
	anew := next("http://10.0.0.3:5050")
	if !closed(first) || closed(anew) {
		t.Errorf("given up: got %v and %v, want the first one only", closed(first), closed(anew))
	}
	first = anew
	e.set(map[string]string{}, nil)
	none()
	e.set(map[string]string{"json.info_0000000012": info("10.0.0.2", 5050)}, nil)
	second := next("http://10.0.0.2:5050")
	if !closed(first) || closed(second) {
		t.Errorf("given up: got %v and %v, want the first one only", closed(first), closed(second))
	}
	// A node that cannot be read names nobody.
	e.set(map[string]string{"json.info_0000000003": "{"}, nil)
	none()
	cancel()
	if err := <-followed; err != nil {
		t.Errorf("follow: %v", err)
	}
	if _, err := found.next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("next after the end: got %v", err)
	}
}

func TestZooKeeperRefusesCredentials(t *testing.T) {
	found, err := newZooKeeper(Config{Master: "zk://user:hush@a/mesos"})
	if err != nil {
		t.Fatal(err)
	}
	err = found.follow(t.Context(), &ensemble{fails: zookeeper.ErrNoAuth})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "check user and password in --mesos-master") || strings.Contains(err.Error(), "hush") {
		t.Errorf("got %v", err)
	}
	if text := fmt.Sprint(found); strings.Contains(text, "hush") || !strings.Contains(text, "/mesos") {
		t.Errorf("printed: got %s", text)
	}
}

// register makes the node by which a master wants to lead.
func register(t *testing.T, session *zookeeper.Session, master *master) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	u, err := url.Parse(master.URL)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if _, err := fmt.Sscan(u.Port(), &port); err != nil {
		t.Fatal(err)
	}
	if err := session.EnsurePath(ctx, "/"); err != nil {
		t.Fatal(err)
	}
	path, err := session.CreateEphemeral(ctx, "/json.info_", []byte(info(u.Hostname(), port)))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// With a real ZooKeeper: the subscription moves as soon as another master leads, although the old one goes on talking.
func TestLeaderInZooKeeperChanges(t *testing.T) {
	text := zookeepertest.URL(t, zookeepertest.Shared(t).Address(), "mesos:secret")
	where, err := zookeeper.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	masters := zookeeper.Connect(where, zookeeper.Config{})
	defer masters.Close()
	first, second := newMaster(t, good), newMaster(t, good)
	s := connect(t, text, neverBack) // before there is any master, or even the path
	node := register(t, masters, first)
	s.subscriptions(1)
	register(t, masters, second)
	if got := s.events()[0].(scheduler.Subscribed).Master; got != first.URL {
		t.Fatalf("master: got %s, want %s", got, first.URL)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := masters.Multi(ctx, zookeeper.Delete(node, zookeeper.AnyVersion)); err != nil {
		t.Fatal(err)
	}
	s.subscriptions(2)
	down := scheduler.Disconnected{Reason: errNewLeader.Error()}
	if events := s.events(); !slices.Contains(events, scheduler.Event(down)) {
		t.Errorf("events: got %v, want %v among them", events, down)
	}
	if got := s.events()[len(s.events())-1]; len(second.received(sched.Call_SUBSCRIBE)) != 1 {
		t.Errorf("SUBSCRIBE at the second: got %d, last event %v", len(second.received(sched.Call_SUBSCRIBE)), got)
	}
}

// A leader that died is tried again after a while, but its successor at once.
func TestSuccessorIsNotWaitedFor(t *testing.T) {
	dead, successor := newMaster(t, waiting), newMaster(t, good)
	deadURL, err := url.Parse(dead.URL)
	if err != nil {
		t.Fatal(err)
	}
	found, err := newZooKeeper(Config{Master: "zk://a/mesos"})
	if err != nil {
		t.Fatal(err)
	}
	found.elect("json.info_0000000001", deadURL)
	s := connect(t, "zk://127.0.0.1:1/mesos", func(c *Connection) { neverBack(c); c.detector = scripted{found} })
	eventually(t, "the dead one to be tried", func() bool { return len(dead.received(sched.Call_SUBSCRIBE)) == 1 })
	successorURL, err := url.Parse(successor.URL)
	if err != nil {
		t.Fatal(err)
	}
	found.elect("json.info_0000000002", successorURL)
	s.subscriptions(1)
}

// scripted is a detector that asks no ZooKeeper.
type scripted struct{ *zooKeeper }

func (scripted) watch(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func TestZooKeeperWithoutTheRightPassword(t *testing.T) {
	address := zookeepertest.Shared(t).Address()
	right := zookeepertest.URL(t, address, "mesos:secret")
	where, err := zookeeper.ParseURL(right)
	if err != nil {
		t.Fatal(err)
	}
	masters := zookeeper.Connect(where, zookeeper.Config{})
	defer masters.Close()
	register(t, masters, newMaster(t, good))
	c, err := New(Config{Master: strings.Replace(right, "secret", "hush", 1), Name: "n", User: "u", Roles: roles("r")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = c.Run(ctx, scheduler.Identity{}, func(scheduler.Event) {})
	if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "hush") {
		t.Errorf("run: got %v, want ErrRefused", err)
	}
}

func TestParseMaster(t *testing.T) {
	for name, test := range map[string]struct{ data, scheme, want string }{
		"Mesos 1.12":           {info("10.0.0.1", 5050), "http", "http://10.0.0.1:5050"},
		"a name for TLS":       {info("10.0.0.1", 5050), "https", "https://node.example:5050"},
		"a name only":          {`{"address":{"hostname":"a","port":1}}`, "http", "http://a:1"},
		"an address only":      {`{"address":{"ip":"10.0.0.1","port":1}}`, "https", "https://10.0.0.1:1"},
		"IPv6":                 {info("fd00::1", 5050), "http", "http://[fd00::1]:5050"},
		"only a PID":           {`{"pid":"master@10.0.0.1:5050"}`, "http", "http://10.0.0.1:5050"},
		"only a PID with IPv6": {`{"pid":"master@[fd00::1]:5050"}`, "http", "http://[fd00::1]:5050"},
		"nothing":              {`{}`, "http", ""},
		"no JSON":              {"\x0a\x01", "http", ""},
		"no port":              {`{"address":{"ip":"10.0.0.1"}}`, "http", ""},
		"port beyond 16 bits":  {`{"address":{"ip":"10.0.0.1","port":70000}}`, "http", ""},
		"no host":              {`{"address":{"hostname":"a/b","port":1}}`, "http", ""},
		"credentials":          {`{"address":{"hostname":"u:p@b","port":1}}`, "http", ""},
		"a zone":               {`{"address":{"ip":"fe80::1%eth0","port":1}}`, "http", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseMaster([]byte(test.data), test.scheme)
			if test.want == "" && err == nil || test.want != "" && (err != nil || got.String() != test.want) {
				t.Errorf("got %v, %v, want %q", got, err, test.want)
			}
		})
	}
}

func FuzzParseMaster(f *testing.F) {
	f.Add([]byte(info("10.0.0.1", 5050)))
	f.Add([]byte(`{"pid":"master@[fd00::1]:5050"}`))
	f.Add([]byte(`{"address":{"hostname":"a","port":1e3}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		master, err := parseMaster(data, "http")
		if err != nil {
			return
		}
		again, err := url.Parse(master.String())
		if err != nil || again.Host != master.Host || again.User != nil || again.Hostname() == "" || again.Port() == "" {
			t.Errorf("%s: got %s, read again %v, %v", data, master, again, err)
		}
	})
}

func FuzzMaster(f *testing.F) {
	for _, text := range []string{"http://a:1", "https://a, http://b/x", "zk://u:hush@a:1,b/mesos", "http://u:hush@a", "http://u:hush@a:b", "a@b", ",", "http://a?x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, err := newDetector(Config{Master: text})
		if err != nil {
			return
		}
		if all, ok := found.(*list); ok {
			for _, master := range all.masters {
				if master.Host == "" || master.User != nil || master.RawQuery != "" {
					t.Errorf("%q: got %s", text, master)
				}
			}
		}
	})
}
