package hdfstest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/tidemill/tidemill/dev/hdfs"
)

var shared struct {
	once    sync.Once
	cluster *hdfs.Cluster
	err     error
	dir     string
}

// Main runs a package's tests and stops the cluster that they shared. What it returns is for os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

// Stop is for packages whose TestMain does more than Main: it stops the shared cluster, if there is one.
func Stop() error {
	if shared.cluster != nil {
		if err := shared.cluster.Stop(); err != nil {
			return err
		}
	}
	if shared.dir == "" {
		return nil
	}
	return os.RemoveAll(shared.dir)
}

// Need skips a test that needs a cluster where none can be started; with CI set in the environment it fails.
func Need(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("starts an HDFS")
	}
	err := hdfs.Available()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		tb.Fatalf("start HDFS: %v", err)
	default:
		tb.Skipf("needs HDFS: %v", err)
	}
}

// Shared is the package's cluster, with one name node and without Kerberos, started by the first that asks. Nobody may
// stop it or parts of it.
func Shared(tb testing.TB) *hdfs.Cluster {
	tb.Helper()
	Need(tb)
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "tidemill-hdfs-"); shared.err != nil {
			return
		}
		shared.cluster, shared.err = hdfs.Start(context.Background(), hdfs.Config{Dir: shared.dir})
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.cluster
}

// Start starts a cluster for one test, which may do with it what it wants.
func Start(tb testing.TB, config hdfs.Config) *hdfs.Cluster {
	tb.Helper()
	Need(tb)
	if config.Dir == "" {
		config.Dir = tb.TempDir()
	}
	cluster, err := hdfs.Start(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return cluster
}
