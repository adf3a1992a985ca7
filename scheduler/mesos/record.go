package mesos

import (
	"fmt"
	"io"

	"github.com/mesos/mesos-go/api/v1/lib/encoding/framing"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
)

// maxRecord bounds one record. An OFFERS event of a thousand agents has about one MiB.
const maxRecord = 64 << 20

// records reads RecordIO.
type records struct{ frames framing.Reader }

func newRecords(stream io.Reader) *records {
	frames := recordio.NewReader(stream, recordio.MaxMessageSize(maxRecord))
	// The option also makes a buffer of half that size for good. One that grows when it must is enough.
	if scanner, ok := frames.(interface{ Buffer(buf []byte, max int) }); ok {
		scanner.Buffer(make([]byte, 64<<10), maxRecord)
	}
	return &records{frames: frames}
}

// next returns the next record, valid until the call after it, and io.EOF at the end of the stream. A length beyond
// int64 makes mesos-go's reader panic: that is an error here.
func (r *records) next() (record []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			record, err = nil, fmt.Errorf("read record: %v", p)
		}
	}()
	record, err = r.frames.ReadFrame()
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read record: %w", err)
	}
	return record, err
}
