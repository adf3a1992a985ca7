package process

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tidemill/tidemill/proto"
)

// The descriptors of a task process.
const (
	assignmentFD = 3
	reportFD     = 4
)

// maxMessage bounds a message. Specs have at most 1 MiB, outputs are far smaller.
const maxMessage = 16 << 20

// send writes m behind its length, in one write.
func send(w io.Writer, m proto.Marshaler) error {
	data := proto.Encode(m)
	if len(data) > maxMessage {
		return fmt.Errorf("send %T: it has %d bytes, at most %d are allowed", m, len(data), maxMessage)
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)); err != nil {
		return fmt.Errorf("send %T: %w", m, err)
	}
	return nil
}

// receive fills m with the next message. It gives io.EOF at the end, and io.ErrUnexpectedEOF inside a message.
func receive(r io.Reader, m proto.Unmarshaler) error {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(prefix[:])
	if size > maxMessage {
		return fmt.Errorf("receive %T: it has %d bytes, at most %d are allowed", m, size, maxMessage)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return proto.Decode(data, m)
}
