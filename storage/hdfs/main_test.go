package hdfs

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync/atomic"
	"testing"

	client "github.com/colinmarc/hdfs/v2"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/dev/hdfs/hdfstest"
	"github.com/tidemill/tidemill/storage"
)

func TestMain(m *testing.M) {
	code := hdfstest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// connect makes a client that is closed with the test.
func connect(t testing.TB, c Config) *Client {
	t.Helper()
	client, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// superuser is a client of the library below, for what tests prepare and look at.
func superuser(t testing.TB) *client.Client {
	t.Helper()
	current, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewClient(client.ClientOptions{Addresses: hdfstest.Shared(t).NameNodes(), User: current.Username})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var folders atomic.Int64

// newFolder makes an empty folder on the shared cluster that everybody can write to.
func newFolder(t testing.TB) string {
	t.Helper()
	folder := fmt.Sprintf("/test-%d", folders.Add(1))
	c := superuser(t)
	if err := c.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := c.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	return folder
}

// open gives a store on the shared cluster that has root.
func open(t testing.TB, root string) *Store {
	t.Helper()
	cluster := hdfstest.Shared(t)
	return openAs(t, Config{NameNodes: cluster.NameNodes(), Root: root, User: "tidemill"}, cluster.Nameservice())
}

func openAs(t testing.TB, c Config, authority string) *Store {
	t.Helper()
	s, err := connect(t, c).Open(authority)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// relative gives a store whose keys are below its root.
func relative(s *Store) storage.Store { return storage.Below(s, strings.TrimPrefix(s.root, "/")+"/") }

// leftovers names the drafts and claims below a folder.
func leftovers(t testing.TB, folder string) []string {
	t.Helper()
	var found []string
	err := superuser(t).Walk(folder, func(path string, _ os.FileInfo, err error) error {
		if strings.Contains(path, "/"+hidden) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
