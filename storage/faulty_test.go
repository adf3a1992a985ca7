package storage_test

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/faults"
	"github.com/tidemill/tidemill/storage/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a store whose calls fail as the script says that it has at the time.
type faulty struct {
	storage.Store
	mu     sync.Mutex
	script faults.Script
}

// newFaulty makes a store over an empty folder that never fails, and the store below it.
func newFaulty(t interface {
	TempDir() string
	Fatal(...any)
}) (*faulty, storage.Store) {
	below, err := file.Open(file.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{script: never}
	f.Store = faults.New(func(c faults.Call) faults.Fault {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.script(c)
	}).Store(below)
	return f, below
}

func never(faults.Call) faults.Fault { return faults.Fault{} }

func refuse(faults.Call) faults.Fault { return faults.Fault{Effect: faults.Refuse} }
