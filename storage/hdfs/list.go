package hdfs

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path"
	"strings"

	"github.com/tidemill/tidemill/storage"
)

// listPage is how many entries of a folder come at once; name nodes give no more.
const listPage = 1000

// List implements storage.Store. It holds a page of one folder at each level.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		c, err := s.pool.take(ctx)
		if err != nil {
			s.pool.drop()
			yield(storage.Object{}, s.failure(ctx, "list", prefix, err))
			return
		}
		l := lister{ctx: ctx, session: c, store: s, prefix: prefix, after: after, yield: yield}
		err = s.checkRoot(c)
		if err == nil {
			_, err = l.folder(l.start())
		}
		s.release(c, err)
		if err != nil {
			yield(storage.Object{}, s.failure(ctx, "list", prefix, err))
		}
	}
}

type lister struct {
	ctx           context.Context
	session       *session
	store         *Store
	prefix, after string
	yield         func(storage.Object, error) bool
}

// start is the deepest folder that holds everything with the prefix.
func (l *lister) start() string {
	folder := path.Clean("/" + l.prefix[:strings.LastIndex(l.prefix, "/")+1])
	if folder == l.store.root || strings.HasPrefix(folder, strings.TrimSuffix(l.store.root, "/")+"/") {
		return folder
	}
	return l.store.root
}

// entry is a file, or a folder with the slash that it has in keys.
type entry struct {
	name string
	info os.FileInfo
}

// entries are ordered by name, the least first.
type entries []entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].name < e[j].name }
func (e entries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)        { *e = append(*e, x.(entry)) }
func (e *entries) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// folder yields what is below dir and reports whether to go on.
//
// A name node orders the names of a folder by bytes that it takes for signed, and knows nothing of the slash: "é" comes
// before "e", and "a" before "a-b" although "a/b" comes after it. Folders and names beyond ASCII therefore wait until a
// name of ASCII comes that sorts after them: so do all that follow it.
func (l *lister) folder(dir string) (more bool, err error) {
	f, err := l.session.Open(dir)
	if missing(l.session, dir, err) {
		return true, nil // removed meanwhile, or never there
	}
	if err != nil {
		return false, err
	}
	if !f.Stat().IsDir() {
		return true, nil
	}
	var waiting entries
	swept := false
	for last := false; !last; {
		if err := l.ctx.Err(); err != nil {
			return false, err
		}
		infos, err := f.Readdir(listPage)
		if missing(l.session, dir, err) {
			return true, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		last = err != nil || len(infos) < listPage
		for _, info := range infos {
			name := info.Name()
			if strings.HasPrefix(name, hidden) {
				swept = l.store.claims.sweep(sessionTree{l.session}, path.Join(dir, name), info.ModTime()) || swept
				continue
			}
			if isASCII(name) {
				for len(waiting) > 0 && waiting[0].name < name {
					if more, err := l.entry(dir, heap.Pop(&waiting).(entry)); !more {
						return false, err
					}
				}
				if !info.IsDir() {
					if more, err := l.entry(dir, entry{name, info}); !more {
						return false, err
					}
					continue
				}
			}
			if info.IsDir() {
				name += "/"
			}
			heap.Push(&waiting, entry{name, info})
		}
	}
	for len(waiting) > 0 {
		if more, err := l.entry(dir, heap.Pop(&waiting).(entry)); !more {
			return false, err
		}
	}
	if swept {
		l.store.prune(l.session, dir)
	}
	return true, nil
}

func isASCII(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f })
}

// entry yields a file, or what is below a folder, and reports whether to go on.
func (l *lister) entry(dir string, e entry) (more bool, err error) {
	if !e.info.IsDir() {
		return l.file(dir, e.info), nil
	}
	folder := path.Join(dir, e.name)
	if !l.mayHold(folder[1:] + "/") {
		return true, nil
	}
	return l.folder(folder)
}

// file yields a file if it matches, and reports whether to go on.
func (l *lister) file(dir string, info os.FileInfo) bool {
	if !isFile(info) {
		return true
	}
	at := path.Join(dir, info.Name())
	if key := at[1:]; !strings.HasPrefix(key, l.prefix) || key <= l.after {
		return true
	}
	return l.yield(object(at, info), nil)
}

// mayHold reports whether keys below folder, which ends in a slash, can match.
func (l *lister) mayHold(folder string) bool {
	matches := strings.HasPrefix(folder, l.prefix) || strings.HasPrefix(l.prefix, folder)
	beyond := folder > l.after || strings.HasPrefix(l.after, folder)
	return matches && beyond
}
