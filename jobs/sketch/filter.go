package sketch

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/apache/datasketches-go/filters"
)

const (
	familyBloom = 21
	bloomEmpty  = 24 // bytes of a filter without members
	bloomStart  = 32
)

// Filter says which values it may hold: a Bloom filter.
type Filter struct {
	bits   []uint64
	hashes uint16
}

// NewFilter is an empty filter, which takes others for members at that rate once it holds as many values as expected.
func NewFilter(expected int64, falsePositive float64) *Filter {
	capacity := filters.SuggestNumFilterBits(uint64(expected), falsePositive)
	return &Filter{bits: make([]uint64, max((capacity+63)/64, 1)), hashes: filters.SuggestNumHashes(falsePositive)}
}

// Add puts values in.
func (f *Filter) Add(hashes []FilterHash) {
	capacity := uint64(len(f.bits)) * 64
	for _, h := range hashes {
		for i := uint64(1); i <= uint64(f.hashes); i++ {
			at := (h[0] + i*h[1]) >> 1 % capacity
			f.bits[at/64] |= 1 << (at % 64)
		}
	}
}

// Bytes is the filter's bits, in a form that Merge takes: filters of the same parameters are merged by OR of their bytes.
func (f *Filter) Bytes() []byte {
	data := make([]byte, 0, 8*len(f.bits))
	for _, word := range f.bits {
		data = binary.LittleEndian.AppendUint64(data, word)
	}
	return data
}

// Merge adds what Bytes gave of another of the same parameters, and keeps nothing of data.
func (f *Filter) Merge(data []byte) error {
	if len(data) != 8*len(f.bits) {
		return fmt.Errorf("merge Bloom filter: %d bytes are none of %d bits", len(data), 64*len(f.bits))
	}
	for i := range f.bits {
		f.bits[i] |= binary.LittleEndian.Uint64(data[8*i:])
	}
	return nil
}

// Published is the filter as DataSketches writes it, for readers elsewhere.
func (f *Filter) Published() []byte {
	used := 0
	for _, word := range f.bits {
		used += bits.OnesCount64(word)
	}
	start, flags := bloomStart, byte(0)
	if used == 0 {
		start, flags = bloomEmpty, flagEmpty
	}
	data := make([]byte, start, bloomStart+8*len(f.bits))
	copy(data, []byte{byte(start / 8), 1, familyBloom, flags})
	binary.LittleEndian.PutUint16(data[4:], f.hashes)
	binary.LittleEndian.PutUint64(data[8:], seed)
	binary.LittleEndian.PutUint32(data[16:], uint32(len(f.bits)))
	if used == 0 {
		return data
	}
	binary.LittleEndian.PutUint64(data[24:], uint64(used))
	return append(data, f.Bytes()...)
}
