package sketch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/apache/datasketches-go/hll"
)

const (
	lgK       = 12
	registers = 1 << lgK
	keyBits   = 26
	familyHLL = 7

	// mostCoupons is how many different ones are kept as they are. DataSketches goes over to registers at the same point:
	// when a table of 2^(lgK-3) is three quarters full.
	mostCoupons = registers / 8 * 3 / 4
	mostListed  = 7 // coupons in the form of a list
)

// Layout of HLL's compact forms, after DataSketches' PreambleUtil.
const (
	modeList, modeSet, modeHLL = 0, 1, 2
	typeHLL8                   = 2 << 2
	flagEmpty, flagCompact     = 4, 8
	flagOutOfOrder             = 16
	listStart, setStart        = 8, 12
	hllStart                   = 40
)

// Distinct counts different values: an HLL sketch. The zero value is empty.
type Distinct struct {
	coupons   []uint32 // sorted and different; nil once there are registers
	registers []byte   // nil while there are few coupons
}

// Add puts values in, by [Hash.Coupon]. It keeps nothing of coupons, whose order it changes.
func (d *Distinct) Add(coupons []uint32) {
	if d.registers == nil && len(coupons) <= 4*mostCoupons {
		slices.Sort(coupons)
		d.coupons = union(d.coupons, slices.Compact(coupons))
		if len(d.coupons) > mostCoupons {
			d.promote()
		}
		return
	}
	if d.registers == nil && few(coupons, d.coupons) {
		slices.Sort(coupons)
		d.coupons = union(d.coupons, slices.Compact(coupons))
		return
	}
	d.promote()
	d.set(coupons)
}

// few says whether many coupons and some others are few different ones.
func few(many, some []uint32) bool {
	different := make(map[uint32]struct{}, 2*mostCoupons)
	for _, all := range [][]uint32{some, many} {
		for _, c := range all {
			if different[c] = struct{}{}; len(different) > mostCoupons {
				return false
			}
		}
	}
	return true
}

// union is all that is in a or b, which are sorted.
func union(a, b []uint32) []uint32 {
	if len(a) == 0 {
		return slices.Clone(b)
	}
	all := make([]uint32, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			all, a = append(all, a[0]), a[1:]
		case a[0] > b[0]:
			all, b = append(all, b[0]), b[1:]
		default:
			all, a, b = append(all, a[0]), a[1:], b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// promote goes over to registers.
func (d *Distinct) promote() {
	if d.registers != nil {
		return
	}
	d.registers = make([]byte, registers)
	d.set(d.coupons)
	d.coupons = nil
}

func (d *Distinct) set(coupons []uint32) {
	r := (*[registers]byte)(d.registers)
	for _, c := range coupons {
		slot, value := c&(registers-1), byte(c>>keyBits)
		if r[slot] < value {
			r[slot] = value
		}
	}
}

// Merge adds what Bytes gave of another, and keeps nothing of data.
func (d *Distinct) Merge(data []byte) error {
	if len(data) < listStart || data[2] != familyHLL || data[3] != lgK || data[7]&^3 != typeHLL8 {
		return fmt.Errorf("merge HLL sketch: %d bytes are none of lgK %d and type HLL_8", len(data), lgK)
	}
	start, count := 0, 0
	switch mode := data[7] & 3; {
	case mode == modeList:
		start, count = listStart, int(data[6])
	case mode == modeSet && len(data) >= setStart:
		start, count = setStart, int(binary.LittleEndian.Uint32(data[8:]))
	case mode == modeHLL && len(data) == hllStart+registers:
		d.promote()
		r := (*[registers]byte)(d.registers)
		for i, value := range data[hllStart:] {
			r[i] = max(r[i], value)
		}
		return nil
	}
	if start == 0 || count > mostCoupons || len(data) != start+4*count {
		return fmt.Errorf("merge HLL sketch: %d bytes in mode %d with %d coupons", len(data), data[7]&3, count)
	}
	coupons := make([]uint32, count)
	for i := range coupons {
		coupons[i] = binary.LittleEndian.Uint32(data[start+4*i:])
	}
	d.Add(coupons)
	return nil
}

// Bytes is the sketch in a compact form of type HLL_8, which Merge takes.
func (d *Distinct) Bytes() []byte {
	if d.registers != nil {
		return d.registerBytes()
	}
	start, mode, flags := listStart, byte(modeList), byte(flagCompact)
	if len(d.coupons) == 0 {
		flags |= flagEmpty
	}
	if len(d.coupons) > mostListed {
		start, mode = setStart, modeSet
	}
	data := make([]byte, start, start+4*len(d.coupons))
	copy(data, []byte{byte(start / 4), 1, familyHLL, lgK, 0, flags, 0, mode | typeHLL8})
	if mode == modeList {
		data[4], data[6] = 3, byte(len(d.coupons)) // a list has room for 2^3
	} else {
		for data[4] = 5; 3<<data[4] < 4*len(d.coupons); data[4]++ { // the log of a table's size that is at most three quarters full
		}
		binary.LittleEndian.PutUint32(data[8:], uint32(len(d.coupons)))
	}
	for _, c := range d.coupons {
		data = binary.LittleEndian.AppendUint32(data, c)
	}
	return data
}

func (d *Distinct) registerBytes() []byte {
	data := make([]byte, hllStart, hllStart+registers)
	copy(data, []byte{hllStart / 4, 1, familyHLL, lgK, 0, flagCompact | flagOutOfOrder, 0, modeHLL | typeHLL8})
	var small, large float64 // the sums of 2^-value
	zeros := uint32(0)
	for _, value := range d.registers {
		if value == 0 {
			zeros++
		}
		if value < 32 {
			small += 1 / float64(uint64(1)<<value)
		} else {
			large += 1 / float64(uint64(1)<<value)
		}
	}
	binary.LittleEndian.PutUint64(data[16:], math.Float64bits(small))
	binary.LittleEndian.PutUint64(data[24:], math.Float64bits(large))
	binary.LittleEndian.PutUint32(data[32:], zeros)
	return append(data, d.registers...)
}

func (d *Distinct) theirs() (hll.HllSketch, error) {
	s, err := hll.NewHllSketchFromSlice(d.Bytes(), false)
	if err != nil {
		return nil, fmt.Errorf("read HLL sketch: %w", err)
	}
	return s, nil
}

// Estimate is how many different values were put in.
func (d *Distinct) Estimate() (int64, error) {
	s, err := d.theirs()
	if err != nil {
		return 0, err
	}
	estimate, err := s.GetCompositeEstimate()
	if err != nil {
		return 0, fmt.Errorf("estimate from HLL sketch: %w", err)
	}
	return int64(math.Round(estimate)), nil
}

// Published is the sketch in a compact form of type HLL_4, half as large, for readers elsewhere.
func (d *Distinct) Published() (data []byte, err error) {
	defer recovered("write HLL sketch", &err)
	s, err := d.theirs()
	if err != nil {
		return nil, err
	}
	if s, err = s.CopyAs(hll.TgtHllTypeHll4); err == nil {
		data, err = s.ToCompactSlice()
	}
	if err != nil {
		return nil, fmt.Errorf("write HLL sketch: %w", err)
	}
	return data, nil
}

// recovered turns a panic of the library, which trusts the bytes it is given, into an error.
func recovered(what string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: %v", what, r)
	}
}
