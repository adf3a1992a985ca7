package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemill/tidemill/executor/input"
)

// batch is rows that are computed at one time: chunks, in the order of the split.
type batch struct {
	chunks   []*chunk
	size     int64
	doubtful bool // there may be values that the engine would change without a word
}

// chunk is a scratch file of rows of one layout.
type chunk struct {
	path   string
	layout *textLayout
	size   int64
	origin []origin
}

// origin says where the rows of a chunk come from that begin at an offset.
type origin struct {
	offset  int64
	segment input.Segment
	line    int64 // of the row at offset, as input.Sink counts
}

// remove deletes the files.
func (b *batch) remove() error {
	var all error
	for _, c := range b.chunks {
		if err := os.Remove(c.path); err != nil {
			all = errors.Join(all, fmt.Errorf("remove scratch file: %w", err))
		}
	}
	return all
}

// mostChunks are what a batch may consist of: each is a file that the engine opens.
const mostChunks = 32

// spool is an input.Sink that writes rows to scratch files, and hands batches of limited size over.
type spool struct {
	ctx     context.Context // of whoever writes
	source  *textSource
	limit   int64
	ready   chan<- *batch
	skip    int64 // bytes of rows that are left out, at the beginning
	single  bool  // each chunk is of one file
	number  int   // of chunks so far
	handed  bool  // some batch
	batch   batch
	file    *os.File    // of the batch's last chunk
	layout  *textLayout // of what is written next
	segment input.Segment
	moved   bool // rows that are written next are not those that follow the last ones
}

// Begin implements input.Sink.
func (s *spool) Begin(segment input.Segment, header []string) error {
	next := s.source.layout(segment.File, header)
	if s.file != nil && (s.single || !s.source.same(s.layout, next)) {
		if err := s.closeChunk(); err != nil {
			return err
		}
		if len(s.batch.chunks) >= mostChunks && !s.single {
			if err := s.handOver(); err != nil {
				return err
			}
		}
	}
	s.layout, s.segment, s.moved = next, segment, true
	return nil
}

// Bad implements input.Sink.
func (s *spool) Bad(line int64, reason string, text []byte) error {
	s.moved = true
	return s.source.bad(s.ctx, origin{segment: s.segment, line: line}, reason, text)
}

// Write implements input.Sink.
func (s *spool) Write(rows []byte, line int64) error {
	if s.skip > 0 {
		skipped := rows[:min(s.skip, int64(len(rows)))]
		s.skip -= int64(len(skipped))
		rows, line = rows[len(skipped):], line+int64(bytes.Count(skipped, []byte{'\n'}))
		if len(rows) == 0 {
			return nil
		}
	}
	if s.file == nil {
		path := filepath.Join(s.source.Dir, fmt.Sprintf("%srows-%d", s.source.Prefix, s.number))
		file, err := os.Create(path)
		if err != nil {
			return fmt.Errorf("write scratch file: %w", err)
		}
		s.file, s.moved = file, true
		s.number++
		s.batch.chunks = append(s.batch.chunks, &chunk{path: path, layout: s.layout})
	}
	c := s.batch.chunks[len(s.batch.chunks)-1]
	if s.moved {
		c.origin, s.moved = append(c.origin, origin{c.size, s.segment, line}), false
	}
	s.batch.doubtful = s.batch.doubtful || s.source.doubtful(s.layout, rows)
	if _, err := s.file.Write(rows); err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	c.size += int64(len(rows))
	if s.batch.size += int64(len(rows)); s.batch.size < s.limit {
		return nil
	}
	return s.handOver()
}

func (s *spool) closeChunk() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.file = nil; err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	return nil
}

func (s *spool) handOver() error {
	if err := s.closeChunk(); err != nil {
		return err
	}
	full := s.batch
	s.batch, s.handed = batch{}, true
	select {
	case s.ready <- &full:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// finish hands the last batch over, if all is well. There is one at least, which may be without rows.
func (s *spool) finish(well bool) error {
	if !well || s.handed && len(s.batch.chunks) == 0 {
		return s.closeChunk()
	}
	return s.handOver()
}
