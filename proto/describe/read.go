package describe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/tidemill/tidemill/proto"
)

var (
	errNoBlock   = errors.New("the file is no tidemill executor: it has no description block")
	errNoVersion = errors.New("the executor has no version stamped into it: build it with `make executor VERSION=…`")
)

const (
	searchChunk = 1 << 20 // bytes read at a time
	maxMarkers  = 16      // of one sort in one file; a compiler may keep a string twice, no more
)

// Read finds the description in an executor's file of so many bytes. It reads the file once, in pieces, and executes
// nothing of it. A file without description or version, with several that differ, or with a broken one is an error that
// can be shown to whoever sent the file. It blocks as long as r does.
func Read(r io.ReaderAt, size int64) (proto.Description, error) {
	blocks, versions, err := search(r, size)
	if err != nil {
		return proto.Description{}, err
	}
	d, err := agree(r, size, blocks, maxBlock+len(BlockMarker), errNoBlock, parseBlock)
	if err != nil {
		return proto.Description{}, err
	}
	d.Version, err = agree(r, size, versions, maxVersion+1+len(VersionMarker), errNoVersion, parseVersion)
	if err != nil {
		return proto.Description{}, err
	}
	return d, nil
}

// search gives the offsets of both markers.
func search(r io.ReaderAt, size int64) (blocks, versions []int64, err error) {
	overlap := max(len(BlockMarker), len(VersionMarker)) - 1
	buffer := make([]byte, min(size, searchChunk)+int64(overlap))
	kept := 0 // bytes at the front of buffer, already searched but for a marker that begins in them
	for offset := int64(0); offset < size; {
		n, err := r.ReadAt(buffer[kept:min(int64(len(buffer)), int64(kept)+size-offset)], offset)
		if n == 0 {
			return nil, nil, fmt.Errorf("read executor file at %d of %d bytes: %w", offset, size, noEOF(err))
		}
		window := buffer[:kept+n]
		start := offset - int64(kept)
		blocks = appendMatches(blocks, window, BlockMarker, start)
		versions = appendMatches(versions, window, VersionMarker, start)
		if len(blocks) > maxMarkers || len(versions) > maxMarkers {
			return nil, nil, fmt.Errorf("read executor file: more than %d descriptions in it", maxMarkers)
		}
		offset += int64(n)
		kept = copy(buffer, window[max(0, len(window)-overlap):])
	}
	return blocks, versions, nil
}

// appendMatches adds where marker stands in window, which begins at start, unless it was found there before.
func appendMatches(found []int64, window []byte, marker string, start int64) []int64 {
	for at := 0; len(found) <= maxMarkers; {
		i := bytes.Index(window[at:], []byte(marker))
		if i < 0 {
			break
		}
		if position := start + int64(at+i); len(found) == 0 || found[len(found)-1] < position {
			found = append(found, position)
		}
		at += i + len(marker)
	}
	return found
}

// agree parses what stands at each of the offsets and wants all to say the same.
func agree[T any](r io.ReaderAt, size int64, offsets []int64, length int, none error, parse func(string) (T, error)) (T, error) {
	var result T
	if len(offsets) == 0 {
		return result, none
	}
	for i, offset := range offsets {
		marked := make([]byte, min(int64(length), size-offset))
		if n, err := r.ReadAt(marked, offset); n < len(marked) {
			return result, fmt.Errorf("read executor file at %d: %w", offset, noEOF(err))
		}
		value, err := parse(string(marked))
		if err != nil {
			return result, err
		}
		if i > 0 && !reflect.DeepEqual(value, result) {
			return result, fmt.Errorf("read executor file: it has descriptions that differ: %+v and %+v", result, value)
		}
		result = value
	}
	return result, nil
}

// noEOF is for reads inside the file, where an end is a surprise.
func noEOF(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
