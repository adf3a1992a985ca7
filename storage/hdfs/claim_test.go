package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/storage"
)

// memoryTree is a file system with the rules of an HDFS, whose calls take a random time before and after they happen.
type memoryTree struct {
	mu      sync.Mutex
	files   map[string]string // ETag by path
	folders map[string]bool
	source  *rand.Rand
	longest time.Duration
}

func newMemoryTree(seed uint64, longest time.Duration) *memoryTree {
	return &memoryTree{files: map[string]string{}, folders: map[string]bool{"/": true}, source: rand.New(rand.NewPCG(seed, 1)), longest: longest}
}

// call does something at one moment within a random time.
func (m *memoryTree) call(do func() error) error {
	m.pause()
	m.mu.Lock()
	err := do()
	m.mu.Unlock()
	m.pause()
	return err
}

func (m *memoryTree) pause() { time.Sleep(m.random(m.longest)) }

func (m *memoryTree) random(below time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.source.Int64N(int64(below)))
}

func (m *memoryTree) stat(at string) (etag string, err error) {
	err = m.call(func() error {
		var ok bool
		if etag, ok = m.files[at]; !ok {
			return fs.ErrNotExist
		}
		return nil
	})
	return etag, err
}

func (m *memoryTree) entries(folder string) []string {
	var names []string
	for at := range m.files {
		if path.Dir(at) == folder {
			names = append(names, path.Base(at))
		}
	}
	for at := range m.folders {
		if path.Dir(at) == folder && at != folder {
			names = append(names, path.Base(at))
		}
	}
	sort.Strings(names)
	return names
}

func (m *memoryTree) child(folder string) (name string, err error) {
	err = m.call(func() error {
		if !m.folders[folder] {
			return fs.ErrNotExist
		}
		if names := m.entries(folder); len(names) > 0 {
			name = names[0]
		}
		return nil
	})
	return name, err
}

func (m *memoryTree) rename(from, to string) error {
	return m.call(func() error {
		etag, isFile := m.files[from]
		switch {
		case !isFile && !m.folders[from], !m.folders[path.Dir(to)]:
			return fs.ErrNotExist
		case isFile && m.folders[to]:
			return errors.New("a file cannot replace a folder")
		case isFile:
			delete(m.files, from)
			m.files[to] = etag
			return nil
		case m.folders[to] && len(m.entries(to)) > 0:
			return errors.New("the folder is not empty")
		}
		m.folders[to] = true
		m.move(from, to)
		return nil
	})
}

// move moves what is below a folder, and removes the folder.
func (m *memoryTree) move(from, to string) {
	for at, etag := range m.files {
		if rest, ok := strings.CutPrefix(at, from+"/"); ok {
			delete(m.files, at)
			m.files[to+"/"+rest] = etag
		}
	}
	for at := range m.folders {
		if rest, ok := strings.CutPrefix(at, from+"/"); ok {
			delete(m.folders, at)
			m.folders[to+"/"+rest] = true
		}
	}
	delete(m.folders, from)
}

func (m *memoryTree) remove(at string, all bool) error {
	return m.call(func() error {
		if _, ok := m.files[at]; ok {
			delete(m.files, at)
			return nil
		}
		if !m.folders[at] {
			return fs.ErrNotExist
		}
		if len(m.entries(at)) > 0 && !all {
			return errors.New("the folder is not empty")
		}
		for below := range m.files {
			if strings.HasPrefix(below, at+"/") {
				delete(m.files, below)
			}
		}
		for below := range m.folders {
			if strings.HasPrefix(below, at+"/") {
				delete(m.folders, below)
			}
		}
		delete(m.folders, at)
		return nil
	})
}

// prepare makes a draft as write does, or the folder of a deletion.
func (m *memoryTree) prepare(d draft, etag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.folders[d.folder] = true
	if etag == "" {
		m.folders[path.Join(d.folder, d.token)] = true
		return
	}
	m.files[path.Join(d.folder, d.token)] = etag
}

// operation is one use of an object, as its user saw it.
type operation struct {
	kind     string // "put", "create", "replace", "delete", "read"
	match    string // of replace: the version; of read: what was found, empty if nothing
	version  string // that was written
	outcome  string // "done", "refused" or "unknown"
	from, to time.Duration
}

func (o operation) String() string {
	return fmt.Sprintf("%s..%s %s match=%q version=%q: %s", o.from, o.to, o.kind, o.match, o.version, o.outcome)
}

// apply gives what an object is after an operation that took effect, or says that it cannot have ended as it did.
func (o operation) apply(now string) (next string, ok bool) {
	holds := o.kind == "put" || o.kind == "create" && now == "" || o.kind == "replace" && now != "" && now == o.match
	switch {
	case o.kind == "read":
		return now, now == o.match
	case o.kind == "delete":
		return "", true
	case o.outcome == "refused":
		return now, !holds
	}
	return o.version, holds
}

