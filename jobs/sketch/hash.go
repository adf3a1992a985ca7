package sketch

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/murmur3"
)

const (
	seed     = 9001   // DataSketches' default
	seedHash = 0x93cc // what it writes for that seed
)

// canonicalNaN is Java's.
const canonicalNaN = 0x7ff8000000000000

// Hash is MurmurHash3's 128 bits, as DataSketches computes them.
type Hash struct{ low, high uint64 }

// HashOf hashes the bytes of a value: see [Text], [Long] and [Double].
func HashOf(value []byte) Hash {
	low, high := murmur3.SeedSum128(seed, seed, value)
	return Hash{low, high}
}

// emptyText stands for text without characters.
var emptyText = []byte{0}

// Text is the bytes of text.
func Text(utf8 []byte) []byte {
	if len(utf8) == 0 {
		return emptyText
	}
	return utf8
}

// Long is the bytes of a whole number. They replace buffer's.
func Long(n int64, buffer *[8]byte) []byte {
	binary.LittleEndian.PutUint64(buffer[:], uint64(n))
	return buffer[:]
}

// Double is the bytes of a floating-point number. They replace buffer's.
func Double(x float64, buffer *[8]byte) []byte {
	all := math.Float64bits(x)
	switch {
	case x == 0:
		all = 0
	case x != x:
		all = canonicalNaN
	}
	binary.LittleEndian.PutUint64(buffer[:], all)
	return buffer[:]
}

// Coupon is what [Distinct] takes: 26 bits that say where, and above them how rare, from 1 to 63.
func (h Hash) Coupon() uint32 {
	zeros := min(bits.LeadingZeros64(h.high), 62)
	return uint32(zeros+1)<<keyBits | uint32(h.low&(1<<keyBits-1))
}

// Theta is what [Theta] takes: 63 bits. Hashes of 0 mean nothing there.
func (h Hash) Theta() uint64 { return h.low >> 1 }

// FilterHash is the two hashes that say which bits of a [Filter] a value sets.
type FilterHash = [2]uint64

// FilterHashOf hashes the bytes of a value: see [Text], [Long] and [Double].
func FilterHashOf(value []byte) FilterHash {
	var digest xxhash.Digest
	digest.ResetWithSeed(seed)
	_, _ = digest.Write(value) // never fails
	first := digest.Sum64()
	digest.ResetWithSeed(first)
	_, _ = digest.Write(value)
	return FilterHash{first, digest.Sum64()}
}
