package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
)

// Rows of CSV go to the engine through a pipe: nothing is written to the disk, and a batch may be large, which leaves less
// to be merged. A pipe is read once, so that nothing can be looked at again: where rows are bad or doubtful, the batch is
// given up, and it and all that follow go through scratch files. JSON always does: from a pipe, the engine takes several
// times the memory for it.

// errUnfit says that rows must be looked at more than once.
var errUnfit = errors.New("the rows do not go through a pipe")

// spoiled is a row that no batch can have: the engine refuses the batch, and leaves nothing of it behind. It has three
// fields too many, because the engine lets one pass that is empty.
func (s *textSource) spoiled(l *textLayout) []byte {
	return append(bytes.Repeat([]byte{s.rows.Dialect.Delimiter}, len(l.names)+2), 'x', '\n')
}

// streamed is a batch that goes through a pipe.
type streamed struct {
	pipe    *pipe // nil: there are no rows at all
	layout  *textLayout
	written chan struct{} // closed when all is set
	size    int64         // bytes of rows
	unfit   bool          // it was spoiled
}

// stream gives the rows of a split to the engine while they are read. errUnfit says that spool is to go on from where it
// came to.
func (s *textSource) stream(ctx context.Context, split input.Split, counts *input.Counts, consume func(ctx context.Context, number int, relation string) error) (done progress, err error) {
	group, groupCtx := errgroup.WithContext(ctx)
	ready := make(chan *streamed)
	unfit := false
	group.Go(func() error {
		defer close(ready)
		sink := &streamSink{ctx: groupCtx, source: s, limit: s.streamedBatch(), ready: ready}
		err := sink.finish(s.rows.Feed(groupCtx, split, sink, counts))
		if unfit = errors.Is(err, errUnfit); unfit {
			return nil // the batches before it are still to be consumed
		}
		return err
	})
	group.Go(func() error {
		for b := range ready {
			if err := s.consumeStreamed(groupCtx, b, done.batches, consume); err != nil {
				return err
			}
			if done.batches++; !b.unfit { // else the engine has not looked at its rows, which may be looked at again
				done.bytes += b.size
			}
		}
		return nil
	})
	if err = group.Wait(); err == nil && unfit {
		err = errUnfit
	}
	return done, err
}

// consumeStreamed consumes one batch. errUnfit says that it was given up, and that nothing is left of it.
func (s *textSource) consumeStreamed(ctx context.Context, b *streamed, number int, consume func(ctx context.Context, number int, relation string) error) error {
	if b.pipe == nil {
		return lake.Failure("compute", consume(ctx, number, s.relation(&batch{}, s.fast)))
	}
	through := &batch{chunks: []*chunk{{path: b.pipe.path, layout: b.layout, size: widestStreamed}}}
	err := consume(ctx, number, s.relation(through, s.fast))
	releaseErr := b.pipe.release()
	switch {
	case dataError(err) && releaseErr == nil:
		return errUnfit
	case err != nil:
		return errors.Join(lake.Failure("compute", err), releaseErr)
	}
	<-b.written
	return releaseErr
}

const (
	widestStreamed = 1 << 20 // the longest row, in bytes: the engine's buffers are not much larger
	smallStream    = 4 << 20 // bytes of a batch that is not worth a pipe of its own
)

// streamedBatch is how much goes through one pipe, in bytes of rows: more than a file holds, if there is memory for the
// groups in it.
func (s *textSource) streamedBatch() int64 {
	file := s.batch()
	return min(max(file, s.Memory/8), 4*file)
}

// streamSink is an input.Sink that writes rows to pipes.
type streamSink struct {
	ctx    context.Context // of whoever writes
	source *textSource
	limit  int64
	ready  chan<- *streamed
	number int         // of batches
	batch  *streamed   // nil: the next row begins one
	layout *textLayout // of what is written next
	deaf   bool        // the engine reads no more of the batch
}

// Begin implements input.Sink.
func (s *streamSink) Begin(segment input.Segment, header []string) error {
	next := s.source.layout(segment.File, header)
	if s.batch != nil && !s.source.same(s.layout, next) {
		if s.batch.size < smallStream {
			return s.giveUp()
		}
		if err := s.end(); err != nil {
			return err
		}
	}
	s.layout = next
	return nil
}

// Bad implements input.Sink.
func (s *streamSink) Bad(int64, string, []byte) error { return s.giveUp() }

// Write implements input.Sink.
func (s *streamSink) Write(rows []byte, _ int64) error {
	if s.batch == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if s.source.doubtful(s.layout, rows) {
		return s.giveUp()
	}
	s.write(rows)
	if s.batch.size += int64(len(rows)); s.batch.size < s.limit {
		return nil
	}
	return s.end()
}

// write writes to the pipe. If the engine has stopped reading, it knows why.
func (s *streamSink) write(rows []byte) {
	if !s.deaf {
		_, err := s.batch.pipe.write.Write(rows)
		s.deaf = err != nil
	}
}

func (s *streamSink) begin() error {
	pipe, err := openPipe(filepath.Join(s.source.Dir, fmt.Sprintf("%spipe-%d", s.source.Prefix, s.number)))
	if err != nil {
		return err
	}
	b := &streamed{pipe: pipe, layout: s.layout, written: make(chan struct{})}
	if err := s.handOver(b); err != nil {
		return errors.Join(err, pipe.release(), pipe.write.Close())
	}
	s.batch, s.deaf = b, false
	s.number++
	return nil
}

func (s *streamSink) handOver(b *streamed) error {
	select {
	case s.ready <- b:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// end says that the batch has no more rows.
func (s *streamSink) end() error {
	err := s.batch.pipe.write.Close()
	close(s.batch.written)
	if s.batch = nil; err != nil {
		return fmt.Errorf("write to the engine: %w", err)
	}
	return nil
}

// giveUp has the engine refuse the batch.
func (s *streamSink) giveUp() error {
	if s.batch != nil {
		s.write(s.source.spoiled(s.layout))
		s.batch.unfit = true
	}
	return errUnfit
}

// finish ends the last batch, after an error too. There is one at least, which may be without rows.
func (s *streamSink) finish(err error) error {
	switch {
	case s.batch != nil:
		return errors.Join(err, s.end())
	case err == nil && s.number == 0:
		return s.handOver(&streamed{})
	}
	return err
}
