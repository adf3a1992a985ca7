package input

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
)

// Compressions of a file.
const (
	Plain  = "none"
	Gzip   = "gzip"
	Zstd   = "zstd"
	LZ4    = "lz4"    // its frames
	Snappy = "snappy" // its framing format
	Bzip2  = "bzip2"
)

// File is one object of the input, in the version that was listed.
type File struct {
	Key         string `json:"key"`
	Size        int64  `json:"size"` // bytes as stored
	ETag        string `json:"etag"`
	Compression string `json:"compression"`
	Folder      int    `json:"folder,omitempty"` // index into Set.Folders
}

// Set is the files of an input, with what reaches them.
type Set struct {
	Store      storage.Store
	Base       storage.URI // of any object in the store; its key does not count
	Pointer    string      // of the input in the spec, such as /aggregate/input
	Files      []File
	Partitions []string    // names of the columns that folders such as month=7/ stand for
	Folders    [][]*string // values of these columns, for each different folder; nil is a missing one
}

// URI is the whole URI of a file.
func (s *Set) URI(file int) string {
	uri := s.Base
	uri.Key = s.Files[file].Key
	return uri.String()
}

// Bytes is the size of all files as stored.
func (s *Set) Bytes() (total int64) {
	for _, file := range s.Files {
		total += file.Size
	}
	return total
}

// List finds the files of in, in the order of their keys. progress is called now and then, by one goroutine at a time,
// with the number of files found so far. That there are none, or no such bucket, is a final failure that points into
// the spec, where in stands at pointer.
func List(ctx context.Context, store storage.Store, in *aggregate.Input, pointer string, progress func(files int)) (*Set, error) {
	prefix, err := storage.ParseURI(in.Prefix())
	if err != nil {
		return nil, task.Final(pointer+"/uri", "list input: %w", err)
	}
	set := &Set{Store: store, Base: prefix, Pointer: pointer}
	if in.Prefix() == in.URI && !strings.HasSuffix(in.URI, "/") {
		err = set.single(ctx, in, prefix.Key)
	} else {
		err = set.below(ctx, in, prefix, progress)
	}
	switch {
	case errors.Is(err, storage.ErrNoBucket):
		return nil, notFound(pointer, "the bucket of %s does not exist", in.URI)
	case errors.Is(err, storage.ErrNotFound):
		return nil, notFound(pointer, "there is no object %s; a prefix ends in a slash", in.URI)
	case err != nil:
		return nil, err
	case len(set.Files) == 0:
		return nil, notFound(pointer, "there are no objects at %s (names that begin with _ or . do not count)", in.URI)
	}
	return set, nil
}

func notFound(pointer, format string, args ...any) *task.Failure {
	failure := task.Final(pointer+"/uri", format, args...)
	failure.Kind = "not_found"
	return failure
}

func (s *Set) single(ctx context.Context, in *aggregate.Input, key string) error {
	object, err := s.Store.Stat(ctx, key)
	if err != nil {
		return err
	}
	s.Files = []File{newFile(in, object)}
	return nil
}

func newFile(in *aggregate.Input, object storage.Object) File {
	return File{Key: object.Key, Size: object.Size, ETag: object.ETag, Compression: compression(in.Compression, object.Key)}
}

// listers is how many calls list at a time where each is answered by another machine.
const listers = 16

func (s *Set) below(ctx context.Context, in *aggregate.Input, prefix storage.URI, progress func(files int)) error {
	folder := prefix.Key[:strings.LastIndexByte(prefix.Key, '/')+1]
	l := listing{store: s.Store, prefix: prefix.Key, listers: listers, progress: progress}
	if prefix.Scheme == "file" {
		l.listers = 1 // each call reads whole folders
	}
	l.keep = func(object storage.Object) (File, bool) {
		uri := prefix
		uri.Key = object.Key
		if strings.HasSuffix(object.Key, "/") || hidden(strings.TrimPrefix(object.Key, folder)) || !in.Matches(uri.String()) {
			return File{}, false
		}
		return newFile(in, object), true
	}
	var err error
	if s.Files, err = l.run(ctx); err != nil {
		return fmt.Errorf("list input: %w", err)
	}
	if in.HivePartitions {
		s.findPartitions(folder)
	}
	return nil
}

// hidden names are those of files that are not data by custom: _SUCCESS, _work/…, .part-0.crc.
func hidden(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(segment, "_") || strings.HasPrefix(segment, ".") {
			return true
		}
	}
	return false
}

// NewFile is an object as a file; its compression goes by its name.
func NewFile(object storage.Object) File {
	return newFile(&aggregate.Input{Compression: "auto"}, object)
}
