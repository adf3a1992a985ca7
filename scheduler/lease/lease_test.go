package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	devserver "github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

const (
	tick    = 100 * time.Millisecond // the servers'
	timeout = 10 * tick              // of sessions
)

func TestMain(m *testing.M) {
	if url := os.Getenv(candidateURL); url != "" {
		if err := beCandidate(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := zookeepertest.Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// group is instances at one URL, each behind a proxy of its own.
type group struct {
	t       *testing.T
	path    string
	server  *devserver.Server
	timeout time.Duration
}

type member struct {
	*lease.ZooKeeper
	session *zookeeper.Session
	proxy   *zookeepertest.Proxy
}

func newGroup(t *testing.T, server *devserver.Server) *group {
	url, err := zookeeper.ParseURL(zookeepertest.URL(t, server.Address(), ""))
	if err != nil {
		t.Fatal(err)
	}
	return &group{t: t, path: url.Path, server: server, timeout: timeout}
}

func (g *group) join(name string) *member {
	g.t.Helper()
	m := &member{proxy: zookeepertest.NewProxy(g.t, g.server.Address())}
	m.session = connect(g.t, "zk://user:secret@"+m.proxy.Address()+g.path, g.timeout)
	var err error
	if m.ZooKeeper, err = lease.NewZooKeeper(m.session, lease.Instance{URL: "http://" + name}, slog.Default()); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return m
}

func connect(t *testing.T, text string, timeout time.Duration) *zookeeper.Session {
	t.Helper()
	url, err := zookeeper.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	s := zookeeper.Connect(url, zookeeper.Config{SessionTimeout: timeout})
	t.Cleanup(s.Close)
	return s
}

func (m *member) acquire(t *testing.T) lease.Term {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	term, err := m.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !term.Valid() {
		t.Error("the term is over from the beginning")
	}
	return term
}

// acquireLater acquires in the background, and tells when.
func (m *member) acquireLater(t *testing.T) <-chan time.Time {
	led := make(chan time.Time, 1)
	go func() {
		if term, err := m.Acquire(t.Context()); err == nil && term.Valid() {
			led <- time.Now()
		}
	}()
	return led
}

func await[T any](t *testing.T, what string, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("not within 20 s: %s", what)
	}
	return got
}

func leaders(m *member) (urls []string) {
	for _, i := range m.Instances() {
		urls = append(urls, i.URL)
	}
	return urls
}

func awaitInstances(t *testing.T, m *member, want ...string) {
	t.Helper()
	for end := time.After(20 * time.Second); ; {
		changed := m.Changed()
		got := leaders(m)
		leader, ok := m.Leader()
		if slices.Equal(got, want) && ok == (len(want) > 0) && (!ok || leader.URL == want[0]) {
			return
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("instances: got %v, leader %v, %v; want %v", got, leader, ok, want)
		}
	}
}

func TestResigning(t *testing.T) {
	t.Parallel()
	g := newGroup(t, zookeepertest.Shared(t))
	a, b, c := g.join("a"), g.join("b"), g.join("c")
	awaitInstances(t, c)
	first := a.acquire(t)
	awaitInstances(t, c, "http://a")
	led := b.acquireLater(t)
	awaitInstances(t, a, "http://a", "http://b")
	select {
	case <-led:
		t.Fatal("two lead")
	case <-first.Done():
		t.Fatal("the term is over without a reason")
	case <-time.After(3 * tick): // not to be right: to give b the chance to be wrong
	}
	begin := time.Now()
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first.Valid() {
		t.Error("valid after resigning")
	}
	await(t, "done", first.Done())
	if took := await(t, "b leads", led).Sub(begin); took > timeout/2 {
		t.Errorf("b leads only %s after a has resigned", took)
	}
	awaitInstances(t, c, "http://b")
	if err := first.Resign(t.Context()); err != nil {
		t.Errorf("resign again: %v", err)
	}
	// Whoever led takes its place in the line again.
	led = a.acquireLater(t)
	awaitInstances(t, c, "http://b", "http://a")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "a leads again", led)
	if _, err := b.Acquire(t.Context()); !errors.Is(err, zookeeper.ErrClosed) {
		t.Errorf("acquire after close: got %v, want ErrClosed", err)
	}
}

func TestGivingUpWaiting(t *testing.T) {
	t.Parallel()
	g := newGroup(t, zookeepertest.Shared(t))
	a, b, c := g.join("a"), g.join("b"), g.join("c")
	term := a.acquire(t)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		_, err := b.Acquire(ctx)
		waiting <- err
	}()
	awaitInstances(t, c, "http://a", "http://b")
	led := c.acquireLater(t)
	awaitInstances(t, a, "http://a", "http://b", "http://c")
	cancel()
	if err := await(t, "acquire ends", waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("acquire: got %v, want context.Canceled", err)
	}
	awaitInstances(t, a, "http://a", "http://c")
	if err := term.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "c leads", led)
}

