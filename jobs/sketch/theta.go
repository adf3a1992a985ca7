package sketch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

const (
	familyTheta = 3 // compact
	nominal     = 1 << lgK
	maxTheta    = math.MaxInt64 // theta of a sketch that holds all hashes

	flagReadOnly, flagThetaEmpty    = 2, 4
	flagThetaCompact, flagOrdered   = 8, 16
	thetaVersion                    = 3
	thetaAlone, thetaExact, thetaIn = 8, 16, 24 // bytes before the hashes
)

// Theta holds the smallest hashes of a set of values, for set operations. The zero value is empty.
type Theta struct {
	hashes []uint64 // all below theta; sorted and different up to ordered
	theta  uint64   // 0: maxTheta
}

func (t *Theta) bound() uint64 {
	if t.theta == 0 {
		return maxTheta
	}
	return t.theta
}

// Add puts values in, by [Hash.Theta].
func (t *Theta) Add(hashes []uint64) {
	bound := t.bound()
	for _, h := range hashes {
		if h == 0 || h >= bound {
			continue
		}
		if t.hashes = append(t.hashes, h); len(t.hashes) == 4*nominal {
			t.trim()
			bound = t.bound()
		}
	}
}

// trim sorts, and keeps the nominal number.
func (t *Theta) trim() {
	slices.Sort(t.hashes)
	t.hashes = slices.Compact(t.hashes)
	if len(t.hashes) > nominal {
		t.theta = t.hashes[nominal]
		t.hashes = t.hashes[:nominal]
	}
}

// Merge adds what Bytes gave of another, and keeps nothing of data.
func (t *Theta) Merge(data []byte) error {
	refuse := func() error { return fmt.Errorf("merge theta sketch: %d bytes are none of lgK %d", len(data), lgK) }
	if len(data) < thetaAlone || data[1] != thetaVersion || data[2] != familyTheta || int(data[0])*8 > len(data) ||
		data[5]&flagThetaCompact == 0 || binary.LittleEndian.Uint16(data[6:]) != seedHash {
		return refuse()
	}
	start, count, theta := int(data[0])*8, 1, uint64(maxTheta)
	switch {
	case data[5]&flagThetaEmpty != 0:
		return nil
	case start == thetaAlone:
	case start == thetaExact || start == thetaIn:
		count = int(binary.LittleEndian.Uint32(data[8:]))
		if start == thetaIn {
			theta = binary.LittleEndian.Uint64(data[16:])
		}
	default:
		return refuse()
	}
	if count > nominal || len(data) != start+8*count || theta > maxTheta || theta == 0 {
		return refuse()
	}
	if theta < t.bound() {
		t.theta = theta
		t.hashes = slices.DeleteFunc(t.hashes, func(h uint64) bool { return h >= theta })
	}
	hashes := make([]uint64, count)
	for i := range hashes {
		hashes[i] = binary.LittleEndian.Uint64(data[start+8*i:])
	}
	t.Add(hashes)
	return nil
}

// Bytes is the sketch in DataSketches' compact, ordered form, which Merge takes.
func (t *Theta) Bytes() []byte {
	t.trim()
	flags, start := byte(flagReadOnly|flagThetaCompact|flagOrdered), thetaExact
	switch {
	case t.theta != 0:
		start = thetaIn
	case len(t.hashes) == 0:
		flags, start = flags|flagThetaEmpty, thetaAlone
	case len(t.hashes) == 1:
		start = thetaAlone
	}
	data := make([]byte, start, start+8*len(t.hashes))
	copy(data, []byte{byte(start / 8), thetaVersion, familyTheta, 0, 0, flags})
	binary.LittleEndian.PutUint16(data[6:], seedHash)
	if start >= thetaExact {
		binary.LittleEndian.PutUint32(data[8:], uint32(len(t.hashes)))
	}
	if start == thetaIn {
		binary.LittleEndian.PutUint64(data[16:], t.theta)
	}
	for _, h := range t.hashes {
		data = binary.LittleEndian.AppendUint64(data, h)
	}
	return data
}

// Estimate is how many different values were put in.
func (t *Theta) Estimate() int64 {
	t.trim()
	return int64(math.Round(float64(len(t.hashes)) / (float64(t.bound()) / maxTheta)))
}
