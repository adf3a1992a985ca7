package hdfs

import (
	"testing"

	"github.com/tidemill/tidemill/dev/hdfs/hdfstest"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/storagetest"
)

func TestConformance(t *testing.T) {
	cluster := hdfstest.Shared(t)
	roots := map[storage.Store]string{}
	private := newFolder(t)
	if err := superuser(t).Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	stranger := openAs(t, Config{NameNodes: cluster.NameNodes(), Root: private, User: "stranger"}, cluster.Nameservice())
	storagetest.Run(t, storagetest.Target{
		Empty: func(t *testing.T) storage.Store {
			root := newFolder(t)
			s := relative(open(t, root))
			roots[s] = root
			return s
		},
		Missing: relative(open(t, "/no-such-folder")),
		Denied:  relative(stranger),
		Leftovers: func(t *testing.T, s storage.Store) []string {
			t.Helper()
			return leftovers(t, roots[s])
		},
	})
}
