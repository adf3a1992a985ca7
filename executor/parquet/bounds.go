package parquet

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"
)

// Bounds is what a footer says of a column's values in one row group.
type Bounds struct {
	// Min and Max are as text that the engine can cast to the column's type, and no value is beyond them but NaN, which is in
	// neither. They need not be values of the column. nil: unknown.
	Min, Max *string
	Nulls    int64 // missing values; -1: unknown
}

// Bounds of a column of the footer that has the group. They are unknown where statistics are missing or of a type that
// writers disagree about: nested, INT96, bytes of fixed length, unsigned numbers and text of writers that do not say in
// what order.
func (g *Group) Bounds(c Column) Bounds {
	b := Bounds{Nulls: -1}
	if c.leaves != 1 || c.kind == unknown {
		return b
	}
	s := statistics{nulls: -1}
	structure(g.chunks[c.first].encoded, func(f field) {
		if f.id == 3 {
			structure(f.value, s.find)
		}
	})
	if s.nulls <= g.Rows {
		b.Nulls = s.nulls
	}
	low, high := s.low, s.high
	if !c.ordered && (c.kind == text || c.kind == unsigned) {
		return b
	}
	if low == nil && high == nil && c.kind != text && c.kind != unsigned {
		low, high = s.oldLow, s.oldHigh // by signed comparison, whatever the type
	}
	b.Min, b.Max = c.value(low, false), c.value(high, true)
	if c.kind == floating && (isNaN(b.Min) || isNaN(b.Max)) {
		b.Min, b.Max = nil, nil
	}
	return b
}

func isNaN(value *string) bool { return value != nil && *value == "NaN" }

// statistics as encoded; nil where they are missing.
type statistics struct {
	low, high, oldLow, oldHigh []byte
	nulls                      int64 // -1: missing
}

// find takes a field of a chunk's description.
func (s *statistics) find(f field) {
	if f.id != 12 {
		return
	}
	structure(f.value, func(f field) {
		switch f.id {
		case 1:
			s.oldHigh = f.bytes()
		case 2:
			s.oldLow = f.bytes()
		case 3:
			if f.kind == typeLong {
				s.nulls = max(f.number(), -1)
			}
		case 5:
			s.high = f.bytes()
		case 6:
			s.low = f.bytes()
		}
	})
}

// value decodes one of the statistics. Times finer than microseconds are rounded up or down.
func (c Column) value(data []byte, up bool) *string {
	if data == nil {
		return nil
	}
	switch c.kind {
	case text:
		if utf8.Valid(data) && !strings.ContainsRune(string(data), 0) {
			return known(string(data))
		}
		return nil
	case boolean:
		if len(data) == 1 {
			return known(strconv.FormatBool(data[0] != 0))
		}
		return nil
	}
	switch {
	case c.physical == format.Float && len(data) == 4:
		return known(strconv.FormatFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(data))), 'g', -1, 32))
	case c.physical == format.Double && len(data) == 8:
		return known(strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(data)), 'g', -1, 64))
	case c.physical == format.Int32 && len(data) == 4:
		n := binary.LittleEndian.Uint32(data)
		if c.kind == unsigned {
			return known(strconv.FormatUint(uint64(n), 10))
		}
		return c.integer(int64(int32(n)), up)
	case c.physical == format.Int64 && len(data) == 8:
		n := binary.LittleEndian.Uint64(data)
		if c.kind == unsigned {
			return known(strconv.FormatUint(n, 10))
		}
		return c.integer(int64(n), up)
	}
	return nil
}

func known(text string) *string { return &text }

func (c Column) integer(n int64, up bool) *string {
	switch c.kind {
	case signed:
		return known(strconv.FormatInt(n, 10))
	case decimal:
		if c.scale < 0 || c.scale > 18 {
			return nil
		}
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(c.scale)), nil)
		return known(new(big.Rat).SetFrac(big.NewInt(n), unit).FloatString(c.scale))
	case day:
		return instant(time.Unix(0, 0).UTC().AddDate(0, 0, int(n)), time.DateOnly)
	case millis:
		return instant(time.UnixMilli(n), microseconds)
	case micros:
		return instant(time.UnixMicro(n), microseconds)
	case nanos:
		at := time.Unix(0, n)
		if rounded := at.Truncate(time.Microsecond); up && !rounded.Equal(at) {
			return instant(rounded.Add(time.Microsecond), microseconds)
		} else {
			return instant(rounded, microseconds)
		}
	}
	return nil
}

const microseconds = "2006-01-02 15:04:05.000000"

// instant is unknown beyond the years that everybody writes in the same way.
func instant(at time.Time, layout string) *string {
	if at = at.UTC(); at.Year() < 1 || at.Year() > 9999 {
		return nil
	}
	return known(at.Format(layout))
}
