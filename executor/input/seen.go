package input

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemill/tidemill/executor/task"
)

// seen is one line of a list of files that runs have read.
type seen struct {
	Key  string `json:"key"`
	ETag string `json:"etag"`
}

// Since gives the files that are not in the list before, which may be nil: none has been read. It writes the list of those
// and the set's to after; lists are JSON lines in the order of the keys, in zstd. A file that is in the list in another
// version is a final failure: what was read of it cannot be taken back. Files that are only in the list stay there.
// Blocks for as long as the two do; memory does not grow with the lists.
func (s *Set) Since(before io.Reader, after io.Writer) (*Set, error) {
	fresh := *s
	fresh.Files = nil
	earlier, err := newSeenReader(before)
	if err != nil {
		return nil, err
	}
	defer earlier.close()
	compressed, err := zstd.NewWriter(after, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("write list of input files: %w", err)
	}
	list := json.NewEncoder(compressed)
	for i, file := range s.Files {
		if i > 0 && file.Key <= s.Files[i-1].Key {
			return nil, errors.Join(fmt.Errorf("list input: %q comes after %q", file.Key, s.Files[i-1].Key), compressed.Close())
		}
		known, err := earlier.find(file.Key, list)
		switch {
		case err != nil:
		case known == nil:
			fresh.Files = append(fresh.Files, file)
			err = list.Encode(seen{file.Key, file.ETag})
		case known.ETag != file.ETag:
			err = s.changed(i)
		}
		if err != nil {
			return nil, errors.Join(err, compressed.Close())
		}
	}
	err = earlier.rest(list)
	if err = errors.Join(err, compressed.Close()); err != nil {
		return nil, err
	}
	return &fresh, nil
}

func (s *Set) changed(file int) error {
	failure := task.Final("/aggregate/input/new_since", "%s has changed since an earlier run read it: what came of it cannot be taken out of the result; give new data new names, or run once without new_since", s.URI(file))
	failure.Kind = "conflict"
	return failure
}

// seenReader reads a list in order.
type seenReader struct {
	decoder *zstd.Decoder
	lines   *bufio.Scanner
	line    seen
	ended   bool
}

// longestSeen is more than a line with a key of 1024 bytes ever has.
const longestSeen = 64 << 10

func newSeenReader(from io.Reader) (*seenReader, error) {
	if from == nil {
		return &seenReader{ended: true}, nil
	}
	decoder, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, fmt.Errorf("read list of input files: %w", err)
	}
	r := &seenReader{decoder: decoder, lines: bufio.NewScanner(decoder)}
	r.lines.Buffer(make([]byte, 4096), longestSeen)
	if err := r.next(); err != nil {
		decoder.Close()
		return nil, err
	}
	return r, nil
}

func (r *seenReader) close() {
	if r.decoder != nil {
		r.decoder.Close()
	}
}

// next reads the line after this one.
func (r *seenReader) next() error {
	if !r.lines.Scan() {
		r.ended = true
		if err := r.lines.Err(); err != nil {
			return fmt.Errorf("read list of input files: %w", err)
		}
		return nil
	}
	last := r.line
	r.line = seen{}
	if err := json.Unmarshal(r.lines.Bytes(), &r.line); err != nil {
		return fmt.Errorf("read list of input files: %w", err)
	}
	if r.line.Key <= last.Key {
		return fmt.Errorf("read list of input files: %q comes after %q", r.line.Key, last.Key)
	}
	return nil
}

// find copies the lines up to key, and gives the one of key if there is one.
func (r *seenReader) find(key string, list *json.Encoder) (*seen, error) {
	for !r.ended && r.line.Key <= key {
		line := r.line
		if err := r.copy(list); err != nil || line.Key == key {
			return &line, err
		}
	}
	return nil, nil
}

// rest copies what is left.
func (r *seenReader) rest(list *json.Encoder) error {
	for !r.ended {
		if err := r.copy(list); err != nil {
			return err
		}
	}
	return nil
}

func (r *seenReader) copy(list *json.Encoder) error {
	if err := list.Encode(r.line); err != nil {
		return fmt.Errorf("write list of input files: %w", err)
	}
	return r.next()
}
