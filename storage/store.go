package storage

import (
	"context"
	"io"
	"iter"
	"time"
)

// Object describes one version of one object.
type Object struct {
	Key      string
	Size     int64     // bytes
	ETag     string    // names these bytes; opaque, compared only for equality; the same bytes may have the same
	Modified time.Time // by the store's clock; zero where Put does not know it
}

// Range selects bytes of an object. The zero Range is the whole of the current
// version.
type Range struct {
	Offset int64  // first byte
	Length int64  // bytes; 0 means to the end, and so does more than there is
	ETag   string // if not empty: only this version, ErrCondition for any other
}

// Store is one bucket or one root folder. All methods block until the store
// has answered, may be called by many goroutines at once, and end early with
// the context's error when it is cancelled.
//
// Besides the errors named below every method can give ErrNoBucket, ErrDenied,
// ErrUnavailable and, for a key that CheckKey refuses, ErrInvalid.
type Store interface {
	// List yields all objects whose key begins with prefix and sorts after the
	// key after (empty: from the beginning), in the byte order of their keys.
	// An error ends the sequence and is its last element. A prefix without
	// objects yields nothing. Every use of the sequence lists anew; objects
	// that come or go meanwhile may be seen or not.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]

	// Stat describes the current version. ErrNotFound.
	Stat(ctx context.Context, key string) (Object, error)

	// Get opens the bytes of one version; the Object describes all of it, not
	// just the range. The caller closes the body. Errors of Read match the
	// sentinels too; the end is io.EOF, and a body cut short never ends in
	// io.EOF. Cancelling ctx ends the body. ErrNotFound, ErrCondition for
	// another version, ErrInvalid for an offset at or beyond the end (0 is
	// always right).
	Get(ctx context.Context, key string, r Range) (io.ReadCloser, Object, error)

	// Put writes size bytes of body under key if cond holds. The object
	// becomes visible at once and whole, or not at all; a failed Put leaves
	// nothing behind. body is read at any offsets, by several goroutines, and
	// more than once. ErrCondition. After ErrUnavailable it is unknown whether
	// the object was written.
	Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond Condition) (Object, error)

	// Copy writes the bytes of from under to, replacing what is there, without
	// moving them through the caller. May be repeated. ErrNotFound for from.
	Copy(ctx context.Context, from, to string) error

	// Delete removes objects; a key that is not there is no error. May be
	// repeated. After an error some of the keys may be gone.
	Delete(ctx context.Context, keys ...string) error
}

// Condition says when a Put may write. The zero Condition is Always.
type Condition struct {
	kind conditionKind
	etag string
}

type conditionKind uint8

const (
	always conditionKind = iota
	ifAbsent
	ifMatch
)

var (
	// Always writes whatever is there.
	Always = Condition{}
	// IfAbsent writes only if there is no object under the key (If-None-Match: *).
	IfAbsent = Condition{kind: ifAbsent}
)

// IfMatch writes only over the version that etag names. An empty etag matches
// nothing.
func IfMatch(etag string) Condition { return Condition{kind: ifMatch, etag: etag} }

// Absent reports whether c is IfAbsent.
func (c Condition) Absent() bool { return c.kind == ifAbsent }

// Match reports whether c is an IfMatch, and the ETag it asks for.
func (c Condition) Match() (etag string, ok bool) { return c.etag, c.kind == ifMatch }

// Allows decides for a store that can look before it writes: current is what
// is there, if exists.
func (c Condition) Allows(current Object, exists bool) bool {
	switch c.kind {
	case ifAbsent:
		return !exists
	case ifMatch:
		return exists && c.etag != "" && current.ETag == c.etag
	}
	return true
}

func (c Condition) String() string {
	switch c.kind {
	case ifAbsent:
		return "if absent"
	case ifMatch:
		return "if match " + c.etag
	}
	return "always"
}
