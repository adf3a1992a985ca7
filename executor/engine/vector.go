package engine

import (
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Vector is a column of up to some 2,000 values in the engine's own memory: nothing is copied, and nothing may be kept.
// Methods that read elements want the type that the vector has; the engine has seen to that of parameters.
type Vector struct {
	vector   mapping.Vector
	data     unsafe.Pointer
	validity *uint64 // nil: no element is NULL
	length   int
}

func newVector(v mapping.Vector, length int) Vector {
	return Vector{vector: v, data: mapping.VectorGetData(v), validity: (*uint64)(mapping.VectorGetValidity(v)), length: length}
}

// Null says whether element i is NULL.
func (v Vector) Null(i int) bool {
	if v.validity == nil {
		return false
	}
	return unsafe.Slice(v.validity, i/64+1)[i/64]&(1<<(i%64)) == 0
}

// values are a vector's elements in memory; those that are NULL may be anything.
func values[T any](v Vector) []T {
	if v.length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(v.data), v.length)
}

// Int64s are the elements of a BIGINT vector.
func (v Vector) Int64s() []int64 { return values[int64](v) }

// Uint32s are the elements of a UINTEGER vector.
func (v Vector) Uint32s() []uint32 { return values[uint32](v) }

// Uint64s are the elements of a UBIGINT vector.
func (v Vector) Uint64s() []uint64 { return values[uint64](v) }

// Uint128s are the elements of a UHUGEINT vector, the lower half of each first.
func (v Vector) Uint128s() [][2]uint64 { return values[[2]uint64](v) }

// Float64s are the elements of a DOUBLE vector.
func (v Vector) Float64s() []float64 { return values[float64](v) }

// text is the engine's string: up to 12 bytes lie in it, more of them elsewhere.
type text struct {
	length uint32
	prefix [4]byte
	at     unsafe.Pointer
}

const inlined = 12

// Bytes is element i of a VARCHAR or BLOB vector.
func (v Vector) Bytes(i int) []byte {
	t := &values[text](v)[i]
	if t.length == 0 {
		return nil
	}
	if t.length <= inlined {
		return unsafe.Slice(&t.prefix[0], t.length)
	}
	return unsafe.Slice((*byte)(t.at), t.length)
}

// List says where element i of a vector of lists lies in Elements: [from, to).
func (v Vector) List(i int) (from, to int) {
	type entry struct{ offset, length uint64 }
	e := values[entry](v)[i]
	return int(e.offset), int(e.offset + e.length)
}

// Elements are those of all lists of a vector of lists.
func (v Vector) Elements() Vector {
	return newVector(mapping.ListVectorGetChild(v.vector), int(mapping.ListVectorGetSize(v.vector)))
}

// SetNull makes element i of a result NULL.
func (v Vector) SetNull(i int) {
	mapping.VectorEnsureValidityWritable(v.vector)
	mapping.ValiditySetRowInvalid(mapping.VectorGetValidity(v.vector), mapping.IdxT(i))
}

// SetBytes sets element i of a VARCHAR or BLOB result. Text must be UTF-8.
func (v Vector) SetBytes(i int, data []byte) {
	mapping.VectorAssignStringElementLen(v.vector, mapping.IdxT(i), data)
}
