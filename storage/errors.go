package storage

import (
	"errors"
	"strings"
	"time"
)

// Every error of a Store matches exactly one of these with errors.Is, or the
// error of the context that was passed in.
var (
	// ErrNotFound: the bucket is there and the object is not. Final.
	ErrNotFound = errors.New("object not found")
	// ErrNoBucket: the bucket or the root folder does not exist. Final; create it or correct the URI.
	ErrNoBucket = errors.New("bucket not found")
	// ErrCondition: the condition of a write or read did not hold: the object
	// was created, changed or removed by someone else. Final for this write;
	// read the object and decide.
	ErrCondition = errors.New("condition failed")
	// ErrDenied: wrong or missing keys, or no permission. Not retried here;
	// correct the connection.
	ErrDenied = errors.New("access denied")
	// ErrUnavailable: down, refused, reset, throttled, timed out or answered
	// 5xx. The only error that may pass by itself: WithRetry repeats on it. A
	// write that ended with it may or may not have happened.
	ErrUnavailable = errors.New("storage unavailable")
	// ErrInvalid: a URI, key, range or argument that can never work. Final.
	ErrInvalid = errors.New("invalid request")
)

// ErrDamaged comes with ErrUnavailable when all bytes of a body came and differ from their checksum. What was read must
// not be used; another try may do better.
var ErrDamaged = errors.New("bytes differ from their checksum")

// Error says what was done to what and why it failed.
type Error struct {
	Op    string // "get", "put", "list", …
	URI   string // the object, prefix or bucket concerned
	Kind  error  // one of the sentinels, or the context's error
	Cause error  // the details; may be nil
	// After is how long the server asks to wait before another try; 0: it did not say.
	After time.Duration
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(" ")
	b.WriteString(e.URI)
	b.WriteString(": ")
	b.WriteString(e.Kind.Error())
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// Unwrap gives errors.Is and errors.As both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}
