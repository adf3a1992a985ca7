package artifacts

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// versions is a view in which versions have the files with those sums.
func versions(sums ...string) func() *scheduler.View {
	view := &scheduler.View{Versions: map[string]*scheduler.VersionView{}}
	for _, sum := range sums {
		view.Versions[sum] = &scheduler.VersionView{Version: &proto.ExecutorVersion{Version: sum, Artifacts: []proto.Artifact{{SHA256: sum}}}}
	}
	return func() *scheduler.View { return view }
}

func collector(s *Store, view func() *scheduler.View) *Collector {
	return &Collector{Store: s, View: view, Leads: func() bool { return true }, Log: slog.New(slog.DiscardHandler)}
}

func put(t *testing.T, s *Store, version string) (sum string) {
	t.Helper()
	content := program(version)
	sum = sumOf(content)
	if _, err := s.Put(t.Context(), version, "linux", "amd64", sum, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestCollect(t *testing.T) {
	for name, objects := range folders {
		t.Run(name, func(t *testing.T) {
			s := open(t, objects(t))
			registered, left := put(t, s, "1.4.0"), put(t, s, "1.5.0")
			for _, foreign := range []string{"artifacts/README", "archive/" + left} {
				if _, err := storage.WriteAll(t.Context(), s.objects, foreign, []byte("x"), storage.Always); err != nil {
					t.Fatal(err)
				}
			}
			all := names(t, s)
			c := collector(s, versions(registered))
			pass := func(after time.Duration) []string {
				t.Helper()
				if err := c.pass(t.Context(), time.Now().Add(after)); err != nil {
					t.Fatal(err)
				}
				return names(t, s)
			}
			if diff := cmp.Diff(all, pass(59*time.Minute)); diff != "" {
				t.Errorf("young files were collected: %s", diff)
			}
			c.Leads = func() bool { return false }
			if diff := cmp.Diff(all, pass(2*time.Hour)); diff != "" {
				t.Errorf("after the term: %s", diff)
			}
			c.Leads = func() bool { return true }
			pass(2 * time.Hour)
			if has(t, s, left) || !has(t, s, registered) || len(names(t, s)) != len(all)-1 {
				t.Errorf("got %v", names(t, s))
			}
		})
	}
}

// A file that an upload of this process has found there is not collected before its version is registered, however old.
func TestCollectSparesUploads(t *testing.T) {
	s := open(t, newFolder(t))
	sum := put(t, s, "1.4.0")
	release, again := s.Hold(sum), s.Hold(sum)
	c := collector(s, versions())
	for i, step := range []func(){func() {}, release} {
		step()
		if err := c.pass(t.Context(), time.Now().Add(time.Hour*2)); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), sum, unneeded); err != nil {
			t.Fatal(err)
		}
		if !has(t, s, sum) {
			t.Fatalf("the file is gone after step %d", i)
		}
	}
	again()
	if err := c.pass(t.Context(), time.Now().Add(time.Hour*2)); err != nil {
		t.Fatal(err)
	}
	if has(t, s, sum) || len(s.holds.bySum) != 0 {
		t.Errorf("it is still there; holds: %v", s.holds.bySum)
	}
}

// A version that got the file after somebody had found it unneeded keeps it: that is asked again when no upload can hold
// the file any more.
func TestDeleteSparesRegistered(t *testing.T) {
	s := open(t, newFolder(t))
	sum := put(t, s, "1.4.0")
	held := false
	needed := func() bool {
		s.holds.mu.Lock()
		defer s.holds.mu.Unlock()
		held = s.holds.bySum[sum] != nil && s.holds.bySum[sum].deleting != nil
		return true
	}
	if err := s.Delete(t.Context(), sum, needed); err != nil {
		t.Fatal(err)
	}
	if !has(t, s, sum) || !held || len(s.holds.bySum) != 0 {
		t.Errorf("kept %v, asked while uploads wait %v, holds %v", has(t, s, sum), held, s.holds.bySum)
	}
}

// unneeded says that no version has the file.
func unneeded() bool { return false }

