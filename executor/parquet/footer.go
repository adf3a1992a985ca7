package parquet

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/parquet-go/parquet-go/format"
)

var (
	// ErrDamaged means that the bytes are no footer, or that it claims what cannot be. Reading again does not help.
	ErrDamaged = errors.New("not a Parquet file, or damaged")
	// ErrEncrypted means that the file, or some column of it, is encrypted. No key is known here.
	ErrEncrypted = errors.New("an encrypted Parquet file")
)

// Footer is what a file says about itself.
type Footer struct {
	Rows    int64    // in all groups
	Columns []Column // in the order of the schema
	Groups  []Group  // in the order of the file, without those that have no rows
	Schema  string   // as encoded: files with the same one have the same columns and types

	size     int64  // of the file up to the footer
	length   int    // of the footer as encoded
	whole    []byte // the object, if it is small
	elements [][]byte
	others   []field // that are copied as they are
	orders   [][]byte
}

// Column is a top-level field of the schema.
type Column struct {
	Name     string
	first    int // of its leaves
	leaves   int
	element  int // in the schema
	elements int
	kind     kind
	physical format.Type
	scale    int  // of decimals
	ordered  bool // its smallest and largest values are in the order of its type
}

// Group is a row group.
type Group struct {
	Rows   int64
	First  int64 // row of the file, from 0
	chunks []chunk
	fields []field
}

// chunk is where one leaf column's values lie, and their description as encoded.
type chunk struct {
	offset, length int64
	encoded        []byte
}

// Name is the name of column i in a scratch file.
func Name(i int) string { return "c" + strconv.Itoa(i) }

const magic = "PAR1"

// tail is the length of a footer and the magic bytes, at the end of a file.
const tail = 8

// The least bytes that a structure takes which has what it must have.
const (
	leastElement = 3
	leastGroup   = 6
	leastChunk   = 10
	leastOrder   = 1
)

// parse reads an encoded footer. size is that of the file up to it. What it returns refers to data.
func parse(data []byte, size int64) (*Footer, error) {
	f := &Footer{size: size, length: len(data)}
	c := cursor{data: data}
	var groups [][]byte
	var rows int64
	var schema []byte
	var failed error
	c.fields(0, func(field field) {
		var err error
		switch field.id {
		case 2:
			schema = field.value
			f.elements, err = field.structures(leastElement)
		case 3:
			rows = field.number()
		case 4:
			groups, err = field.structures(leastGroup)
		case 7:
			f.orders, err = field.structures(leastOrder)
		case 8, 9:
			err = ErrEncrypted
		default:
			f.others = append(f.others, field)
		}
		failed = errors.Join(failed, err)
	})
	if c.err != nil {
		return nil, c.err
	}
	if failed != nil {
		return nil, failed
	}
	f.Schema = string(schema)
	leaves, err := f.columns()
	if err != nil {
		return nil, err
	}
	if len(f.orders) != leaves {
		f.orders = nil
	}
	for i := range f.Columns {
		column := &f.Columns[i]
		column.ordered = f.orders != nil && typeOrder(f.orders[column.first])
	}
	return f, f.groups(groups, leaves, rows)
}

// typeOrder says that an order is the one of the column's type.
func typeOrder(encoded []byte) (is bool) {
	structure(encoded, func(f field) { is = f.id == 1 })
	return is
}

// groups reads the row groups.
func (f *Footer) groups(encoded [][]byte, leaves int, rows int64) error {
	for i, data := range encoded {
		group, err := f.group(data, leaves)
		if err != nil {
			return fmt.Errorf("%w (row group %d)", err, i)
		}
		group.First = f.Rows
		if group.Rows > math.MaxInt64-f.Rows {
			return fmt.Errorf("%w: its footer counts more rows than there can be", ErrDamaged)
		}
		if f.Rows += group.Rows; group.Rows > 0 {
			f.Groups = append(f.Groups, group)
		}
	}
	if f.Rows != rows {
		return fmt.Errorf("%w: its footer says that it has %d rows, and its row groups have %d", ErrDamaged, rows, f.Rows)
	}
	return nil
}

func (f *Footer) group(data []byte, leaves int) (Group, error) {
	var g Group
	var chunks [][]byte
	var failed error
	structure(data, func(field field) {
		switch field.id {
		case 1:
			chunks, failed = field.structures(leastChunk)
		case 3:
			g.Rows = field.number()
			g.fields = append(g.fields, field)
		case 4: // the numbers of sorting columns are not right any more when columns are left out
		default:
			g.fields = append(g.fields, field)
		}
	})
	switch {
	case failed != nil:
		return g, failed
	case g.Rows == 0:
		return g, nil
	case g.Rows < 0:
		return g, fmt.Errorf("%w: its footer counts %d rows", ErrDamaged, g.Rows)
	case len(chunks) != leaves:
		return g, fmt.Errorf("%w: its footer describes %d columns, its schema %d", ErrDamaged, len(chunks), leaves)
	}
	var total int64
	g.chunks = make([]chunk, len(chunks))
	for i, encoded := range chunks {
		var err error
		if g.chunks[i], err = f.chunk(encoded); err != nil {
			return g, err
		}
		if total += g.chunks[i].length; total > f.size {
			return g, fmt.Errorf("%w: its footer says that columns share their bytes", ErrDamaged)
		}
	}
	return g, nil
}

func (f *Footer) chunk(encoded []byte) (chunk, error) {
	c := chunk{encoded: encoded}
	var failed error
	var described bool
	structure(encoded, func(field field) {
		switch field.id {
		case 1:
			if len(field.bytes()) > 0 {
				failed = fmt.Errorf("%w: its data lie in another file", ErrDamaged)
			}
		case 3:
			described = true
			c.place(field.value)
		case 8, 9:
			failed = ErrEncrypted
		}
	})
	switch {
	case failed != nil:
		return c, failed
	case !described:
		return c, fmt.Errorf("%w: its footer does not describe a column", ErrDamaged)
	case c.offset < int64(len(magic)) || c.length < 0 || c.offset > f.size || c.length > f.size-c.offset:
		return c, fmt.Errorf("%w: its footer says that a column is at %d, %d bytes long, and the file has %d before its footer", ErrDamaged, c.offset, c.length, f.size)
	}
	return c, nil
}

// place finds where the chunk lies. The dictionary, if there is one, comes first.
func (c *chunk) place(description []byte) {
	var data, dictionary int64
	structure(description, func(f field) {
		switch f.id {
		case 7:
			c.length = f.number()
		case 9:
			data = f.number()
		case 11:
			dictionary = f.number()
		}
	})
	if c.offset = data; dictionary >= int64(len(magic)) && dictionary < data {
		c.offset = dictionary
	}
}

// Size is about how much memory the footer takes, in bytes.
func (f *Footer) Size() int { return f.length + len(f.whole) }

// Bytes is how much of the object the kept columns of some groups are.
func (f *Footer) Bytes(groups []int, keep []bool) (total int64) {
	for _, g := range groups {
		for i, column := range f.Columns {
			if keep[i] {
				for _, c := range f.Groups[g].of(column) {
					total += c.length
				}
			}
		}
	}
	return total
}

// of is the chunks of a column.
func (g *Group) of(c Column) []chunk { return g.chunks[c.first : c.first+c.leaves] }