// linearizable says whether operations can have happened one after the other, each at a moment within its time. One whose
// outcome is unknown may have happened at any time after its beginning, or never.
func linearizable(history []operation) bool {
	type state struct {
		done uint64
		now  string
	}
	seen := map[state]bool{}
	var search func(s state) bool
	search = func(s state) bool {
		if seen[s] {
			return false
		}
		seen[s] = true
		first := time.Duration(1 << 62) // the end of the operation that has to come first
		left := false
		for i, o := range history {
			if s.done&(1<<i) == 0 && o.outcome != "unknown" {
				left = true
				first = min(first, o.to)
			}
		}
		if !left {
			return true
		}
		for i, o := range history {
			if s.done&(1<<i) != 0 || o.from > first {
				continue
			}
			if next, ok := o.apply(s.now); ok && search(state{s.done | 1<<i, next}) {
				return true
			}
		}
		return false
	}
	return search(state{})
}

func TestTheCheckerFindsLostUpdates(t *testing.T) {
	const s = time.Second
	two := []operation{
		{kind: "create", version: "a", outcome: "done", from: 0, to: 1 * s},
		{kind: "replace", match: "a", version: "b", outcome: "done", from: 2 * s, to: 5 * s},
		{kind: "replace", match: "a", version: "c", outcome: "done", from: 2 * s, to: 5 * s},
	}
	if linearizable(two) {
		t.Error("two writers replaced the same version, and that was found right")
	}
	two[2].outcome = "refused"
	if !linearizable(two) {
		t.Error("one writer replaced it, and that was found wrong")
	}
	if linearizable(append(two, operation{kind: "read", match: "a", outcome: "done", from: 6 * s, to: 7 * s})) {
		t.Error("an old version was read, and that was found right")
	}
}

// participant is one goroutine that works on the object.
type participant struct {
	t       *memoryTree
	claims  claims
	at      string
	history *[]operation
	mu      *sync.Mutex
	start   time.Time
}

func (p participant) run(ctx context.Context, o operation, etags func() string) {
	o.from = time.Since(p.start)
	var err error
	d := newDraft(p.at)
	switch o.kind {
	case "read":
		o.match, err = p.t.stat(p.at)
		if errors.Is(err, fs.ErrNotExist) {
			o.match, err = "", nil
		}
	case "delete":
		if _, statErr := p.t.stat(p.at); errors.Is(statErr, fs.ErrNotExist) {
			break // as Store.Delete does
		}
		p.t.prepare(d, "")
		err = p.claims.delete(ctx, p.t, p.at, d.folder, d.token)
	default:
		o.version = etags()
		cond := storage.Always
		switch o.kind {
		case "create":
			cond = storage.IfAbsent
		case "replace":
			o.match, _ = p.t.stat(p.at)
			cond = storage.IfMatch(o.match)
		}
		p.t.prepare(d, o.version)
		err = p.claims.publish(ctx, p.t, p.at, d.folder, d.token, o.version, cond)
	}
	o.to = time.Since(p.start)
	switch {
	case err == nil:
		o.outcome = "done"
	case errors.Is(err, storage.ErrCondition):
		o.outcome = "refused"
	case errors.Is(err, errOvertaken):
		return // it says that nothing was changed, which the others' outcomes prove
	default:
		o.outcome = "unknown"
	}
	p.mu.Lock()
	*p.history = append(*p.history, o)
	p.mu.Unlock()
}

// Writers that are slow, stop for longer than the others' patience at any step, or die there: what each was told is true
// of one order of all.
func TestClaimsAreLinearizable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		longest := time.Duration(rapid.SampledFrom([]int{2, 20, 500, 4000}).Draw(rt, "longest call, ms")) * time.Millisecond
		kinds := []string{"put", "create", "replace", "replace", "replace", "delete", "delete", "read"}
		plans := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(kinds), 1, 4), 2, 5).Draw(rt, "operations")
		trouble := rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "", "", "stop", "stop", "die"}), 1, 40).Draw(rt, "trouble at each step")
		for i := range uint64(20) {
			var history []operation
			synctest.Test(t, func(*testing.T) { history = act(seed+i, longest, plans, trouble) })
			if !linearizable(history) {
				for _, o := range history {
					rt.Log(o)
				}
				rt.Fatal("no order of the operations explains what each was told")
			}
		}
	})
}

