package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/tidemill/tidemill/storage"
)

const (
	mark    = "TMSEGv1\n"
	trailer = 4 + 4 + len(mark)
	// MaxSegments bounds what a broken index can ask for.
	MaxSegments = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Index is the segments of an object, in order.
type Index []Segment

// Segment is the bytes from Offset on.
type Segment struct {
	Offset, Length int64
	sum            uint32 // CRC-32C
}

// end is where the last segment ends.
func (x Index) end() int64 {
	if len(x) == 0 {
		return 0
	}
	return x[len(x)-1].Offset + x[len(x)-1].Length
}

// Writer puts segments one after another into one stream.
type Writer struct {
	out   io.Writer
	index Index
}

// NewWriter begins at the start of out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Add copies the next segment, up to the end of r.
func (w *Writer) Add(r io.Reader) error {
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(w.out, sum), r)
	if err != nil {
		return fmt.Errorf("write segment %d: %w", len(w.index), err)
	}
	w.index = append(w.index, Segment{Offset: w.index.end(), Length: n, sum: sum.Sum32()})
	return nil
}

// Finish writes the index and returns the size of the whole object.
func (w *Writer) Finish() (int64, error) {
	data := w.index.encode()
	if _, err := w.out.Write(data); err != nil {
		return 0, fmt.Errorf("write segment index: %w", err)
	}
	return w.index.end() + int64(len(data)), nil
}

// Copy writes the segment to w; in begins where the segment does. Bytes that are not those that were written are an
// error that matches storage.ErrUnavailable: another read may give the right ones.
func (s Segment) Copy(w io.Writer, in io.Reader) error {
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(in, s.Length))
	if err != nil {
		return fmt.Errorf("read segment: %w", err)
	}
	if n != s.Length || sum.Sum32() != s.sum {
		return fmt.Errorf("read segment: %w: %d of %d bytes came, and their checksum is wrong", storage.ErrUnavailable, n, s.Length)
	}
	return nil
}

const entry = 8 + 4

func (x Index) encode() []byte {
	data := make([]byte, 0, len(x)*entry+trailer)
	for _, s := range x {
		data = binary.LittleEndian.AppendUint64(data, uint64(s.Length))
		data = binary.LittleEndian.AppendUint32(data, s.sum)
	}
	data = binary.LittleEndian.AppendUint32(data, uint32(len(x)))
	data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
	return append(data, mark...)
}

// decode reads an index at the end of tail, which is the end of an object of size bytes. If tail is too short, it
// returns how many bytes are needed.
func decode(tail []byte, size int64) (index Index, need int, err error) {
	if len(tail) < trailer || !bytes.HasSuffix(tail, []byte(mark)) {
		return nil, 0, fmt.Errorf("it does not end in a segment index")
	}
	counts := tail[len(tail)-trailer:]
	n := binary.LittleEndian.Uint32(counts)
	if n > MaxSegments {
		return nil, 0, fmt.Errorf("its index claims %d segments", n)
	}
	length := int(n)*entry + trailer
	if int64(length) > size {
		return nil, 0, fmt.Errorf("its index claims %d segments in %d bytes", n, size)
	}
	if length > len(tail) {
		return nil, length, nil
	}
	data := tail[len(tail)-length:]
	if sum := binary.LittleEndian.Uint32(counts[4:]); sum != crc32.Checksum(data[:length-trailer+4], castagnoli) {
		return nil, 0, fmt.Errorf("the checksum of its index is wrong")
	}
	index = make(Index, n)
	for i := range index {
		at := index[:i].end()
		rest := size - int64(length) - at
		long := binary.LittleEndian.Uint64(data[i*entry:])
		if long > uint64(rest) {
			return nil, 0, fmt.Errorf("segment %d of its index is longer than what is left", i)
		}
		index[i] = Segment{Offset: at, Length: int64(long), sum: binary.LittleEndian.Uint32(data[i*entry+8:])}
	}
	if index.end() != size-int64(length) {
		return nil, 0, fmt.Errorf("its index ends at %d of %d bytes", index.end(), size-int64(length))
	}
	return index, 0, nil
}

// firstTail is enough for an index of 300 segments.
const firstTail = 4 << 10

// Read reads the index of an object.
func Read(ctx context.Context, store storage.Store, object storage.Object) (Index, error) {
	length := int64(firstTail)
	for {
		tail, err := readTail(ctx, store, object, min(length, object.Size))
		if err != nil {
			return nil, err
		}
		index, need, err := decode(tail, object.Size)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", object.Key, err)
		}
		if need == 0 {
			return index, nil
		}
		length = int64(need)
	}
}

func readTail(ctx context.Context, store storage.Store, object storage.Object, length int64) ([]byte, error) {
	if length == 0 {
		return nil, nil
	}
	body, _, err := store.Get(ctx, object.Key, storage.Range{Offset: object.Size - length, Length: length, ETag: object.ETag})
	if err != nil {
		return nil, err
	}
	tail := make([]byte, length)
	_, err = io.ReadFull(body, tail)
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("read the end of %q: %w", object.Key, err)
	}
	return tail, nil
}