// A leader that the network has swallowed is over before another one leads.
func TestSilentNetwork(t *testing.T) {
	t.Parallel()
	g := newGroup(t, zookeepertest.Shared(t))
	a, b := g.join("a"), g.join("b")
	term := a.acquire(t)
	led := b.acquireLater(t)
	awaitInstances(t, a, "http://a", "http://b")
	begin := time.Now()
	a.proxy.Hold(zookeepertest.Requests, zookeepertest.Answers)
	await(t, "a's term is over", term.Done())
	over := time.Now()
	if term.Valid() {
		t.Error("valid although done")
	}
	if took := over.Sub(begin); took > timeout {
		t.Errorf("the term lasted for %s without the network", took)
	}
	if at := await(t, "b leads", led); at.Before(over) {
		t.Errorf("b led %s before a's term was over", over.Sub(at))
	} else if took := at.Sub(begin); took > timeout+time.Second {
		t.Errorf("b leads only after %s", took)
	}
	// a becomes a standby without a restart, and leads again when it is its turn.
	a.proxy.Release()
	led = a.acquireLater(t)
	awaitInstances(t, b, "http://b", "http://a")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "a leads again", led)
}

// What passes soon enough disturbs nobody.
func TestShortTroubles(t *testing.T) {
	t.Parallel()
	g := newGroup(t, zookeepertest.Shared(t))
	g.timeout = 20 * tick
	a, b := g.join("a"), g.join("b")
	term := a.acquire(t)
	led := b.acquireLater(t)
	awaitInstances(t, a, "http://a", "http://b")
	for range 5 {
		a.proxy.Hold(zookeepertest.Answers)
		time.Sleep(tick) // the trouble itself
		a.proxy.Release()
		time.Sleep(timeout / 5)
	}
	a.proxy.Cut()
	awaitInstances(t, b, "http://a", "http://b")
	select {
	case <-term.Done():
		t.Error("the term is over")
	case <-led:
		t.Error("b leads")
	case <-time.After(timeout): // to give them the chance to be wrong
	}
	if !term.Valid() {
		t.Error("the term is not valid")
	}
}

// The answer to making the node is lost: there is one node all the same, and it leads.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	g := newGroup(t, zookeepertest.Shared(t))
	a, b := g.join("a"), g.join("b")
	if err := a.acquire(t).Resign(t.Context()); err != nil { // so that all paths are there
		t.Fatal(err)
	}
	awaitInstances(t, b)
	for range 3 {
		a.proxy.Hold(zookeepertest.Answers)
		led := a.acquireLater(t)
		time.Sleep(tick / 2) // several requests precede it: any of them may be hit
		a.proxy.Cut()
		a.proxy.Release()
		await(t, "a leads", led)
		awaitInstances(t, b, "http://a")
		children, err := b.session.Children(t.Context(), "/lease/candidates")
		if err != nil || len(children) != 1 {
			t.Fatalf("nodes: got %v, %v, want one", children, err)
		}
		if err := b.session.Multi(t.Context(), zookeeper.Delete("/lease/candidates/"+children[0], -1)); err != nil {
			t.Fatal(err)
		}
		awaitInstances(t, b)
	}
}

