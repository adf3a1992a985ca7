package connections

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

// DefaultName is the connection that a spec means when it names none.
const DefaultName = "s3"

// Set is the connections of one agent. Its methods may be called by many
// goroutines at once.
type Set struct {
	connections map[string]connection
}

// connection opens stores of one outside system.
type connection interface {
	// open gives the store that holds uri, without retries.
	open(ctx context.Context, uri storage.URI) (storage.Store, error)
	close()
}

// Open gives the store that holds uri, reached through the connection name,
// with retries (storage.WithRetry, DefaultBackoff). The store's keys are those
// of URIs with the same scheme and bucket. It sends nothing: whether the
// bucket exists and the keys are right shows in the store's calls. An unknown
// name, or a URI that the connection cannot reach, matches storage.ErrInvalid.
func (s *Set) Open(ctx context.Context, name string, uri storage.URI) (storage.Store, error) {
	c, ok := s.connections[name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w: connection %q is unknown, known are %s",
			uri, storage.ErrInvalid, name, strings.Join(s.Names(), ", "))
	}
	store, err := c.open(ctx, uri)
	if err != nil {
		return nil, fmt.Errorf("open %s with connection %q: %w", uri, name, err)
	}
	return storage.WithRetry(store, storage.DefaultBackoff), nil
}

// OpenBelow is Open for a place of this process' own: the store's keys are
// relative to uri, which names a folder. A file:// URI needs no connection, and
// name is not looked at.
func (s *Set) OpenBelow(ctx context.Context, name string, uri storage.URI) (storage.Store, error) {
	if uri.Scheme == storage.SchemeFile {
		folder, err := file.Open(file.Config{Root: "/" + uri.Key})
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", uri, err)
		}
		return storage.WithRetry(folder, storage.DefaultBackoff), nil
	}
	store, err := s.Open(ctx, name, uri)
	if err != nil {
		return nil, err
	}
	prefix := strings.TrimSuffix(uri.Key, "/")
	if prefix != "" {
		prefix += "/"
	}
	return storage.Below(store, prefix), nil
}

// Names lists the connections in order.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.connections)) }

// Close drops what is pooled. Stores of the set must not be in use any more.
func (s *Set) Close() {
	for _, c := range s.connections {
		c.close()
	}
}

func wrongScheme(uri storage.URI, kind, want string) error {
	return fmt.Errorf("%w: it is of type %s and reaches %s URIs only, not %s://", storage.ErrInvalid, kind, want, uri.Scheme)
}
