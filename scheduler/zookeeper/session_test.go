package zookeeper_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	devserver "github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// tick is the servers': session timeouts are 2 to 20 of them.
const tick = 100 * time.Millisecond

func TestMain(m *testing.M) {
	code := zookeepertest.Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// connect holds a session until the test ends.
func connect(t *testing.T, url string, timeout time.Duration) *zookeeper.Session {
	t.Helper()
	u, err := zookeeper.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	s := zookeeper.Connect(u, zookeeper.Config{SessionTimeout: timeout})
	t.Cleanup(s.Close)
	return s
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestReadAndWrite(t *testing.T) {
	ctx := within(t, 10*time.Second)
	s := connect(t, zookeepertest.URL(t, zookeepertest.Shared(t).Address(), "user:secret"), time.Second)
	if _, _, err := s.Get(ctx, "/"); !errors.Is(err, zookeeper.ErrNoNode) {
		t.Fatalf("get what is not there: got %v, want ErrNoNode", err)
	}
	for range 2 {
		if err := s.EnsurePath(ctx, "/a/b"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Multi(ctx, zookeeper.Create("/a/b/c", []byte("1")), zookeeper.Create("/a/b/d", nil)); err != nil {
		t.Fatal(err)
	}
	children, err := s.Children(ctx, "/a/b")
	if slices.Sort(children); err != nil || !slices.Equal(children, []string{"c", "d"}) {
		t.Fatalf("children: got %v, %v", children, err)
	}
	data, stat, watch, err := s.GetWatch(ctx, "/a/b/c")
	if err != nil || string(data) != "1" || stat.Version != 0 {
		t.Fatalf("get: got %q, version %d, %v", data, stat.Version, err)
	}
	err = s.Multi(ctx, zookeeper.Set("/a/b/c", []byte("2"), 7), zookeeper.Delete("/a/b/d", zookeeper.AnyVersion))
	if !errors.Is(err, zookeeper.ErrBadVersion) {
		t.Fatalf("multi with a wrong version: got %v, want ErrBadVersion", err)
	}
	err = s.Multi(ctx, zookeeper.Check("/a/b", 0), zookeeper.Set("/a/b/c", []byte("2"), 0), zookeeper.Delete("/a/b/d", zookeeper.AnyVersion))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-watch:
	case <-ctx.Done():
		t.Fatal("the watch told nothing")
	}
	if there, _, err := s.ExistsWatch(ctx, "/a/b/d"); err != nil || there {
		t.Fatalf("removed node: got %v, %v", there, err)
	}
}

// eventually fails the test unless what holds within ten seconds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestCredentials(t *testing.T) {
	ctx := within(t, 10*time.Second)
	server := zookeepertest.Shared(t)
	proxy := zookeepertest.NewProxy(t, server.Address())
	url := zookeepertest.URL(t, proxy.Address(), "")
	at := func(address, credentials string) string {
		return "zk://" + credentials + address + url[len("zk://"+proxy.Address()):]
	}
	owner := connect(t, at(proxy.Address(), "user:secret@"), time.Second)
	if err := owner.EnsurePath(ctx, "/mine"); err != nil {
		t.Fatal(err)
	}
	for name, credentials := range map[string]string{"nobody": "", "wrong password": "user:wrong@", "other user": "other:secret@"} {
		s := connect(t, at(server.Address(), credentials), time.Second)
		if _, _, err := s.Get(ctx, "/mine"); !errors.Is(err, zookeeper.ErrNoAuth) {
			t.Errorf("%s reads: got %v, want ErrNoAuth", name, err)
		}
		if err := s.EnsurePath(ctx, "/mine/child"); !errors.Is(err, zookeeper.ErrNoAuth) {
			t.Errorf("%s makes a child: got %v, want ErrNoAuth", name, err)
		}
		if err := s.Multi(ctx, zookeeper.Delete("/mine", 0)); !errors.Is(err, zookeeper.ErrNoAuth) {
			t.Errorf("%s removes: got %v, want ErrNoAuth", name, err)
		}
	}
	for range 3 {
		proxy.Cut()
		if _, _, err := owner.Get(ctx, "/mine"); err != nil {
			t.Errorf("the owner reads after a reconnection: %v", err)
		}
	}
}

func TestServerRestarts(t *testing.T) {
	ctx := within(t, 30*time.Second)
	server := zookeepertest.Start(t, devserver.Config{Volatile: true, TickTime: 5 * tick})
	s := connect(t, zookeepertest.URL(t, server.Address(), ""), 100*tick) // more than a restart takes
	lost := s.Lost()
	if err := s.EnsurePath(ctx, "/e"); err != nil {
		t.Fatal(err)
	}
	ephemeral, err := s.CreateEphemeral(ctx, "/e/x-", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, watch, err := s.GetWatch(ctx, ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it sees that the server is gone", func() bool { return !s.Connected() })
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if _, stat, err := s.Get(ctx, ephemeral); err != nil || stat.EphemeralOwner == 0 {
		t.Errorf("ephemeral node after a restart of the server: %v", err)
	}
	select {
	case <-lost:
		t.Error("the session was lost")
	case <-watch:
		t.Error("the watch told something")
	default:
	}
	if err := s.Multi(ctx, zookeeper.Set(ephemeral, []byte("x"), 0)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-watch:
	case <-ctx.Done():
		t.Error("the watch did not outlive the restart")
	}
}

func TestFrozenServerTakesTheSession(t *testing.T) {
	ctx := within(t, 30*time.Second)
	server := zookeepertest.Start(t, devserver.Config{Volatile: true})
	s := connect(t, zookeepertest.URL(t, server.Address(), "user:secret"), 4*tick)
	if err := s.EnsurePath(ctx, "/e"); err != nil {
		t.Fatal(err)
	}
	lost := s.Lost()
	ephemeral, err := s.CreateEphemeral(ctx, "/e/x-", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, watch, err := s.GetWatch(ctx, ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it sees that the server is silent", func() bool { return !s.Connected() })
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, _, err := s.Get(short, "/e"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read while the server is frozen: got %v, want the context's error", err)
	}
	time.Sleep(6 * tick) // the thing itself: beyond the timeout
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	for what, told := range map[string]<-chan struct{}{"lost": lost, "watch": closing(watch)} {
		select {
		case <-told:
		case <-ctx.Done():
			t.Errorf("%s: told nothing", what)
		}
	}
	if _, _, err := s.Get(ctx, ephemeral); !errors.Is(err, zookeeper.ErrNoNode) {
		t.Errorf("ephemeral node of the lost session: got %v, want ErrNoNode", err)
	}
	if s.Lost() == lost {
		t.Error("the new session counts as lost")
	}
	if again, err := s.CreateEphemeral(ctx, "/e/x-", nil); err != nil || again == ephemeral {
		t.Errorf("in the new session: got %q, %v", again, err)
	}
}

func closing(w zookeeper.Watch) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		<-w
		close(done)
	}()
	return done
}

func TestAnswerIsLost(t *testing.T) {
	ctx := within(t, 10*time.Second)
	proxy := zookeepertest.NewProxy(t, zookeepertest.Shared(t).Address())
	s := connect(t, zookeepertest.URL(t, proxy.Address(), ""), 20*tick)
	if err := s.EnsurePath(ctx, "/"); err != nil {
		t.Fatal(err)
	}
	other := connect(t, "zk://"+zookeepertest.Shared(t).Address()+s.URL().Path, 20*tick)

	proxy.Hold(zookeepertest.Answers)
	result := make(chan error, 1)
	go func() { result <- s.Multi(ctx, zookeeper.Create("/done", nil)) }()
	eventually(t, "the write arrives", func() bool {
		_, _, err := other.Get(ctx, "/done")
		return err == nil
	})
	proxy.Cut()
	proxy.Release()
	if err := <-result; !errors.Is(err, zookeeper.ErrUnsettled) {
		t.Errorf("write without an answer: got %v, want ErrUnsettled", err)
	}

	proxy.Hold(zookeepertest.Requests)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := s.Multi(short, zookeeper.Create("/late", nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("write that nobody got: got %v, want the context's error", err)
	}
	proxy.Release()
	if _, _, err := s.Get(ctx, "/done"); err != nil {
		t.Errorf("read after all that: %v", err)
	}
}

func TestOtherServersAreTried(t *testing.T) {
	ctx := within(t, 10*time.Second)
	good := zookeepertest.Shared(t).Address()
	frozen := zookeepertest.NewProxy(t, good)
	frozen.Hold(zookeepertest.Answers)
	for name, bad := range map[string]string{
		"frozen":  frozen.Address(),
		"foreign": foreign(t, "HTTP/1.1 400 Bad Request\r\n\r\n"),
		"short": foreign(t, "\x00\x00\x00\x25\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"+
			"\x00\x00\x00\x10abcdefghijklmnop\x00"), // a session timeout of 0
		"garbled": foreign(t, "\x00\x00\x00\x25\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x01"+
			"\x00\x00\x00\x10abcdefghijklmnop\x00\x00\x00\x00\x03abc"), // a greeting, then a frame without a header
		"nobody": nobody(t),
	} {
		t.Run(name, func(t *testing.T) {
			s := connect(t, zookeepertest.URL(t, bad+","+good, ""), 20*tick)
			if err := s.EnsurePath(ctx, "/"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// foreign is a server that says one thing to everyone.
func foreign(t *testing.T, greeting string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, greeting); err != nil {
				t.Log(err) // the client went first
			}
			defer c.Close()
		}
	}()
	return listener.Addr().String()
}

// nobody is a port on which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// TestUnreachableIsSaid: whoever waits for an ensemble that is not there finds out why in the log.
func TestUnreachableIsSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	u, err := zookeeper.ParseURL("zk://user:hush@" + address + "/x")
	if err != nil {
		t.Fatal(err)
	}
	out, in := io.Pipe()
	s := zookeeper.Connect(u, zookeeper.Config{SessionTimeout: time.Second, Log: slog.New(slog.NewTextHandler(in, nil))})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil { // what is logged from here on goes nowhere
		t.Fatal(err)
	}
	s.Close()
	if !strings.Contains(line, "no ZooKeeper server can be reached") || !strings.Contains(line, address) ||
		!strings.Contains(line, "refused") || strings.Contains(line, "hush") {
		t.Errorf("got %q", line)
	}
}

func TestNoStormOfConnections(t *testing.T) {
	proxy := zookeepertest.NewProxy(t, nobody(t)) // takes connections, and closes them
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int64
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			c.Close()
		}
	}()
	defer listener.Close()
	s := connect(t, zookeepertest.URL(t, proxy.Address()+","+listener.Addr().String(), "u:p"), 20*tick)
	begin := time.Now()
	eventually(t, "three attempts", func() bool { return taken.Load() >= 3 })
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("five attempts at two servers took only %s", took)
	}
	begin = time.Now()
	s.Close()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("close without a connection took %s", took)
	}
	if _, _, err := s.Get(t.Context(), "/"); !errors.Is(err, zookeeper.ErrClosed) {
		t.Errorf("read after close: got %v, want ErrClosed", err)
	}
}

func TestCloseGivesUpTheSession(t *testing.T) {
	ctx := within(t, 10*time.Second)
	url := zookeepertest.URL(t, zookeepertest.Shared(t).Address(), "")
	first, second := connect(t, url, 20*tick), connect(t, url, 20*tick)
	if err := first.EnsurePath(ctx, "/"); err != nil {
		t.Fatal(err)
	}
	path, err := first.CreateEphemeral(ctx, "/x-", nil)
	if err != nil {
		t.Fatal(err)
	}
	there, watch, err := second.ExistsWatch(ctx, path)
	if err != nil || !there {
		t.Fatalf("ephemeral node: got %v, %v", there, err)
	}
	begin := time.Now()
	first.Close()
	select {
	case <-watch:
	case <-ctx.Done():
		t.Fatal("the ephemeral node stayed")
	}
	if took := time.Since(begin); took > 10*tick {
		t.Errorf("giving up took %s, as long as a session that is lost", took)
	}
}
