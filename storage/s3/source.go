package s3

import (
	"io"
	"sync"
)

// readerAtErrors remembers that the body of a write could not be read: the SDK
// mixes that up with a failing network.
type readerAtErrors struct {
	io.ReaderAt
	mu  sync.Mutex
	err error
}

func (r *readerAtErrors) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, offset)
	if err == io.EOF && n < len(p) {
		err = io.ErrUnexpectedEOF // a SectionReader never asks beyond the size
	}
	if err != nil && err != io.EOF {
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
	}
	return n, err
}

func (r *readerAtErrors) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
