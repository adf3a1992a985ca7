package archive

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// fakeScheduler keeps runs until it is told to forget them, and checks that they can be read elsewhere then.
type fakeScheduler struct {
	t       *testing.T
	objects *memory

	mu        sync.Mutex
	runs      map[string]*scheduler.RunView
	forgotten map[string]*scheduler.RunView
	reader    *Archive // lists the archive as seldom as it may
	refuse    error
}

func newFakeScheduler(t *testing.T, objects *memory) *fakeScheduler {
	return &fakeScheduler{
		t: t, objects: objects, reader: newArchive(objects),
		runs: map[string]*scheduler.RunView{}, forgotten: map[string]*scheduler.RunView{},
	}
}

func (s *fakeScheduler) View() *scheduler.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &scheduler.View{Runs: maps.Clone(s.runs)}
}

func (s *fakeScheduler) Do(ctx context.Context, body scheduler.CommandBody) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	ids := body.(scheduler.ArchiveRuns).Runs
	for _, id := range ids {
		if s.runs[id] == nil || !s.runs[id].Settled {
			s.t.Errorf("run %s is to be forgotten, which has not settled", id)
			continue
		}
		s.forgotten[id] = s.runs[id]
		delete(s.runs, id)
	}
	page, err := s.reader.List(ctx, Filter{}, Position{}, 1_000_000)
	for tries := 1; err != nil && tries < 100; tries++ {
		page, err = s.reader.List(ctx, Filter{}, Position{}, 1_000_000)
	}
	if err != nil {
		s.t.Error(err)
	}
	seen := map[string]bool{}
	for _, run := range page.Runs {
		seen[run.Record.ID] = true
	}
	for id := range s.forgotten {
		if !seen[id] {
			s.t.Errorf("run %s is forgotten and not in the list", id)
		}
	}
	return ids, nil
}

// add is a run that ends now.
func (s *fakeScheduler) add(number int, settled bool) string {
	view := run("flights", time.Now().Add(-time.Minute), number, 2)
	view.Settled = settled
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[view.Run.ID] = view
	return view.Run.ID
}

func (s *fakeScheduler) live() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// observed counts what an Archiver does.
type observed struct {
	mu                                     sync.Mutex
	archived, waiting, failures, compacted int
}

func (o *observed) Archived(n int)         { o.mu.Lock(); o.archived += n; o.mu.Unlock() }
func (o *observed) ArchiveWaiting(n int)   { o.mu.Lock(); o.waiting = n; o.mu.Unlock() }
func (o *observed) ArchiveFailed()         { o.mu.Lock(); o.failures++; o.mu.Unlock() }
func (o *observed) ArchiveCompacted(n int) { o.mu.Lock(); o.compacted += n; o.mu.Unlock() }

// begin runs an archiver until stop is called.
func begin(t *testing.T, s *fakeScheduler, keep int, log *slog.Logger) (seen *observed, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	seen = &observed{}
	archiver := &Archiver{Scheduler: s, Archive: newArchive(s.objects), KeepRuns: keep, Observer: seen, Log: log}
	done := make(chan struct{})
	go func() {
		defer close(done)
		archiver.Run(ctx)
	}()
	return seen, func() {
		cancel()
		<-done
	}
}

func archived(t *testing.T, objects *memory) int {
	t.Helper()
	page, err := newArchive(objects).List(t.Context(), Filter{}, Position{}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Runs)
}

func TestArchiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := newMemory()
		s := newFakeScheduler(t, objects)
		seen, stop := begin(t, s, 3, slog.New(slog.DiscardHandler))
		at := func(d time.Duration, live, inArchive int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if s.live() != live || archived(t, objects) != inArchive {
				t.Errorf("after %v: %d runs are live and %d archived, want %d and %d", d, s.live(), archived(t, objects), live, inArchive)
			}
		}
		s.add(1, true)
		unsettled := s.add(2, false)
		at(time.Minute, 2, 0)
		at(writeAfter, 2, 1) // written, and kept beside the archive
		for i := range 4 {
			s.add(10+i, true)
		}
		at(passEvery, 5, 2) // two are beyond what is kept: the first one was written long ago, the other one is at once …
		at(passEvery, 4, 2)
		at(passEvery, 4, 2)
		at(writeAfter, 4, 5) // … and the others in their time
		s.mu.Lock()
		settled := *s.runs[unsettled]
		settled.Settled = true
		s.runs[unsettled] = &settled
		s.mu.Unlock()
		at(2*passEvery, 3, 6)
		at(24*time.Hour, 3, 6)
		if seen.archived != 6 || seen.failures != 0 || seen.waiting != 0 {
			t.Errorf("observed: %+v", seen)
		}
		stop()

		// Whoever leads next does not write again what is there.
		puts := objects.calls["put"]
		seen, stop = begin(t, s, 1, slog.New(slog.DiscardHandler))
		at(3*passEvery, 1, 6)
		if objects.calls["put"] != puts || seen.archived != 0 {
			t.Errorf("%d more objects were written", objects.calls["put"]-puts)
		}
		stop()
	})
}

