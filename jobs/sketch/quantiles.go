package sketch

import (
	"encoding/binary"
	"fmt"

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
	other, err := kll.NewKllItemsSketchFromSlice[float64](data, ascending, doubles)
	if err != nil {
		return fmt.Errorf("decode KLL sketch: %w", err)
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
