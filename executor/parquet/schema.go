package parquet

import (
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// columns goes through the schema and returns the number of leaves.
func (f *Footer) columns() (leaves int, err error) {
	if len(f.elements) == 0 {
		return 0, fmt.Errorf("%w: its footer has no schema", ErrDamaged)
	}
	root := readElement(f.elements[0])
	if root.children > len(f.elements) || root.children < 0 {
		return 0, fmt.Errorf("%w: its footer's schema is not whole", ErrDamaged)
	}
	w := schemaWalk{elements: f.elements, next: 1}
	for range root.children {
		column := Column{element: w.next, first: w.leaves}
		top := w.visit(0)
		if w.err != nil {
			return 0, w.err
		}
		column.Name, column.leaves, column.elements = top.name, w.leaves-column.first, w.next-column.element
		column.kind, column.physical, column.scale = top.kind(), top.physical, top.decimalScale()
		f.Columns = append(f.Columns, column)
	}
	if w.next != len(f.elements) {
		return 0, fmt.Errorf("%w: its footer's schema has fields that belong nowhere", ErrDamaged)
	}
	return w.leaves, nil
}

// schemaWalk goes through the fields of a schema, those above before those below.
type schemaWalk struct {
	elements     [][]byte
	next, leaves int
	err          error
}

func (w *schemaWalk) visit(depth int) element {
	if w.next >= len(w.elements) || depth > deepest {
		w.err = fmt.Errorf("%w: its footer's schema is not whole, or nested too deeply", ErrDamaged)
		return element{}
	}
	e := readElement(w.elements[w.next])
	w.next++
	switch {
	case e.children < 0 || e.children > len(w.elements)-w.next:
		w.err = fmt.Errorf("%w: its footer's schema is not whole", ErrDamaged)
	case e.children == 0 && !e.typed: // a group without fields has no leaf
	case e.children == 0:
		w.leaves++
	}
	for i := 0; i < e.children && w.err == nil; i++ {
		w.visit(depth + 1)
	}
	return e
}

// element is a field of the schema.
type element struct {
	name      string
	typed     bool
	physical  format.Type
	repeated  format.FieldRepetitionType
	children  int
	converted deprecated.ConvertedType
	scale     int
	logical   []byte // nil: none
	old       bool   // it has a converted type
}

func readElement(encoded []byte) (e element) {
	structure(encoded, func(f field) {
		switch f.id {
		case 1:
			e.physical, e.typed = format.Type(f.number()), true
		case 3:
			e.repeated = format.FieldRepetitionType(f.number())
		case 4:
			e.name = string(f.bytes())
		case 5:
			e.children = int(min(max(f.number(), -1), math.MaxInt32))
		case 6:
			e.converted, e.old = deprecated.ConvertedType(f.number()), true
		case 7:
			e.scale = int(min(max(f.number(), -1), math.MaxInt32))
		case 10:
			e.logical = f.value
		}
	})
	return e
}

// kind is how statistics of a field that is one leaf are to be understood.
type kind int

const (
	unknown kind = iota // they are not
	signed
	unsigned
	floating
	boolean
	decimal
	text
	day
	millis
	micros
	nanos
)

// kind goes by the logical type, or else by the converted one, or else by the physical one.
func (e element) kind() kind {
	if !e.typed || e.children > 0 || e.repeated == format.Repeated {
		return unknown
	}
	switch e.physical {
	case format.Boolean:
		return boolean
	case format.Float, format.Double:
		return floating
	case format.Int32, format.Int64, format.ByteArray:
	default: // INT96 has no order that all writers agree on, and bytes of fixed length are decimals, UUIDs and others
		return unknown
	}
	k := unknown
	switch {
	case e.logical != nil:
		k = logicalKind(e.logical)
	case e.old:
		k = convertedKinds[e.converted]
	case e.physical != format.ByteArray:
		k = signed
	}
	if (e.physical == format.ByteArray) != (k == text) || e.physical == format.Int32 && (k == millis || k == micros || k == nanos) || e.physical == format.Int64 && k == day {
		return unknown
	}
	return k
}

var convertedKinds = map[deprecated.ConvertedType]kind{
	deprecated.UTF8: text, deprecated.Enum: text,
	deprecated.Decimal: decimal, deprecated.Date: day,
	deprecated.TimestampMillis: millis, deprecated.TimestampMicros: micros,
	deprecated.Uint8: unsigned, deprecated.Uint16: unsigned, deprecated.Uint32: unsigned, deprecated.Uint64: unsigned,
	deprecated.Int8: signed, deprecated.Int16: signed, deprecated.Int32: signed, deprecated.Int64: signed,
}

// logicalKind reads a union: the number of its only field says which type it is.
func logicalKind(encoded []byte) (k kind) {
	structure(encoded, func(f field) {
		switch f.id {
		case 1, 4: // STRING, ENUM
			k = text
		case 5:
			k = decimal
		case 6:
			k = day
		case 8:
			k = timestampKind(f.value)
		case 10:
			k = integerKind(f.value)
		}
	})
	return k
}

func timestampKind(encoded []byte) (k kind) {
	structure(encoded, func(f field) {
		if f.id != 2 {
			return
		}
		structure(f.value, func(unit field) {
			k = map[int16]kind{1: millis, 2: micros, 3: nanos}[unit.id]
		})
	})
	return k
}

func integerKind(encoded []byte) kind {
	k := unsigned
	structure(encoded, func(f field) {
		if f.id == 2 && f.kind == typeTrue {
			k = signed
		}
	})
	return k
}

// decimalScale is how many digits of a decimal are behind the point.
func (e element) decimalScale() int {
	scale := e.scale
	if e.logical != nil {
		structure(e.logical, func(f field) {
			structure(f.value, func(f field) {
				if f.id == 1 {
					scale = int(min(max(f.number(), -1), math.MaxInt32))
				}
			})
		})
	}
	return scale
}
