package parquet

import "encoding/binary"

// rewrite is the end of a scratch file: a footer of some groups and columns, its length and the magic bytes.
func (f *Footer) rewrite(groups []int, keep []bool) []byte {
	var rows int64
	var encoded [][]byte
	for _, g := range groups {
		rows += f.Groups[g].Rows
		encoded = append(encoded, f.Groups[g].rewrite(f.Columns, keep))
	}
	var e encoder
	for _, other := range f.others {
		e.copy(other)
	}
	e.structures(2, f.rewriteSchema(keep))
	e.long(3, rows)
	e.structures(4, encoded)
	if f.orders != nil {
		e.structures(7, f.keptOrders(keep))
	}
	data := e.end()
	data = binary.LittleEndian.AppendUint32(data, uint32(len(data)))
	return append(data, magic...)
}

// rewriteSchema keeps some columns and names them by their numbers.
func (f *Footer) rewriteSchema(keep []bool) [][]byte {
	kept := [][]byte{nil}
	n := int64(0)
	for i, column := range f.Columns {
		if !keep[i] {
			continue
		}
		n++
		kept = append(kept, replace(f.elements[column.element], 4, func(e *encoder) { e.text(4, Name(i)) }))
		kept = append(kept, f.elements[column.element+1:column.element+column.elements]...)
	}
	kept[0] = replace(f.elements[0], 5, func(e *encoder) { e.int(5, n) })
	return kept
}

func (f *Footer) keptOrders(keep []bool) (kept [][]byte) {
	for i, column := range f.Columns {
		if keep[i] {
			kept = append(kept, f.orders[column.first:column.first+column.leaves]...)
		}
	}
	return kept
}

// replace copies a structure with one field written anew.
func replace(encoded []byte, id int16, write func(*encoder)) []byte {
	var e encoder
	structure(encoded, func(f field) {
		if f.id == id {
			write(&e)
		} else {
			e.copy(f)
		}
	})
	return e.end()
}

func (g *Group) rewrite(columns []Column, keep []bool) []byte {
	var kept [][]byte
	for i, column := range columns {
		if keep[i] {
			for _, c := range g.of(column) {
				kept = append(kept, c.rewrite())
			}
		}
	}
	var e encoder
	e.structures(1, kept)
	for _, f := range g.fields {
		e.copy(f)
	}
	return e.end()
}

// rewrite leaves out where indexes and Bloom filters lie: they are not fetched.
func (c *chunk) rewrite() []byte {
	var e encoder
	structure(c.encoded, func(f field) {
		switch f.id {
		case 4, 5, 6, 7: // offset index, column index
		case 3:
			var description encoder
			structure(f.value, func(f field) {
				if f.id != 14 && f.id != 15 { // Bloom filter
					description.copy(f)
				}
			})
			e.structure(3, description.end())
		default:
			e.copy(f)
		}
	})
	return e.end()
}
