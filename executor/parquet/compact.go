package parquet

import (
	"encoding/binary"
	"fmt"
)

// The thrift compact protocol, as far as footers need it. Values are not decoded into structures but found as ranges of
// bytes, so that what is not understood can be copied as it is.

// Types of values. A boolean field has its value in the place of its type.
const (
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeShort  = 4
	typeInt    = 5
	typeLong   = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
	typeUUID   = 13
)

// deepest bounds how values nest. Footers are about 10 deep.
const deepest = 64

// cursor goes through encoded values. Its first error stays.
type cursor struct {
	data []byte
	at   int
	err  error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: byte %d of it: %s", ErrDamaged, c.at, fmt.Sprintf(format, args...))
		c.at = len(c.data)
	}
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.data)-c.at {
		c.fail("it ends too early")
		return nil
	}
	c.at += n
	return c.data[c.at-n : c.at]
}

func (c *cursor) octet() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) unsigned() uint64 {
	n, length := binary.Uvarint(c.data[c.at:])
	if length <= 0 {
		c.fail("want a number")
		return 0
	}
	c.at += length
	return n
}

func (c *cursor) signed() int64 {
	n := c.unsigned()
	return int64(n>>1) ^ -int64(n&1)
}

func (c *cursor) size() int {
	n := c.unsigned()
	if n > uint64(len(c.data)-c.at) { // everything that is counted takes a byte at least
		c.fail("%d of something in %d bytes", n, len(c.data)-c.at)
		return 0
	}
	return int(n)
}

func (c *cursor) skip(kind byte, depth int) {
	if depth > deepest {
		c.fail("it is nested too deeply")
	}
	if c.err != nil {
		return
	}
	switch kind {
	case typeTrue, typeFalse:
	case typeByte:
		c.take(1)
	case typeShort, typeInt, typeLong:
		c.unsigned()
	case typeDouble:
		c.take(8)
	case typeUUID:
		c.take(16)
	case typeBinary:
		c.take(c.size())
	case typeList, typeSet:
		element, n := c.list()
		for range n {
			c.skipElement(element, depth+1)
		}
	case typeMap:
		c.skipMap(depth)
	case typeStruct:
		c.fields(depth, func(field) {})
	default:
		c.fail("unknown type %d", kind)
	}
}

// skipElement is skip for what is in a list or map: there a boolean takes a byte.
func (c *cursor) skipElement(kind byte, depth int) {
	if kind == typeTrue || kind == typeFalse {
		kind = typeByte
	}
	c.skip(kind, depth)
}

func (c *cursor) skipMap(depth int) {
	n := c.size()
	if n == 0 {
		return
	}
	kinds := c.octet()
	for range n {
		c.skipElement(kinds>>4, depth+1)
		c.skipElement(kinds&15, depth+1)
	}
}

// list reads the head of a list.
func (c *cursor) list() (element byte, n int) {
	head := c.octet()
	if n = int(head >> 4); n == 15 {
		n = c.size()
	}
	return head & 15, n
}

// field is one field of a structure.
type field struct {
	id    int16
	kind  byte
	value []byte // as encoded
}

// fields calls visit for each field of a structure.
func (c *cursor) fields(depth int, visit func(field)) {
	var id int16
	for c.err == nil {
		head := c.octet()
		if head == 0 {
			return
		}
		f := field{kind: head & 15}
		if delta := int16(head >> 4); delta != 0 {
			id += delta
		} else {
			id = int16(c.signed())
		}
		f.id = id
		from := c.at
		c.skip(f.kind, depth+1)
		if c.err == nil {
			f.value = c.data[from:c.at:c.at]
			visit(f)
		}
	}
}

// structure calls visit for each field of an encoded structure. It has been skipped over before, so nothing can be wrong.
func structure(data []byte, visit func(field)) {
	c := cursor{data: data}
	c.fields(0, visit)
}

// number is an integer of any size; 0 for anything else.
func (f field) number() int64 {
	c := cursor{data: f.value}
	switch f.kind {
	case typeShort, typeInt, typeLong:
		return c.signed()
	case typeByte:
		return int64(int8(c.octet()))
	}
	return 0
}

func (f field) bytes() []byte {
	if f.kind != typeBinary {
		return nil
	}
	c := cursor{data: f.value}
	return c.take(c.size())
}

// structures are the elements of a list of structures; none for anything else. least is how many bytes one takes that
// has what it must have: a list that claims more of them is damaged, and nothing is allocated for it.
func (f field) structures(least int) ([][]byte, error) {
	c := cursor{data: f.value}
	if f.kind != typeList {
		return nil, nil
	}
	element, n := c.list()
	if element != typeStruct {
		return nil, nil
	}
	if n > len(f.value)/least {
		return nil, fmt.Errorf("%w: %d of something in %d bytes", ErrDamaged, n, len(f.value))
	}
	all := make([][]byte, 0, n)
	for range n {
		from := c.at
		c.skip(typeStruct, 1)
		all = append(all, c.data[from:c.at:c.at])
	}
	return all, nil
}

// encoder writes one structure.
type encoder struct {
	data []byte
	last int16
}

func (e *encoder) head(id int16, kind byte) {
	if delta := id - e.last; delta > 0 && delta < 16 {
		e.data = append(e.data, byte(delta)<<4|kind)
	} else {
		e.data = append(e.data, kind)
		e.data = binary.AppendVarint(e.data, int64(id))
	}
	e.last = id
}

// copy writes a field as it was read.
func (e *encoder) copy(f field) {
	e.head(f.id, f.kind)
	e.data = append(e.data, f.value...)
}

func (e *encoder) long(id int16, n int64) {
	e.head(id, typeLong)
	e.data = binary.AppendVarint(e.data, n)
}

func (e *encoder) int(id int16, n int64) {
	e.head(id, typeInt)
	e.data = binary.AppendVarint(e.data, n)
}

func (e *encoder) text(id int16, s string) {
	e.head(id, typeBinary)
	e.data = append(binary.AppendUvarint(e.data, uint64(len(s))), s...)
}

// structures writes a list of encoded structures.
func (e *encoder) structures(id int16, all [][]byte) {
	e.head(id, typeList)
	if len(all) < 15 {
		e.data = append(e.data, byte(len(all))<<4|typeStruct)
	} else {
		e.data = binary.AppendUvarint(append(e.data, 0xf0|typeStruct), uint64(len(all)))
	}
	for _, one := range all {
		e.data = append(e.data, one...)
	}
}

func (e *encoder) structure(id int16, encoded []byte) {
	e.head(id, typeStruct)
	e.data = append(e.data, encoded...)
}

// end is the whole structure.
func (e *encoder) end() []byte { return append(e.data, 0) }