// Two processes share the storage. One, which has led, lists an old file; the other takes the same file in again and
// registers it. The first one finds it young when it comes to delete it.
func TestCollectSparesUploadsOfOthers(t *testing.T) {
	objects := &staged{Store: newFolder(t)}
	former, leader := open(t, objects), open(t, objects)
	sum := put(t, former, "1.4.0")
	objects.age = 2 * time.Hour
	objects.listed = func() {
		put(t, leader, "1.4.0")
		objects.age = 0 // it was written anew
	}
	if err := collector(former, versions()).pass(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if !has(t, leader, sum) || objects.puts != 2 {
		t.Errorf("the file is there: %v, after %d puts", has(t, leader, sum), objects.puts)
	}
}

// staged lets something happen after the first object was listed, and makes objects look older.
type staged struct {
	storage.Store
	age    time.Duration
	puts   int
	listed func()
}

func (s *staged) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for object, err := range s.Store.List(ctx, prefix, after) {
			object.Modified = object.Modified.Add(-s.age)
			if s.listed != nil {
				s.listed()
				s.listed = nil
			}
			if !yield(object, err) {
				return
			}
		}
	}
}

func (s *staged) Stat(ctx context.Context, key string) (storage.Object, error) {
	object, err := s.Store.Stat(ctx, key)
	object.Modified = object.Modified.Add(-s.age)
	return object, err
}

func (s *staged) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	s.puts++
	return s.Store.Put(ctx, key, body, size, cond)
}

// While a file is being deleted, an upload of it waits, and does not take it for one that is there.
func TestHoldWaitsForDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holds{bySum: map[string]*hold{}}
		var order []string
		begun, finish, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			err := h.remove("sum", func() error {
				close(begun)
				<-finish
				order = append(order, "deleted")
				return errors.New("no matter")
			})
			if err == nil {
				t.Error("the error is lost")
			}
		}()
		<-begun
		if err := h.remove("sum", func() error { return errors.New("twice at once") }); err != nil {
			t.Error(err)
		}
		held := make(chan struct{})
		go func() {
			release := h.take("sum")
			order = append(order, "held")
			release()
			close(held)
		}()
		h.take("other")()
		synctest.Wait()
		close(finish)
		<-held
		<-ended
		if diff := cmp.Diff([]string{"deleted", "held"}, order); diff != "" {
			t.Error(diff)
		}
		if len(h.bySum) != 0 {
			t.Errorf("left: %v", h.bySum)
		}
	})
}

// It begins some minutes after the term, goes on every hour, also after storage that was down, and ends with the term.
func TestCollectorRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := &memory{modified: map[string]time.Time{}}
		s := New(objects, t.TempDir())
		left, kept := sumOf("left"), sumOf("kept")
		objects.modified[folder+left], objects.modified[folder+kept] = time.Now(), time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			collector(s, versions(kept)).Run(ctx)
		}()
		check := func(after time.Duration, err error, lists, files int) {
			t.Helper()
			objects.fail(err)
			time.Sleep(after)
			synctest.Wait()
			objects.mu.Lock()
			defer objects.mu.Unlock()
			if _, there := objects.modified[folder+kept]; !there || objects.lists != lists || len(objects.modified) != files {
				t.Errorf("after %s: %d lists, %v, want %d and %d files", after, objects.lists, objects.modified, lists, files)
			}
		}
		check(5*time.Minute+time.Second, nil, 1, 2)
		check(time.Hour, storage.ErrUnavailable, 2, 2)
		check(time.Hour, nil, 3, 1)
		cancel()
		<-ended
	})
}

// memory is a storage that knows no more than when its objects were written.
type memory struct {
	storage.Store
	mu       sync.Mutex
	modified map[string]time.Time
	lists    int
	err      error // of listing
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) List(context.Context, string, string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		m.mu.Lock()
		m.lists++
		all, err := maps.Clone(m.modified), m.err
		m.mu.Unlock()
		if err != nil {
			yield(storage.Object{}, err)
			return
		}
		for key, modified := range all {
			if !yield(storage.Object{Key: key, Modified: modified}, nil) {
				return
			}
		}
	}
}

func (m *memory) Stat(_ context.Context, key string) (storage.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return storage.Object{Key: key, Modified: m.modified[key]}, nil
}

func (m *memory) Delete(_ context.Context, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.modified, key)
	}
	return nil
}
