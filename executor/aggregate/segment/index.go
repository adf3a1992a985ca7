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

// Index says where segments lie: segment i is the bytes from x[i] up to x[i+1] of the object.
type Index []int64

// Segments is how many there are.
func (x Index) Segments() int { return len(x) - 1 }

// Writer puts segments one after another into one stream.
type Writer struct {
	out   io.Writer
	index Index
}

// NewWriter begins at the start of out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out, index: Index{0}} }

// Add copies the next segment, up to the end of r.
func (w *Writer) Add(r io.Reader) error {
	n, err := io.Copy(w.out, r)
	if err != nil {
		return fmt.Errorf("write segment %d: %w", w.index.Segments(), err)
	}
	w.index = append(w.index, w.index[len(w.index)-1]+n)
	return nil
}

// Finish writes the index and returns the size of the whole object.
func (w *Writer) Finish() (int64, error) {
	data := w.index.encode()
	if _, err := w.out.Write(data); err != nil {
		return 0, fmt.Errorf("write segment index: %w", err)
	}
	return w.index[len(w.index)-1] + int64(len(data)), nil
}

func (x Index) encode() []byte {
	data := make([]byte, 0, len(x)*8+trailer)
	for _, offset := range x {
		data = binary.LittleEndian.AppendUint64(data, uint64(offset))
	}
	data = binary.LittleEndian.AppendUint32(data, uint32(x.Segments()))
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
	length := (int(n)+1)*8 + trailer
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
	index = make(Index, n+1)
	for i := range index {
		index[i] = int64(binary.LittleEndian.Uint64(data[i*8:]))
		if i == 0 && index[0] != 0 || i > 0 && index[i] < index[i-1] {
			return nil, 0, fmt.Errorf("the offsets of its index do not ascend")
		}
	}
	if index[n] != size-int64(length) {
		return nil, 0, fmt.Errorf("its index ends at %d of %d bytes", index[n], size-int64(length))
	}
	return index, 0, nil
}

// firstTail is enough for an index of 500 segments.
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
