package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-zookeeper/zk"
)

var (
	// ErrUnsettled: the connection broke or the context ended before a write was answered. It may or may not be carried
	// out, even later. Read back.
	ErrUnsettled = errors.New("the connection to ZooKeeper was lost before its answer")
	// ErrClosed: the session was closed before.
	ErrClosed = errors.New("the ZooKeeper session is closed")
	// ErrNoNode: there is no such node.
	ErrNoNode = zk.ErrNoNode
	// ErrNodeExists: a node to be made is there already.
	ErrNodeExists = zk.ErrNodeExists
	// ErrBadVersion: a node is not of the version that was expected.
	ErrBadVersion = zk.ErrBadVersion
	// ErrNotEmpty: a node to be removed has children.
	ErrNotEmpty = zk.ErrNotEmpty
	// ErrNoAuth: the credentials do not allow it. Correct user and password in the URL; repeating does not help.
	ErrNoAuth = zk.ErrNoAuth
)

// Stat is what ZooKeeper knows about a node besides its data.
type Stat = zk.Stat

// Watch receives once: when what it watches has changed, or the session was lost. It works over reconnections. There is
// no way to call a watch off: do not make new ones while an old one would tell the same.
type Watch = <-chan zk.Event

// AnyVersion is for writes that expect no version.
const AnyVersion int32 = -1

// Op is one step of a Multi.
type Op struct {
	kind    opKind
	path    string
	data    []byte
	version int32
}

type opKind int

const (
	create opKind = iota
	set
	remove
	check
)

// Create makes a node, whose parent must be there.
func Create(path string, data []byte) Op { return Op{create, path, data, 0} }

// Set replaces the data of a node of that version.
func Set(path string, data []byte, version int32) Op { return Op{set, path, data, version} }

// Delete removes a node of that version that has no children.
func Delete(path string, version int32) Op { return Op{remove, path, nil, version} }

// Check fails the Multi unless the node is there and of that version.
func Check(path string, version int32) Op { return Op{check, path, nil, version} }

// Size is about how many bytes the step takes in a request, on the safe side.
func (s *Session) Size(op Op) int {
	const fixed = 64 // headers, lengths, version, flags
	size := fixed + len(s.url.Path) + len(op.path) + len(op.data)
	if op.kind == create {
		for _, acl := range s.acl {
			size += fixed + len(acl.Scheme) + len(acl.ID)
		}
	}
	return size
}

// Get reads a node. Errors: ErrNoNode, ErrNoAuth, ErrClosed, the context's.
func (s *Session) Get(ctx context.Context, path string) (data []byte, stat Stat, err error) {
	answer, err := read(ctx, s, "read", path, func(c *zk.Conn, path string) (a node, err error) {
		var stat *zk.Stat
		a.data, stat, err = c.Get(path)
		return a.with(stat, err)
	})
	return answer.data, answer.stat, err
}

// GetWatch is Get with a watch of the node's data.
func (s *Session) GetWatch(ctx context.Context, path string) (data []byte, stat Stat, watch Watch, err error) {
	answer, err := read(ctx, s, "watch", path, func(c *zk.Conn, path string) (a node, err error) {
		var stat *zk.Stat
		a.data, stat, a.watch, err = c.GetW(path)
		return a.with(stat, err)
	})
	return answer.data, answer.stat, answer.watch, err
}

// Children lists the names of a node's children, in no order. Errors as Get.
func (s *Session) Children(ctx context.Context, path string) ([]string, error) {
	answer, err := read(ctx, s, "list", path, func(c *zk.Conn, path string) (a node, err error) {
		a.children, _, err = c.Children(path)
		return a, err
	})
	return answer.children, err
}

// ChildrenWatch is Children with a watch of the list.
func (s *Session) ChildrenWatch(ctx context.Context, path string) ([]string, Watch, error) {
	answer, err := read(ctx, s, "watch children of", path, func(c *zk.Conn, path string) (a node, err error) {
		a.children, _, a.watch, err = c.ChildrenW(path)
		return a, err
	})
	return answer.children, answer.watch, err
}

// ExistsWatch says whether there is a node, with a watch of it coming, going or changing. Errors as Get, without
// ErrNoNode.
func (s *Session) ExistsWatch(ctx context.Context, path string) (bool, Watch, error) {
	answer, err := read(ctx, s, "watch", path, func(c *zk.Conn, path string) (a node, err error) {
		a.exists, _, a.watch, err = c.ExistsW(path)
		return a, err
	})
	return answer.exists, answer.watch, err
}

// Sync returns when the server that we are connected to knows what any other knew when Sync was called.
func (s *Session) Sync(ctx context.Context) error {
	_, err := read(ctx, s, "sync", "/", func(c *zk.Conn, path string) (a node, err error) {
		_, err = c.Sync(path)
		return a, err
	})
	return err
}

// Multi carries out all steps, or none of them. Errors: that of the first step that cannot be done (ErrNoNode,
// ErrNodeExists, ErrBadVersion, ErrNotEmpty, ErrNoAuth), ErrUnsettled, ErrClosed, or the context's if nothing was sent.
func (s *Session) Multi(ctx context.Context, ops ...Op) error {
	requests := make([]any, len(ops))
	for n, op := range ops {
		at := s.absolute(op.path)
		switch op.kind {
		case create:
			requests[n] = &zk.CreateRequest{Path: at, Data: op.data, Acl: s.acl}
		case set:
			requests[n] = &zk.SetDataRequest{Path: at, Data: op.data, Version: op.version}
		case remove:
			requests[n] = &zk.DeleteRequest{Path: at, Version: op.version}
		case check:
			requests[n] = &zk.CheckVersionRequest{Path: at, Version: op.version}
		}
	}
	_, err := attempt(ctx, s, func(c *zk.Conn) (string, error) {
		_, err := c.Multi(requests...)
		return "", err
	})
	if err != nil {
		return fmt.Errorf("write to ZooKeeper: %w", err)
	}
	return nil
}

