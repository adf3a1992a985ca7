package file_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
	"github.com/tidemill/tidemill/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, config file.Config) *file.Store {
	t.Helper()
	s, err := file.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func target(t *testing.T, wrap func(storage.Store) storage.Store) storagetest.Target {
	roots := map[storage.Store]string{}
	return storagetest.Target{
		Empty: func(t *testing.T) storage.Store {
			root := t.TempDir()
			s := wrap(open(t, file.Config{Root: root}))
			roots[s] = root
			return s
		},
		Missing: wrap(open(t, file.Config{Root: filepath.Join(t.TempDir(), "none")})),
		Leftovers: func(t *testing.T, s storage.Store) []string {
			t.Helper()
			return drafts(t, roots[s])
		},
	}
}

// drafts names what is in the store's own folder besides the lock.
func drafts(t *testing.T, root string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, ".tidemill"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != "lock" {
			names = append(names, entry.Name())
		}
	}
	return names
}

func TestConformance(t *testing.T) {
	storagetest.Run(t, target(t, func(s storage.Store) storage.Store { return s }))
}

func TestConformanceOfDecorators(t *testing.T) {
	storagetest.Run(t, target(t, func(s storage.Store) storage.Store {
		return storage.NewCounter(storage.WithRetry(s, storage.DefaultBackoff))
	}))
	storagetest.Run(t, target(t, func(s storage.Store) storage.Store { return storage.Below(s, "some/prefix/") }))
}