// act lets one goroutine for each plan work on one object, and gives what they saw.
func act(seed uint64, longest time.Duration, plans [][]string, trouble []string) []operation {
	var mu sync.Mutex
	var history []operation
	steps, versions := 0, 0
	tree := newMemoryTree(seed, longest)
	c := claims{patience: patience, at: func(string) error {
		mu.Lock()
		what := ""
		if steps < len(trouble) {
			what = trouble[steps]
		}
		steps++
		mu.Unlock()
		switch what {
		case "stop": // for about as long as others wait, so that it may wake up in the middle of what they do then
			time.Sleep(patience + tree.random(patience+8*longest))
		case "die":
			return errDied
		}
		return nil
	}}
	next := func() string {
		mu.Lock()
		defer mu.Unlock()
		versions++
		return fmt.Sprint("v", versions)
	}
	p := participant{t: tree, claims: c, at: "/object", history: &history, mu: &mu, start: time.Now()}
	var all sync.WaitGroup
	for _, plan := range plans {
		all.Go(func() {
			for _, kind := range plan {
				p.run(context.Background(), operation{kind: kind}, next)
			}
		})
	}
	all.Wait()
	p.run(context.Background(), operation{kind: "read"}, next)
	return history
}

// Should a change make claims useless, the test above has to find it: here the token plays no part.
func TestTheTestFindsClaimsThatHoldNothing(t *testing.T) {
	plans := [][]string{{"create", "replace"}, {"replace", "replace"}, {"replace", "replace"}}
	for seed := range uint64(200) {
		var history []operation
		synctest.Test(t, func(*testing.T) {
			tree := newMemoryTree(seed, 20*time.Millisecond)
			var mu sync.Mutex
			versions := 0
			p := participant{t: tree, at: "/object", history: &history, mu: &mu, start: time.Now()}
			var all sync.WaitGroup
			for _, plan := range plans {
				all.Go(func() {
					for _, kind := range plan {
						mu.Lock()
						versions++
						o := operation{kind: kind, version: fmt.Sprint("v", versions), from: time.Since(p.start), outcome: "done"}
						mu.Unlock()
						d := newDraft(p.at)
						tree.prepare(d, o.version)
						cond := storage.IfAbsent
						if kind == "replace" {
							o.match, _ = tree.stat(p.at)
							cond = storage.IfMatch(o.match)
						}
						if allowed(tree, p.at, cond) != nil {
							o.outcome = "refused"
						} else if err := tree.rename(path.Join(d.folder, d.token), p.at); err != nil {
							panic(err)
						}
						o.to = time.Since(p.start)
						mu.Lock()
						history = append(history, o)
						mu.Unlock()
					}
				})
			}
			all.Wait()
		})
		if !linearizable(history) {
			return
		}
	}
	t.Error("looking before writing without a claim was never found out")
}

// A writer or deleter that stops while it holds the claim, and wakes up when another one is about to publish, changes
// nothing any more.
func TestWhoeverWakesUpLateChangesNothing(t *testing.T) {
	for _, kind := range []string{"put", "replace", "delete"} {
		synctest.Test(t, func(t *testing.T) {
			tree := newMemoryTree(1, time.Millisecond)
			tree.files["/object"] = "v0"
			woken, done := make(chan struct{}), make(chan struct{})
			late := claims{patience: patience, at: func(step string) error {
				if step == "publish" || step == "delete" {
					<-woken
				}
				return nil
			}}
			other := claims{patience: patience, at: func(step string) error {
				if step == "publish" {
					close(woken)
					<-done
				}
				return nil
			}}
			var lateErr error
			go func() {
				defer close(done)
				d := newDraft("/object")
				switch kind {
				case "delete":
					tree.prepare(d, "")
					lateErr = late.delete(t.Context(), tree, "/object", d.folder, d.token)
				default:
					cond := storage.Always
					if kind == "replace" {
						cond = storage.IfMatch("v0")
					}
					tree.prepare(d, "late")
					lateErr = late.publish(t.Context(), tree, "/object", d.folder, d.token, "late", cond)
				}
			}()
			synctest.Wait()
			time.Sleep(time.Second) // it holds the claim by now
			d := newDraft("/object")
			tree.prepare(d, "v1")
			if err := other.publish(t.Context(), tree, "/object", d.folder, d.token, "v1", storage.IfMatch("v0")); err != nil {
				t.Errorf("%s: the other: %v", kind, err)
			}
			if !errors.Is(lateErr, errOvertaken) {
				t.Errorf("%s: got %v, want errOvertaken", kind, lateErr)
			}
			if len(tree.files) != 1 || tree.files["/object"] != "v1" || len(tree.folders) > 1 {
				t.Errorf("%s: got files %v and folders %v, want the other's object alone", kind, tree.files, tree.folders)
			}
		})
	}
}
