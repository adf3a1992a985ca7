package zookeepertest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidemill/tidemill/dev/zookeeper"
)

var shared struct {
	once   sync.Once
	server *zookeeper.Server
	err    error
	dir    string
}

// Main runs a package's tests and stops the server that they shared. What it returns is for os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if shared.dir != "" {
		if err := os.RemoveAll(shared.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// Need skips a test that needs a server where none can be started; with CI set in the environment it fails.
func Need(tb testing.TB) {
	tb.Helper()
	err := zookeeper.Available()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		tb.Fatalf("start ZooKeeper: %v", err)
	default:
		tb.Skipf("needs ZooKeeper: %v", err)
	}
}

// Shared is the package's server, started by the first that asks. Nobody may stop it. It does not wait for the disk: a
// test or benchmark of durability starts one of its own.
func Shared(tb testing.TB) *zookeeper.Server {
	tb.Helper()
	Need(tb)
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "tidemill-zookeeper-"); shared.err != nil {
			return
		}
		shared.server, shared.err = zookeeper.Start(context.Background(), zookeeper.Config{Dir: shared.dir, Volatile: true, HeapMiB: 384})
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server
}

// Start starts a server for one test, which may do with it what it wants.
func Start(tb testing.TB, config zookeeper.Config) *zookeeper.Server {
	tb.Helper()
	Need(tb)
	if config.Dir == "" {
		config.Dir = tb.TempDir()
	}
	server, err := zookeeper.Start(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Kill(); err != nil {
			tb.Error(err)
		}
	})
	return server
}

var roots atomic.Int64

// URL is zk://[credentials@]address/path with a path that no other test has. credentials is user:password or empty.
func URL(tb testing.TB, address, credentials string) string {
	tb.Helper()
	if credentials != "" {
		credentials += "@"
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, tb.Name())
	return fmt.Sprintf("zk://%s%s/%s-%d", credentials, address, name, roots.Add(1))
}
