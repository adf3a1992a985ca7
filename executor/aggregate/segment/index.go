package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
)

const (
	mark    = "TMSEGv2\n"
	preface = len(mark) + 4 // and the number of segments
	entry   = 2 + 2 + 2 + 8 + 8 + 4
	// MaxSegments bounds what a broken index can ask for.
	MaxSegments = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Index is the segments of an object, in order.
type Index []Segment

// Segment is one Parquet file within an object.
type Segment struct {
	Relation    int // its number among those that are exchanged
	First, Last int // partitions [First, Last) that its rows are in
	Rows        int64

	Offset, Length int64 // bytes of the object; writers leave them open

	sum uint32 // CRC-32C
}

// end is where the segment ends.
func (s Segment) end() int64 { return s.Offset + s.Length }

// headLength is how long the encoded index of n segments is.
func headLength(n int) int { return preface + n*entry + 4 }

// body is how long all segments are together.
func (x Index) body() (total int64) {
	for _, s := range x {
		total += s.Length
	}
	return total
}

func (x Index) encode() []byte {
	data := make([]byte, 0, headLength(len(x)))
	data = append(data, mark...)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(x)))
	for _, s := range x {
		data = binary.LittleEndian.AppendUint16(data, uint16(s.Relation))
		data = binary.LittleEndian.AppendUint16(data, uint16(s.First))
		data = binary.LittleEndian.AppendUint16(data, uint16(s.Last))
		data = binary.LittleEndian.AppendUint64(data, uint64(s.Rows))
		data = binary.LittleEndian.AppendUint64(data, uint64(s.Length))
		data = binary.LittleEndian.AppendUint32(data, s.sum)
	}
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// decode reads the index at the beginning of head, which is the beginning of an object of size bytes. If head is too
// short, it returns how many bytes are needed.
func decode(head []byte, size int64) (index Index, need int, err error) {
	if len(head) < preface || !strings.HasPrefix(string(head[:preface]), mark) {
		return nil, 0, fmt.Errorf("it does not begin with a segment index")
	}
	n := binary.LittleEndian.Uint32(head[len(mark):])
	if n > MaxSegments {
		return nil, 0, fmt.Errorf("its index claims %d segments", n)
	}
	length := headLength(int(n))
	if int64(length) > size {
		return nil, 0, fmt.Errorf("its index claims %d segments in %d bytes", n, size)
	}
	if length > len(head) {
		return nil, length, nil
	}
	if sum := binary.LittleEndian.Uint32(head[length-4:]); sum != crc32.Checksum(head[:length-4], castagnoli) {
		return nil, 0, fmt.Errorf("the checksum of its index is wrong")
	}
	index = make(Index, n)
	at := int64(length)
	for i := range index {
		data := head[preface+i*entry:]
		rows, long := binary.LittleEndian.Uint64(data[6:]), binary.LittleEndian.Uint64(data[14:])
		if long > uint64(size-at) || rows > math.MaxInt64 {
			return nil, 0, fmt.Errorf("segment %d of its index is longer than what is left", i)
		}
		index[i] = Segment{
			Relation: int(binary.LittleEndian.Uint16(data)),
			First:    int(binary.LittleEndian.Uint16(data[2:])), Last: int(binary.LittleEndian.Uint16(data[4:])),
			Rows: int64(rows), Offset: at, Length: int64(long), sum: binary.LittleEndian.Uint32(data[22:]),
		}
		at += int64(long)
	}
	if at != size {
		return nil, 0, fmt.Errorf("its index ends at %d of %d bytes", at, size)
	}
	return index, 0, nil
}
