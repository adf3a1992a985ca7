package zookeeper_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

func TestMain(m *testing.M) { os.Exit(zookeepertest.Main(m)) }

// connect holds a session until the test ends, and checks then that nothing of it is left.
func connect(t *testing.T, url string, timeout time.Duration) *zookeeper.Session {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	u, err := zookeeper.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	s := zookeeper.Connect(u, zookeeper.Config{SessionTimeout: timeout})
	t.Cleanup(func() {
		s.Close()
		goleak.VerifyNone(t, leaks)
	})
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
