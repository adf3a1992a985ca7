package hdfs_test

import (
	"os"
	"testing"

	client "github.com/colinmarc/hdfs/v2"

	"github.com/tidemill/tidemill/dev/hdfs"
	"github.com/tidemill/tidemill/dev/hdfs/hdfstest"
)

func TestMain(m *testing.M) { os.Exit(hdfstest.Main(m)) }

func TestLife(t *testing.T) {
	cluster := hdfstest.Start(t, hdfs.Config{})
	c, err := client.NewClient(client.ClientOptions{Addresses: cluster.NameNodes(), User: os.Getenv("USER") + "someone"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	infos, err := c.ReadDir("/")
	if err != nil || len(infos) != 0 {
		t.Errorf("got %v, %v, want an empty file system", infos, err)
	}
	if err := c.Mkdir("/mine", 0o755); !os.IsPermission(err) {
		t.Errorf("a stranger makes a folder: got %v, want that it is not permitted", err)
	}
	for range 2 {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.NewClient(client.ClientOptions{Addresses: cluster.NameNodes(), User: "someone"}); err == nil {
		t.Error("connected after it was stopped")
	}
}
