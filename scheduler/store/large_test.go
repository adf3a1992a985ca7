package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/scheduler/store/storetest"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func folder(t *testing.T) (storage.Store, string) {
	t.Helper()
	root := t.TempDir()
	objects, err := file.Open(file.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return objects, root
}

func TestLargeConformance(t *testing.T) {
	for _, limit := range []int{4, store.LargeLimit} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Place {
				path := filepath.Join(t.TempDir(), "tidemill.db")
				objects, _ := folder(t)
				return storetest.Place{Open: func() (store.Store, error) {
					inner, err := store.Open(path)
					if err != nil {
						return nil, err
					}
					return store.NewLarge(inner, objects, limit), nil
				}}
			})
		})
	}
}

// Over ZooKeeper values may be larger than its nodes.
func TestLargeOverZooKeeper(t *testing.T) {
	server := zookeepertest.Shared(t)
	storetest.Run(t, func(t *testing.T) storetest.Place {
		url := zookeepertest.URL(t, server.Address(), "user:secret")
		objects, _ := folder(t)
		return storetest.Place{
			Open: func() (store.Store, error) {
				inner, err := lead(url)
				if err != nil {
					return nil, err
				}
				return store.NewLarge(inner, objects, store.LargeLimit), nil
			},
			TakesOver: true,
		}
	})
}

// memory is a store that shows what is stored below.
type memory struct {
	values map[scheduler.Key][]byte
	fail   error
}

func (m *memory) Load(context.Context) ([]scheduler.Record, error) {
	var out []scheduler.Record
	for key, value := range m.values {
		out = append(out, scheduler.Record{Key: key, Value: bytes.Clone(value)})
	}
	return out, nil
}

func (m *memory) Commit(_ context.Context, changes []scheduler.Change) error {
	if m.fail != nil {
		return m.fail
	}
	for _, change := range changes {
		if change.Value == nil {
			delete(m.values, change.Key)
		} else {
			m.values[change.Key] = bytes.Clone(change.Value)
		}
	}
	return nil
}

func (m *memory) Close() error { return nil }

func key(id string) scheduler.Key { return scheduler.Key{Kind: scheduler.KindPlan, ID: id} }

func put(id, value string) scheduler.Change {
	return scheduler.Change{Key: key(id), Value: []byte(value)}
}

func values(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	records, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, record := range records {
		out[record.Key.ID] = string(record.Value)
	}
	return out
}

func keys(t *testing.T, objects storage.Store) []string {
	t.Helper()
	var out []string
	for object, err := range objects.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, object.Key)
	}
	return out
}

