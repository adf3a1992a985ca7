package hdfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/hdfs/hdfstest"
	"github.com/tidemill/tidemill/storage"
)

// Writers on a real HDFS, each with connections of its own, that stop for longer than the others' patience or die at
// random steps: what each was told is true of one order of all, and once the dead are old enough nothing of them is left.
func TestRacesOnHDFS(t *testing.T) {
	const writers, rounds, each = 4, 12, 4
	const short = 150 * time.Millisecond // the others' patience here
	cluster := hdfstest.Shared(t)
	root := newFolder(t)
	var stores []*Store
	for i := range writers {
		s := openAs(t, Config{NameNodes: cluster.NameNodes(), Root: root, User: "tidemill"}, cluster.Nameservice())
		source := rand.New(rand.NewPCG(uint64(i), 20))
		s.claims.patience = short
		s.claims.at = func(string) error {
			switch draw := source.IntN(40); {
			case draw < 2:
				time.Sleep(short + short/2) // longer than they wait, if nothing else
			case draw < 3:
				return errDied
			}
			return nil
		}
		stores = append(stores, s)
	}
	kinds := []string{"put", "create", "replace", "replace", "replace", "delete", "read"}
	outcomes := map[string]int{}
	for round := range rounds {
		key := fmt.Sprintf("%s/round-%d/object", root[1:], round)
		history := race(t, stores, key, func(writer int) []string {
			source := rand.New(rand.NewPCG(uint64(round), uint64(writer)))
			var plan []string
			for range each {
				plan = append(plan, kinds[source.IntN(len(kinds))])
			}
			return plan
		})
		for _, o := range history {
			outcomes[o.outcome]++
		}
		if !linearizable(history) {
			for _, o := range history {
				t.Log(o)
			}
			t.Fatalf("round %d: no order of the operations explains what each was told", round)
		}
	}
	if outcomes["done"] == 0 || outcomes["refused"] == 0 || outcomes["unknown"] == 0 {
		t.Errorf("got outcomes %v: not everything happened", outcomes)
	}
	tidyer := open(t, root)
	if len(leftovers(t, root)) == 0 {
		t.Error("the dead have left nothing")
	}
	tidyer.claims.abandoned = 0
	for _, err := range tidyer.List(t.Context(), root[1:]+"/", "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if left := leftovers(t, root); len(left) > 0 {
		t.Errorf("got %q after they were swept", left)
	}
}

// race lets each store work on one object.
func race(t *testing.T, stores []*Store, key string, plan func(writer int) []string) []operation {
	t.Helper()
	var mu sync.Mutex
	var history []operation
	start := time.Now()
	var all sync.WaitGroup
	for writer, s := range stores {
		all.Go(func() {
			for i, kind := range plan(writer) {
				o := perform(t, s, key, kind, fmt.Sprintf("%s by %d, %d", key, writer, i), start)
				mu.Lock()
				history = append(history, o)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return append(history, perform(t, stores[0], key, "read", "", start))
}

// version finds what is there by its bytes, which name their writer.
func version(t *testing.T, s *Store, key string) (content string, etag string) {
	t.Helper()
	for {
		data, obj, err := storage.ReadAll(t.Context(), s, key, 1000)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return "", ""
		case err == nil:
			return string(data), obj.ETag
		case !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrCondition):
			t.Error(err)
			return "", ""
		} // replaced while it was read
	}
}

func perform(t *testing.T, s *Store, key, kind, content string, start time.Time) operation {
	o := operation{kind: kind, from: time.Since(start), outcome: "done"}
	var err error
	switch kind {
	case "read":
		o.match, _ = version(t, s, key)
	case "delete":
		err = s.Delete(t.Context(), key)
	default:
		o.version = content
		cond := storage.Always
		switch kind {
		case "create":
			cond = storage.IfAbsent
		case "replace":
			var etag string
			o.match, etag = version(t, s, key)
			cond = storage.IfMatch(etag)
		}
		_, err = storage.WriteAll(t.Context(), s, key, []byte(content), cond)
	}
	o.to = time.Since(start)
	switch {
	case err == nil:
	case errors.Is(err, storage.ErrCondition):
		o.outcome = "refused"
	case errors.Is(err, storage.ErrUnavailable) || strings.Contains(err.Error(), errDied.Error()):
		o.outcome = "unknown"
	default:
		t.Errorf("%s: %v", kind, err)
	}
	return o
}
