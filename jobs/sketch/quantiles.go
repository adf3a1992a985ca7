package sketch

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/datasketches-go/common"
	"github.com/apache/datasketches-go/kll"
)

const (
	kllK, kllM = 200, 8
	familyKLL  = 15 // in the headers of DataSketches
)

var (
	ascending = common.ItemSketchDoubleComparator(false)
	doubles   = common.ItemSketchDoubleSerDe{}
)

// Quantiles answers which value stands at a given rank.
type Quantiles struct {
	sketch *kll.ItemsSketch[float64]
}

// NewQuantiles is an empty sketch.
func NewQuantiles() (*Quantiles, error) {
	s, err := kll.NewKllItemsSketch[float64](kllK, kllM, ascending, doubles)
	if err != nil {
		return nil, fmt.Errorf("make KLL sketch: %w", err)
	}
	return &Quantiles{sketch: s}, nil
}

// Add puts values in. NaN is ignored.
func (q *Quantiles) Add(values []float64) {
	for _, value := range values {
		if value == value {
			q.sketch.Update(value)
		}
	}
}

// Bytes is the sketch in DataSketches' form.
func (q *Quantiles) Bytes() ([]byte, error) {
	data, err := q.sketch.ToSlice()
	if err != nil {
		return nil, fmt.Errorf("encode KLL sketch: %w", err)
	}
	return data, nil
}

// Merge adds a sketch that Bytes gave.
func (q *Quantiles) Merge(data []byte) (err error) {
	defer recovered("merge KLL sketch", &err)
	if len(data) < 8 || data[2] != familyKLL || binary.LittleEndian.Uint16(data[4:]) != kllK || data[6] != kllM {
		return fmt.Errorf("merge KLL sketch: %d bytes are none of k %d", len(data), kllK)
	}
	if len(data) >= kllLevels && data[0] == kllSeveral && data[18] == 1 { // it holds all its values
		if err := checkLevels(data); err != nil {
			return err
		}
		for values := data[kllLevels+4+8*2:]; len(values) > 0; values = values[8:] {
			q.sketch.Update(math.Float64frombits(binary.LittleEndian.Uint64(values)))
		}
		return nil
	}
	other, err := readQuantiles(data)
	if err != nil {
		return err
	}
	if other.IsEmpty() {
		return nil
	}
	q.sketch.Merge(other)
	return nil
}

// At is the value at rank r, 0 to 1: the smallest one that at least that share of the values does not exceed. ok is
// false if the sketch is empty.
func (q *Quantiles) At(r float64) (value float64, ok bool, err error) {
	if q.sketch.IsEmpty() {
		return 0, false, nil
	}
	value, err = q.sketch.GetQuantile(r, true)
	if err != nil {
		return 0, false, fmt.Errorf("ask KLL sketch for rank %g: %w", r, err)
	}
	return value, true, nil
}

// Layout of the form of KLL sketches with several values.
const (
	kllSeveral = 5  // ints before the levels
	kllLevels  = 20 // bytes before the levels
	mostLevels = 60
)

// readQuantiles reads bytes that may be broken: the library trusts what they say of their levels.
func readQuantiles(data []byte) (*kll.ItemsSketch[float64], error) {
	if len(data) >= kllLevels && data[0] == kllSeveral {
		if err := checkLevels(data); err != nil {
			return nil, err
		}
	}
	s, err := kll.NewKllItemsSketchFromSlice[float64](data, ascending, doubles)
	if err != nil {
		return nil, fmt.Errorf("read KLL sketch: %w", err)
	}
	return s, nil
}

// checkLevels makes sure that the levels of a sketch are within its values, and that these weigh what it says.
func checkLevels(data []byte) error {
	k, m, levels := binary.LittleEndian.Uint16(data[4:]), data[6], int(data[18])
	begin := kllLevels + 4*levels
	if levels < 1 || levels > mostLevels || m > kllM || len(data) < begin {
		return fmt.Errorf("read KLL sketch: %d bytes do not hold %d levels", len(data), levels)
	}
	var capacity uint32
	for level := range levels {
		capacity += levelCapacity(k, m, levels-1-level)
	}
	before, weight := binary.LittleEndian.Uint32(data[kllLevels:]), uint64(0)
	if first := before; first > capacity || len(data) != begin+8*(2+int(capacity-first)) {
		return fmt.Errorf("read KLL sketch: %d bytes do not hold the values from %d to %d", len(data), first, capacity)
	}
	for level := range levels {
		end := capacity
		if level < levels-1 {
			end = binary.LittleEndian.Uint32(data[kllLevels+4*(level+1):])
		}
		if end < before || end > capacity {
			return fmt.Errorf("read KLL sketch: level %d ends at %d", level, end)
		}
		weight += uint64(end-before) << level
		before = end
	}
	if n := binary.LittleEndian.Uint64(data[8:]); n != weight {
		return fmt.Errorf("read KLL sketch: it is of %d values, and those that it holds stand for %d", n, weight)
	}
	return nil
}

// levelCapacity is how many values a level has room for, by how many there are above it: KLL's k (2/3)^depth, rounded.
func levelCapacity(k uint16, m uint8, depth int) uint32 {
	half := func(k uint64, depth int) uint64 {
		power := uint64(1)
		for range depth {
			power *= 3
		}
		return (2*k<<depth/power + 1) / 2
	}
	capacity := half(uint64(k), min(depth, 30))
	if depth > 30 {
		capacity = half(half(uint64(k), depth/2), depth-depth/2)
	}
	return max(uint32(m), uint32(min(capacity, uint64(k))))
}
