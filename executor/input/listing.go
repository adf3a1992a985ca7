package input

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/storage"
)

// listing lists a prefix by several calls at a time. The first begins at the first key; when it has seen so many that
// there may be many more, others begin somewhere behind it, and so on: see split. Files come out in the order of their
// keys, whatever was faster.
type listing struct {
	store    storage.Store
	prefix   string
	listers  int                                       // calls at a time
	enough   int                                       // keys of a stretch after which it may be cut; 0: two pages
	keep     func(storage.Object) (file File, ok bool) // called by several goroutines at once
	progress func(files int)

	group *errgroup.Group

	mu        sync.Mutex
	stretches []*stretch // in the order of their keys
	active    int
	found     int
}

// stretch is keys that follow one another and are listed by one goroutine.
type stretch struct {
	at        string // the last key that was seen, or a text before all keys
	last      string // no key behind it belongs to the stretch; empty: all do that have the prefix
	seen      int    // keys
	files     []File
	splitters int  // goroutines that look for a place to cut it
	whole     bool // it cannot be cut any more
	ended     bool // it was read to its end
}

// page is how many keys stores give at a time. Less than that is not worth another call.
const page = 1000

func (l *listing) run(ctx context.Context) ([]File, error) {
	l.enough = cmp.Or(l.enough, 2*page)
	l.group, ctx = errgroup.WithContext(ctx)
	first := &stretch{at: l.prefix}
	l.stretches, l.active = []*stretch{first}, 1
	l.group.Go(func() error {
		next, stop := iter.Pull2(l.store.List(ctx, l.prefix, ""))
		defer stop()
		object, err, ok := next()
		return l.walk(ctx, first, object, err, ok, next)
	})
	if err := l.group.Wait(); err != nil {
		return nil, err
	}
	files := make([]File, 0, l.found)
	for _, s := range l.stretches {
		files = append(files, s.files...)
		s.files = nil
	}
	l.progress(len(files))
	return files, nil
}

// walk reads a stretch to its end: the answer to the first call of next, and those that follow.
func (l *listing) walk(ctx context.Context, s *stretch, object storage.Object, err error, ok bool, next func() (storage.Object, error, bool)) error {
	for ; ok; object, err, ok = next() {
		if err != nil {
			return err
		}
		file, wanted := l.keep(object)
		if !l.see(ctx, s, file, object.Key, wanted) {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.whole, s.ended = true, true
	l.active--
	l.share(ctx)
	return nil
}

// see adds a key to its stretch and says whether it belongs to it.
func (l *listing) see(ctx context.Context, s *stretch, file File, key string, wanted bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.last != "" && key > s.last {
		return false
	}
	s.at = key
	if s.seen++; wanted {
		s.files = append(s.files, file)
		if l.found++; l.found%page == 0 {
			l.progress(l.found)
		}
	}
	if s.seen%min(page, l.enough) == 0 {
		l.share(ctx)
	}
	return true
}

// share gives idle listers something to do. It is called with the lock.
func (l *listing) share(ctx context.Context) {
	for l.active < l.listers {
		var widest *stretch
		for _, s := range l.stretches {
			if !s.whole && s.seen >= l.enough && (widest == nil || s.before(widest)) {
				widest = s
			}
		}
		if widest == nil || widest.splitters == l.listers {
			return
		}
		fineness := widest.splitters
		widest.splitters++
		l.active++
		l.group.Go(func() error { return l.split(ctx, widest, fineness) })
	}
}

// before says whether it is better to cut s than other.
func (s *stretch) before(other *stretch) bool {
	if s.splitters != other.splitters {
		return s.splitters < other.splitters
	}
	return commonPrefix(s.at, s.last) < commonPrefix(other.at, other.last)
}

// split finds a place in what is left of a stretch, and lists what is behind it as a stretch of its own. A place behind
// which there is nothing makes the stretch shorter. Several goroutines may look for places, each finer than the other.
func (l *listing) split(ctx context.Context, s *stretch, fineness int) error {
	for {
		l.mu.Lock()
		place, ok := between(s.at, s.last, len(l.prefix), fineness)
		if s.whole || !ok {
			s.whole = s.whole || fineness == 0
			s.splitters--
			l.active--
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		next, stop := iter.Pull2(l.store.List(ctx, l.prefix, place))
		object, err, ok := next()
		if err != nil {
			stop()
			return err
		}
		if rest := l.cut(s, place, object.Key, ok); rest != nil {
			defer stop()
			return l.walk(ctx, rest, object, nil, true, next)
		}
		stop()
	}
}

// cut ends the stretch that place lies in there, if key is the first one behind it. It returns what is behind it, or nil.
func (l *listing) cut(by *stretch, place, key string, ok bool) (rest *stretch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.stretches, func(s *stretch) bool { return s.last == "" || s.last > place })
	if i < 0 {
		return nil
	}
	s := l.stretches[i]
	if s.ended || s.at >= place {
		return nil // it has been read meanwhile
	}
	if ok && (s.last == "" || key <= s.last) {
		rest = &stretch{at: place, last: s.last}
		l.stretches = slices.Insert(l.stretches, i+1, rest)
		by.splitters--
	}
	s.last = place
	return rest
}

// between is a text behind at, and before last if that is not empty, that divides the keys between them as evenly as one
// can tell: names count up in digits or go through the alphabet. It begins with the first shared bytes of at. fineness is
// how many coarser ones are left out.
func between(at, last string, shared, fineness int) (place string, ok bool) {
	level := max(shared, commonPrefix(at, last))
	for ; level < len(at); level++ {
		if !utf8.RuneStart(at[level]) {
			continue
		}
		below := byte('~' + 1)
		if level < len(last) && at[:level] == last[:level] {
			below = last[level]
		}
		c, ok := middle(at[level], below)
		if !ok {
			continue
		}
		if fineness == 0 {
			return at[:level] + string(rune(c)), true
		}
		fineness--
	}
	return "", false
}

// alphabets are what names are made of, in the order of bytes. What counts, counts in one of them.
var alphabets = [][2]byte{{'0', '9'}, {'A', 'Z'}, {'a', 'z'}, {'!', '~'}}

// middle is a byte between above and below, neither of them.
func middle(above, below byte) (byte, bool) {
	for _, a := range alphabets {
		if above < a[0] || above > a[1] {
			continue
		}
		if low, high := int(above)+1, min(int(below)-1, int(a[1])); low <= high {
			return byte((low + high + 1) / 2), true
		}
	}
	return 0, false
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
