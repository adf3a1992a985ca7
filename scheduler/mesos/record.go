package mesos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxRecord bounds one record. An OFFERS event of 10,000 agents, each with eleven executors of ours, has 8 MiB. What is
// longer ends the subscription before any of it is read.
const maxRecord = 32 << 20

// keptBuffer is the largest buffer that is kept for the next record.
const keptBuffer = 1 << 20

// records reads RecordIO: the length of a record in decimal digits, a line feed, the record. mesos-go's reader makes
// a buffer of half the limit at once, panics at some lengths, and takes a stream that breaks in a length for one that
// ends in order.
type records struct {
	stream *bufio.Reader
	buffer bytes.Buffer
}

func newRecords(stream io.Reader) *records {
	return &records{stream: bufio.NewReaderSize(stream, 64<<10)}
}

// next returns the next record that is not empty, valid until the call after it, and io.EOF at the end of the stream.
// Memory is taken as the record comes in, not as its length promises.
func (r *records) next() ([]byte, error) {
	length := 0
	for length == 0 {
		var err error
		if length, err = r.length(); err != nil {
			return nil, err
		}
	}
	if r.buffer.Reset(); r.buffer.Cap() > keptBuffer {
		r.buffer = bytes.Buffer{}
	}
	if n, err := io.CopyN(&r.buffer, r.stream, int64(length)); err != nil {
		return nil, fmt.Errorf("read record: %d of %d bytes came: %w", n, length, noEOF(err))
	}
	return r.buffer.Bytes(), nil
}

// length reads a record's length up to its line feed. It is io.EOF if the stream ends before it.
func (r *records) length() (int, error) {
	var digits []byte
	for {
		c, err := r.stream.ReadByte()
		switch {
		case err == io.EOF && len(digits) == 0:
			return 0, io.EOF
		case err != nil:
			return 0, fmt.Errorf("read record: its length breaks off: %w", noEOF(err))
		case c == '\n' && len(digits) > 0:
			length, err := strconv.Atoi(string(digits))
			if err != nil || length > maxRecord {
				return 0, fmt.Errorf("read record: %w: %s bytes, more than %d", errBadLength, digits, maxRecord)
			}
			return length, nil
		case c < '0' || c > '9' || len(digits) >= 20:
			return 0, fmt.Errorf("read record: %w: %q is not the end of a number", errBadLength, append(digits, c))
		}
		digits = append(digits, c)
	}
}

// errBadLength: the stream is not RecordIO, or not one that is meant for us.
var errBadLength = errors.New("bad length")

// noEOF keeps the end within a record from being taken for the end between two.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
