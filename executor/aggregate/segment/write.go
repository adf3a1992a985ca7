package segment

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
)

// File is where a Writer keeps segments until all are there: a scratch file.
type File interface {
	io.Writer
	io.ReaderAt
}

// Writer gathers segments.
type Writer struct {
	file  File
	index Index
}

// NewWriter begins with an empty file.
func NewWriter(file File) *Writer { return &Writer{file: file} }

// Add copies the next segment, up to the end of r. What s says of its place in the object is not used.
func (w *Writer) Add(s Segment, r io.Reader) error {
	if len(w.index) == MaxSegments {
		return fmt.Errorf("write segment: there are %d already", MaxSegments)
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(w.file, sum), r)
	if err != nil {
		return fmt.Errorf("write segment %d: %w", len(w.index), err)
	}
	s.Length, s.sum = n, sum.Sum32()
	w.index = append(w.index, s)
	return nil
}

// Finish gives the whole object, for storage.Store.Put. It reads from the file.
func (w *Writer) Finish() (object io.ReaderAt, size int64) {
	head := w.index.encode()
	body := w.index.body()
	return &headed{bytes.NewReader(head), int64(len(head)), io.NewSectionReader(w.file, 0, body)}, int64(len(head)) + body
}

// Index is what has been added so far, without places.
func (w *Writer) Index() Index { return w.index }

// headed is some bytes and a body behind them.
type headed struct {
	head   io.ReaderAt
	length int64
	body   io.ReaderAt
}

func (h *headed) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < h.length {
		inHead := min(int64(len(p)), h.length-offset)
		if n, err = h.head.ReadAt(p[:inHead], offset); err != nil && err != io.EOF || n == len(p) {
			return n, err
		}
	}
	rest, err := h.body.ReadAt(p[n:], offset+int64(n)-h.length)
	return n + rest, err
}
