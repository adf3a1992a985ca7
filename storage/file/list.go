package file

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/storage"
)

// List implements storage.Store. It holds the names of one folder at each level.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		root, err := s.open(ctx, "list", prefix)
		if err != nil {
			yield(storage.Object{}, err)
			return
		}
		defer root.Close()
		l := lister{ctx: ctx, root: root, store: s, prefix: prefix, after: after, yield: yield}
		l.folder(".")
	}
}

type lister struct {
	ctx           context.Context
	root          *os.Root
	store         *Store
	prefix, after string
	yield         func(storage.Object, error) bool
}

// folder yields what is below dir and reports whether to go on.
func (l *lister) folder(dir string) bool {
	if err := l.ctx.Err(); err != nil {
		l.yield(storage.Object{}, l.store.failure("list", l.prefix, err))
		return false
	}
	entries, err := fs.ReadDir(l.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true // removed meanwhile
	}
	if err != nil {
		l.yield(storage.Object{}, l.store.failure("list", l.prefix, err))
		return false
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		name := entry.Name()
		if dir == "." && name == private {
			continue
		}
		if entry.IsDir() {
			name += "/" // as it is in keys: "a-b" sorts before "a/b"
		}
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	for _, name := range names {
		path := name
		if dir != "." {
			path = dir + "/" + name
		}
		if !l.entry(path) {
			return false
		}
	}
	return true
}

// entry yields a file, or what is below a folder, and reports whether to go on.
func (l *lister) entry(path string) bool {
	key := l.store.config.Prefix + path
	if dir, ok := strings.CutSuffix(path, "/"); ok {
		if !l.mayHold(key) {
			return true
		}
		return l.folder(dir)
	}
	if !strings.HasPrefix(key, l.prefix) || key <= l.after {
		return true
	}
	obj, err := stat(l.root, key, path)
	switch kind(err) {
	case nil:
		return l.yield(obj, nil)
	case storage.ErrNotFound, storage.ErrInvalid:
		return true // removed meanwhile, a pipe, or a link that leads out of the root
	}
	l.yield(storage.Object{}, l.store.failure("list", key, err))
	return false
}

// mayHold reports whether keys below folder can match.
func (l *lister) mayHold(folder string) bool {
	matches := strings.HasPrefix(folder, l.prefix) || strings.HasPrefix(l.prefix, folder)
	beyond := folder > l.after || strings.HasPrefix(l.after, folder)
	return matches && beyond
}