func TestNodeIsRemoved(t *testing.T) {
	g := newGroup(t, zookeepertest.Shared(t))
	a := g.join("a")
	term := a.acquire(t)
	other := connect(t, "zk://user:secret@"+g.server.Address()+g.path, g.timeout)
	if err := other.Multi(t.Context(), zookeeper.Delete(term.Claim(), zookeeper.AnyVersion)); err != nil {
		t.Fatal(err)
	}
	await(t, "the term is over", term.Done())
	if term.Valid() {
		t.Error("valid although done")
	}
	if again := a.acquire(t); again.Claim() == term.Claim() {
		t.Errorf("two terms with the claim %s", term.Claim())
	}
}

func TestServerIsGone(t *testing.T) {
	t.Parallel()
	server := zookeepertest.Start(t, devserver.Config{Volatile: true})
	g := newGroup(t, server)
	a, b := g.join("a"), g.join("b")
	term := a.acquire(t)
	led := b.acquireLater(t)
	awaitInstances(t, a, "http://a", "http://b")
	for name, fail := range map[string]func() error{"frozen": server.Pause, "killed": server.Kill} {
		begin := time.Now()
		if err := fail(); err != nil {
			t.Fatal(err)
		}
		await(t, name+": the term is over", term.Done())
		if took := time.Since(begin); term.Valid() || took > timeout {
			t.Errorf("%s: valid: %v, %s after the server was gone", name, term.Valid(), took)
		}
		select {
		case <-led:
			t.Errorf("%s: b leads without a server", name)
		case <-time.After(timeout): // to give it the chance to be wrong
		}
		mend := server.Resume
		if name == "killed" {
			mend = func() error { return server.Restart(t.Context()) }
		}
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		await(t, name+": b leads", led)
		term = a.acquireAfter(t, b)
		led = b.acquireLater(t)
		awaitInstances(t, a, "http://a", "http://b")
	}
}

// acquireAfter lets other close its term and m lead.
func (m *member) acquireAfter(t *testing.T, other *member) lease.Term {
	t.Helper()
	children, err := other.session.Children(t.Context(), "/lease/candidates")
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range children {
		if err := other.session.Multi(t.Context(), zookeeper.Delete("/lease/candidates/"+child, zookeeper.AnyVersion)); err != nil {
			t.Fatal(err)
		}
	}
	return m.acquire(t)
}

func TestCredentialsAreRefused(t *testing.T) {
	g := newGroup(t, zookeepertest.Shared(t))
	g.join("a").acquire(t)
	session := connect(t, "zk://user:wrong@"+g.server.Address()+g.path, g.timeout)
	l, err := lease.NewZooKeeper(session, lease.Instance{}, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Acquire(t.Context()); !errors.Is(err, zookeeper.ErrNoAuth) {
		t.Errorf("acquire: got %v, want ErrNoAuth", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestAlone(t *testing.T) {
	l := lease.NewAlone(lease.Instance{URL: "http://me"})
	term, err := l.Acquire(t.Context())
	if err != nil || !term.Valid() || term.Claim() != "" {
		t.Fatalf("acquire: got %+v, %v", term, err)
	}
	if leader, ok := l.Leader(); !ok || leader.URL != "http://me" {
		t.Errorf("leader: got %v, %v", leader, ok)
	}
	if err := l.Close(); err != nil || term.Valid() {
		t.Errorf("after close: got %v, valid %v", err, term.Valid())
	}
	await(t, "done", term.Done())
	if term, err = l.Acquire(t.Context()); err != nil || !term.Valid() {
		t.Errorf("acquire again: got %v, %v", term, err)
	}
}