// Storage or a scheduler that fails costs time and one line of the log, and no run.
func TestArchiverGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := newMemory()
		s := newFakeScheduler(t, objects)
		var log bytes.Buffer
		seen, stop := begin(t, s, 1, slog.New(slog.NewTextHandler(&log, nil)))
		for i := range 5 {
			s.add(i, true)
		}
		objects.mu.Lock()
		objects.fail = func(op, _ string) error { return storage.ErrUnavailable }
		objects.mu.Unlock()
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if s.live() != 5 || seen.waiting == 0 || seen.failures < 20 || seen.failures > 6*60/4 {
			t.Errorf("while storage is down: %d live, observed %+v", s.live(), seen)
		}
		objects.mu.Lock()
		objects.fail = nil
		objects.mu.Unlock()
		s.mu.Lock()
		s.refuse = errors.New("busy")
		s.mu.Unlock()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if s.live() != 5 || seen.waiting != 0 || archived(t, objects) != 5 {
			t.Errorf("while the scheduler refuses: %d live, observed %+v", s.live(), seen)
		}
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if s.live() != 1 || archived(t, objects) != 5 {
			t.Errorf("in the end: %d live, %d archived", s.live(), archived(t, objects))
		}
		if lines := strings.Count(log.String(), "level=ERROR"); lines < 1 || lines > 2 || !strings.Contains(log.String(), "archived again") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// Leaders come and go at any time, two for a while, over storage that fails now and then. Every run is live, or can be
// read in the archive; in the end all are there, and old days are joined.
func TestArchiversComeAndGo(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			objects := newMemory()
			var mu sync.Mutex
			objects.fail = func(string, string) error {
				mu.Lock()
				defer mu.Unlock()
				if random.IntN(20) == 0 {
					return storage.ErrUnavailable
				}
				return nil
			}
			s := newFakeScheduler(t, objects)
			var stops []func()
			total := 0
			for range 100 {
				mu.Lock()
				action, pause, n := random.IntN(4), time.Duration(random.Int64N(int64(time.Hour))), random.IntN(4)
				mu.Unlock()
				switch {
				case action < 2:
					for range n {
						s.add(total, true)
						total++
					}
				case action == 2 && len(stops) < 2:
					_, stop := begin(t, s, 2, slog.New(slog.DiscardHandler))
					stops = append(stops, stop)
				case action == 3 && len(stops) > 0:
					stops[0]()
					stops = stops[1:]
				}
				time.Sleep(pause)
				synctest.Wait()
			}
			for _, stop := range stops {
				stop()
			}
			objects.mu.Lock()
			objects.fail = nil
			objects.mu.Unlock()
			_, stop := begin(t, s, 0, slog.New(slog.DiscardHandler))
			time.Sleep(30 * time.Hour)
			synctest.Wait()
			stop()
			if s.live() != 0 || archived(t, objects) != total {
				t.Errorf("seed %d: %d of %d runs are live, %d archived", seed, s.live(), total, archived(t, objects))
			}
			reader := newArchive(objects)
			for _, want := range s.forgotten {
				check(t, reader, want, 0)
			}
			days := map[string]int{}
			for _, key := range objects.keys(runsEnding) {
				days[strings.Split(key, "/")[1]]++
			}
			for day, pairs := range days {
				if day < dayOf(time.Now().Add(-3*time.Hour)) && pairs != 1 {
					t.Errorf("seed %d: %s has %d pairs", seed, day, pairs)
				}
			}
		})
	}
}

func TestBatches(t *testing.T) {
	var runs []*scheduler.RunView
	for i, tasks := range []int{0, 10, mostTasks * 2, 10, mostTasks * 3 / 4, mostTasks * 3 / 4, mostTasks * 3 / 4} {
		runs = append(runs, run("flights", day, i, tasks))
	}
	for i := range 2*mostRuns + 1 {
		runs = append(runs, run("flights", day.Add(time.Hour), i, 0))
	}
	i := 0
	for _, batch := range batches(runs) {
		tasks := 0
		for _, got := range batch {
			if got != runs[i] {
				t.Fatalf("run %d is missing or not in order", i)
			}
			i++
			tasks += launched(got)
		}
		if len(batch) == 0 || len(batch) > mostRuns || len(batch) > 1 && tasks > mostTasks {
			t.Errorf("a batch has %d runs and %d tasks", len(batch), tasks)
		}
	}
	if i != len(runs) {
		t.Errorf("%d of %d runs are in batches", i, len(runs))
	}
}
