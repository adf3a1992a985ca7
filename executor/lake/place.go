package lake

import (
	"context"
	"errors"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/storage"
)

// Open resolves a connection for a place that the spec names with the fields uri and connection below pointer.
func Open(ctx context.Context, work *task.Work, text, connection, pointer string) (storage.Store, storage.URI, error) {
	uri, err := storage.ParseURI(text)
	if err != nil {
		return nil, uri, task.Final(pointer+"/uri", "%w", err)
	}
	store, err := work.Connections.Open(ctx, connection, uri)
	if errors.Is(err, storage.ErrInvalid) {
		return nil, uri, task.Final(pointer+"/connection", "%w", err)
	}
	return store, uri, err
}

// OpenOutput reaches the output that the spec has at pointer, and its work area.
func OpenOutput(ctx context.Context, work *task.Work, text, workText, connection, pointer string) (*commit.Output, error) {
	store, uri, err := Open(ctx, work, text, connection, pointer)
	if err != nil {
		return nil, err
	}
	workStore, workURI, err := Open(ctx, work, workText, connection, pointer)
	if err != nil {
		return nil, err
	}
	return &commit.Output{Store: store, URI: uri, Work: workStore, WorkURI: workURI, Log: work.Log}, nil
}

// Placed says in terms of the spec that there is no bucket to write to. The caller has found those that it reads.
func Placed(err error, out *commit.Output, pointer string) error {
	var said *task.Failure
	if !errors.Is(err, storage.ErrNoBucket) || errors.As(err, &said) {
		return err
	}
	places := out.URI.String()
	if out.WorkURI.Bucket != out.URI.Bucket {
		places += " or " + out.WorkURI.String()
	}
	failure := task.Final(pointer+"/uri", "the bucket of %s does not exist", places)
	failure.Kind, failure.Err = "not_found", err
	return failure
}