// CreateEphemeral makes a node that lives as long as the present session, and returns its path: prefix with a number that
// grows with each child that the parent ever had. Who must find it again after ErrUnsettled has something in the prefix
// that is his alone.
func (s *Session) CreateEphemeral(ctx context.Context, prefix string, data []byte) (string, error) {
	made, err := attempt(ctx, s, func(c *zk.Conn) (string, error) {
		return c.Create(s.absolute(prefix), data, zk.FlagEphemeral|zk.FlagSequence, s.acl)
	})
	if err != nil {
		return "", fmt.Errorf("make ZooKeeper node %q: %w", s.absolute(prefix), err)
	}
	return strings.TrimPrefix(made, s.url.Path), nil
}

// EnsurePath makes the node, without data, and those above it, as far as they are not there. It may be repeated.
// Errors: ErrNoAuth, ErrClosed, the context's.
func (s *Session) EnsurePath(ctx context.Context, path string) error {
	whole := strings.TrimRight(s.absolute(path), "/")
	for end := 1; end <= len(whole); end++ {
		if end < len(whole) && whole[end] != '/' {
			continue
		}
		at := whole[:end]
		for {
			_, err := attempt(ctx, s, func(c *zk.Conn) (string, error) { return c.Create(at, nil, 0, s.acl) })
			if errors.Is(err, ErrNoAuth) {
				// Making what is there already needs the right to make children of its parent, which is often not given.
				if there, _, existsErr := s.exists(ctx, at); existsErr == nil && there {
					err = nil
				}
			}
			if errors.Is(err, ErrUnsettled) && ctx.Err() == nil {
				continue
			}
			if err != nil && !errors.Is(err, ErrNodeExists) {
				return fmt.Errorf("make ZooKeeper node %q: %w", at, err)
			}
			break
		}
	}
	return nil
}

func (s *Session) exists(ctx context.Context, absolute string) (bool, Stat, error) {
	answer, err := readAt(ctx, s, "look for", absolute, func(c *zk.Conn, path string) (a node, err error) {
		var stat *zk.Stat
		a.exists, stat, err = c.Exists(path)
		return a.with(stat, err)
	})
	return answer.exists, answer.stat, err
}

// absolute is where a caller's path is in the ensemble.
func (s *Session) absolute(below string) string { return path.Join("/", s.url.Path, below) }

// node is what one may learn of a node.
type node struct {
	data     []byte
	children []string
	stat     Stat
	exists   bool
	watch    Watch
}

func (n node) with(stat *zk.Stat, err error) (node, error) {
	if stat != nil {
		n.stat = *stat
	}
	return n, err
}

func read(ctx context.Context, s *Session, verb, below string, ask func(*zk.Conn, string) (node, error)) (node, error) {
	return readAt(ctx, s, verb, s.absolute(below), ask)
}

// readAt asks again as long as the connection fails.
func readAt(ctx context.Context, s *Session, verb, at string, ask func(*zk.Conn, string) (node, error)) (node, error) {
	for {
		answer, err := attempt(ctx, s, func(c *zk.Conn) (node, error) { return ask(c, at) })
		if err == nil {
			return answer, nil
		}
		if !errors.Is(err, ErrUnsettled) || ctx.Err() != nil {
			return node{}, fmt.Errorf("%s ZooKeeper node %q: %w", verb, at, err)
		}
		pause(ctx, redialPause/10)
	}
}

// attempt waits for a connection and asks once. The library cannot be called off: its call goes on by itself until the
// connection breaks, at the latest.
func attempt[A any](ctx context.Context, s *Session, ask func(*zk.Conn) (A, error)) (A, error) {
	type result struct {
		answer A
		err    error
	}
	var none A
	i, err := s.online(ctx)
	if err != nil {
		return none, err
	}
	done := make(chan result, 1)
	go func() {
		answer, err := ask(i.conn)
		done <- result{answer, err}
	}()
	select {
	case r := <-done:
		return r.answer, s.explain(r.err)
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", ErrUnsettled, ctx.Err())
	}
}

// online waits until requests can be sent.
func (s *Session) online(ctx context.Context) (*incarnation, error) {
	for {
		s.mu.Lock()
		i, changed := s.current, s.changed
		ready := i.online && i.known && i.ctx.Err() == nil
		s.mu.Unlock()
		switch {
		case s.ctx.Err() != nil:
			return nil, ErrClosed
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wait for a connection to ZooKeeper: %w", ctx.Err())
		case ready:
			return i, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
}

// explain tells answers of the server from a connection that failed.
func (s *Session) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, zk.ErrConnectionClosed), errors.Is(err, zk.ErrSessionExpired), errors.Is(err, zk.ErrNoServer),
		errors.Is(err, zk.ErrClosing), errors.Is(err, zk.ErrSessionMoved):
		return fmt.Errorf("%w (%w)", ErrUnsettled, err)
	default:
		return err
	}
}