func TestLargeValuesLieInObjects(t *testing.T) {
	inner := &memory{values: map[scheduler.Key][]byte{}}
	objects, _ := folder(t)
	s := store.NewLarge(inner, objects, 100)
	want := map[string]string{"small": "s", "limit": strings.Repeat("l", 100), "large": strings.Repeat("x", 101), "empty": ""}
	var changes []scheduler.Change
	for id, value := range want {
		changes = append(changes, put(id, value))
	}
	if err := s.Commit(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	if got := values(t, s); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if stored := keys(t, objects); len(stored) != 1 || !strings.HasPrefix(stored[0], "large/") {
		t.Errorf("objects: got %v, want one in large/", stored)
	}
	if pointer := inner.values[key("large")]; len(pointer) > 300 || bytes.Contains(pointer, []byte("xxx")) {
		t.Errorf("the store below has %d bytes: %s", len(pointer), pointer)
	}
	if got := string(inner.values[key("limit")]); got != want["limit"] {
		t.Errorf("the store below has %q in place of a small value", got)
	}
	// Records that look like pointers are values like any other.
	forged := string(inner.values[key("large")])
	if err := s.Commit(t.Context(), []scheduler.Change{put("forged", forged), put("mark", "\x00tidemill large {")}); err != nil {
		t.Fatal(err)
	}
	if got := values(t, s); got["forged"] != forged || got["mark"] != "\x00tidemill large {" {
		t.Errorf("got %q and %q", got["forged"], got["mark"])
	}
}

func TestLargeDamage(t *testing.T) {
	value := strings.Repeat("x", 200)
	for name, damage := range map[string]func(t *testing.T, inner *memory, objects storage.Store, object string){
		"missing": func(t *testing.T, _ *memory, objects storage.Store, object string) {
			if err := objects.Delete(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		},
		"other bytes": func(t *testing.T, _ *memory, objects storage.Store, object string) {
			write(t, objects, object, strings.Repeat("y", 200))
		},
		"shorter": func(t *testing.T, _ *memory, objects storage.Store, object string) { write(t, objects, object, "x") },
		"longer": func(t *testing.T, _ *memory, objects storage.Store, object string) {
			write(t, objects, object, value+"x")
		},
		"pointer cut": func(_ *testing.T, inner *memory, _ storage.Store, _ string) {
			inner.values[key("plan")] = inner.values[key("plan")][:40]
		},
		"pointer elsewhere": func(_ *testing.T, inner *memory, _ storage.Store, _ string) {
			inner.values[key("plan")] = []byte("\x00tidemill large " + `{"object":"artifacts/x","sha256":"","size":1}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inner := &memory{values: map[scheduler.Key][]byte{}}
			objects, _ := folder(t)
			s := store.NewLarge(inner, objects, 100)
			if err := s.Commit(t.Context(), []scheduler.Change{put("plan", value), put("good", "g")}); err != nil {
				t.Fatal(err)
			}
			damage(t, inner, objects, keys(t, objects)[0])
			_, err := s.Load(t.Context())
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), `plan "plan"`) {
				t.Errorf("got %v, want ErrDamaged that names the record", err)
			}
		})
	}
}

func write(t *testing.T, objects storage.Store, object, value string) {
	t.Helper()
	if _, err := storage.WriteAll(t.Context(), objects, object, []byte(value), storage.Always); err != nil {
		t.Fatal(err)
	}
}

// Whoever follows reads each large value once.
func TestFetcher(t *testing.T) {
	inner := &memory{values: map[scheduler.Key][]byte{}}
	objects, _ := folder(t)
	counter := storage.NewCounter(objects)
	s := store.NewLarge(inner, objects, 100)
	f := store.NewFetcher(counter)
	follow := func(reads int64, want map[string]string) {
		t.Helper()
		before := counter.Totals().Requests
		records, err := inner.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Fetch(t.Context(), records); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, record := range records {
			got[record.Key.ID] = string(record.Value)
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := counter.Totals().Requests - before; got != reads {
			t.Errorf("%d reads, want %d", got, reads)
		}
	}
	commit := func(changes ...scheduler.Change) {
		t.Helper()
		if err := s.Commit(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
	}
	a, b := strings.Repeat("a", 200), strings.Repeat("b", 200)
	commit(put("1", a), put("2", b), put("3", "small"))
	follow(2, map[string]string{"1": a, "2": b, "3": "small"})
	follow(0, map[string]string{"1": a, "2": b, "3": "small"})
	commit(put("1", b), scheduler.Change{Key: key("2")})
	follow(1, map[string]string{"1": b, "3": "small"})

	commit(put("2", a))
	for _, object := range keys(t, objects) {
		write(t, objects, object, "spoilt")
	}
	records, err := inner.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Fetch(t.Context(), records); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// failing is a storage that is down for so many puts and gets, or for ever below 0.
type failing struct {
	storage.Store
	puts, gets int
}

func (f *failing) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	if f.puts != 0 {
		f.puts--
		return storage.Object{}, fmt.Errorf("put: %w", storage.ErrUnavailable)
	}
	return f.Store.Put(ctx, key, body, size, cond)
}

func (f *failing) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	if f.gets != 0 {
		f.gets--
		return nil, storage.Object{}, fmt.Errorf("get: %w", storage.ErrUnavailable)
	}
	return f.Store.Get(ctx, key, r)
}

func TestLargeWhileStorageIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &memory{values: map[scheduler.Key][]byte{}}
		objects, _ := folder(t)
		down := &failing{Store: objects, puts: 5}
		s := store.NewLarge(inner, down, 100)
		if err := s.Commit(t.Context(), []scheduler.Change{put("plan", strings.Repeat("x", 200))}); err != nil {
			t.Fatalf("down for a while: %v", err)
		}

		down.puts = -1
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := s.Commit(ctx, []scheduler.Change{put("plan", strings.Repeat("y", 200)), put("small", "s")})
		if !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("down for good: got %v", err)
		}
		if got := values(t, s); len(got) != 1 || got["plan"] != strings.Repeat("x", 200) {
			t.Errorf("records have changed: %v", got)
		}
		if err := s.Commit(t.Context(), []scheduler.Change{put("small", "s")}); err != nil {
			t.Errorf("small values need no storage: %v", err)
		}

		down.gets = -1
		if _, err := s.Load(t.Context()); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, store.ErrDamaged) {
			t.Errorf("load: got %v, want ErrUnavailable", err)
		}
	})
}

func TestLargeCollect(t *testing.T) {
	inner := &memory{values: map[scheduler.Key][]byte{}}
	objects, root := folder(t)
	s := store.NewLarge(inner, objects, 100)
	commit := func(id, value string) {
		t.Helper()
		if err := s.Commit(t.Context(), []scheduler.Change{put(id, value)}); err != nil {
			t.Fatal(err)
		}
	}
	collect := func(want int) {
		t.Helper()
		if got, err := s.Collect(t.Context()); err != nil || got != want {
			t.Errorf("collected %d, %v, want %d", got, err, want)
		}
	}
	collect(0) // there is not even a folder
	first, second := strings.Repeat("1", 200), strings.Repeat("2", 200)
	commit("kept", first)
	commit("replaced", first)
	commit("replaced", second)
	commit("removed", first)
	if err := s.Commit(t.Context(), []scheduler.Change{{Key: key("removed")}}); err != nil {
		t.Fatal(err)
	}
	inner.fail = errors.New("fenced")
	if err := s.Commit(t.Context(), []scheduler.Change{put("refused", first)}); !errors.Is(err, inner.fail) {
		t.Fatalf("got %v, want what the store below says", err)
	}
	inner.fail = nil
	collect(0) // all is young

	aged := time.Now().Add(-25 * time.Hour)
	for _, object := range keys(t, objects) {
		if err := os.Chtimes(filepath.Join(root, object), aged, aged); err != nil {
			t.Fatal(err)
		}
	}
	commit("new", first)
	collect(3) // what was replaced, removed and refused
	collect(0)
	want := map[string]string{"kept": first, "replaced": second, "new": first}
	if got := values(t, s); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	// A pointer that cannot be read may be any object's: nothing is removed then.
	for _, object := range keys(t, objects) {
		if err := os.Chtimes(filepath.Join(root, object), aged, aged); err != nil {
			t.Fatal(err)
		}
	}
	inner.values[key("kept")] = []byte("\x00tidemill large {")
	if _, err := s.Collect(t.Context()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	if got := len(keys(t, objects)); got != 3 {
		t.Errorf("%d objects are left, want 3", got)
	}
}

// listing breaks off in the middle.
type listing struct{ storage.Store }

func (l listing) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		yield(storage.Object{}, storage.ErrUnavailable)
	}
}

func TestLargeCollectFails(t *testing.T) {
	objects, _ := folder(t)
	s := store.NewLarge(&memory{}, listing{objects}, 100)
	if _, err := s.Collect(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
