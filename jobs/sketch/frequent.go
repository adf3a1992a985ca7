package sketch

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/apache/datasketches-go/common"
	"github.com/apache/datasketches-go/frequencies"
)

const (
	familyFrequent = 10
	frequentStart  = 32 // bytes before the counts
	frequentEmpty  = 8

	// perItem is how many counters there are for each item that is asked for, and leastCounters how many at least.
	perItem       = 8
	leastCounters = 1024
	mostLgMap     = 24
	freeLgMap     = 16 // maps of this size are made for few bytes, too
)

var (
	stringHasher = common.ItemSketchStringHasher{}
	stringSerDe  = common.ItemSketchStringSerDe{}
)

// Frequent counts items, and drops rare ones when there are too many: a frequent items sketch, of longs or of strings.
type Frequent struct {
	longs *frequencies.LongsSketch
	texts *frequencies.ItemsSketch[string]
}

// Item is one of the most frequent ones. Its count lies between Lower and Count; they are equal if nothing was dropped.
type Item struct {
	Text  string // of a sketch of strings
	Long  int64  // of a sketch of longs
	Count int64
	Lower int64
}

// NewFrequent is an empty sketch for the k most frequent items: it holds three quarters of size counters, size being the
// next power of two from 8 k on, 1024 at least. What it drops at a time it makes good in all estimates; they are never too
// low, and at most 3.5/size of all counts too high.
func NewFrequent(k int, longs bool) (*Frequent, error) {
	size := max(leastCounters, 1<<bits.Len(uint(perItem*k-1)))
	f := &Frequent{}
	var err error
	if longs {
		f.longs, err = frequencies.NewLongsSketchWithMaxMapSize(size)
	} else {
		f.texts, err = frequencies.NewFrequencyItemsSketchWithMaxMapSize(size, stringHasher, stringSerDe)
	}
	if err != nil {
		return nil, fmt.Errorf("make frequent items sketch: %w", err)
	}
	return f, nil
}

// AddLong counts a long so many times more.
func (f *Frequent) AddLong(item, times int64) error { return f.longs.UpdateMany(item, times) }

// AddText counts a text so many times more.
func (f *Frequent) AddText(item string, times int64) error { return f.texts.UpdateMany(item, times) }

// Bytes is the sketch in DataSketches' form, which Merge takes.
func (f *Frequent) Bytes() (data []byte, err error) {
	if f.longs != nil {
		return f.longs.ToSlice(), nil
	}
	if data, err = f.texts.ToSlice(); err != nil {
		return nil, fmt.Errorf("write frequent items sketch: %w", err)
	}
	return data, nil
}

// Merge adds what Bytes gave of another with items of the same type, and keeps nothing of data.
func (f *Frequent) Merge(data []byte) (err error) {
	defer recovered("merge frequent items sketch", &err)
	other, err := readFrequent(data, f.longs != nil)
	if err != nil {
		return err
	}
	if f.longs != nil {
		_, err = f.longs.Merge(other.longs)
	} else {
		_, err = f.texts.Merge(other.texts)
	}
	if err != nil {
		return fmt.Errorf("merge frequent items sketch: %w", err)
	}
	return nil
}

// readFrequent reads bytes that hold longs, or strings.
func readFrequent(data []byte, longs bool) (*Frequent, error) {
	empty, err := checkFrequent(data)
	if err != nil {
		return nil, err
	}
	f := &Frequent{}
	switch {
	case empty:
		return NewFrequent(1, longs)
	case longs:
		if len(data) != frequentStart+16*activeItems(data) {
			return nil, fmt.Errorf("read frequent items sketch: %d bytes do not hold %d longs", len(data), activeItems(data))
		}
		f.longs, err = frequencies.NewLongsSketchFromSlice(data)
	default:
		if !holdsStrings(data) {
			return nil, fmt.Errorf("read frequent items sketch: %d bytes do not hold %d strings", len(data), activeItems(data))
		}
		f.texts, err = frequencies.NewFrequencyItemsSketchFromSlice(data, stringHasher, stringSerDe)
	}
	if err != nil {
		return nil, fmt.Errorf("read frequent items sketch: %w", err)
	}
	return f, nil
}

func activeItems(data []byte) int { return int(binary.LittleEndian.Uint32(data[8:])) }

// checkFrequent makes sure that the library reads nothing beyond data, and allocates no more than goes with it.
func checkFrequent(data []byte) (empty bool, err error) {
	refuse := fmt.Errorf("read frequent items sketch: %d bytes are none", len(data))
	if len(data) < frequentEmpty || data[1] != 1 || data[2]&0x3f != familyFrequent {
		return false, refuse
	}
	if data[5]&(flagEmpty|1) != 0 {
		return true, nil
	}
	if len(data) < frequentStart || int(data[0]&0x3f)*8 != frequentStart {
		return false, refuse
	}
	lgMost, lgNow, active := int(data[3]), int(data[4]), activeItems(data)
	if lgMost > mostLgMap || lgNow > lgMost || active > (len(data)-frequentStart)/8 ||
		lgNow > freeLgMap && active < 1<<lgNow/16 { // a purge leaves few items in a large map
		return false, refuse
	}
	for i := range active {
		if int64(binary.LittleEndian.Uint64(data[frequentStart+8*i:])) < 0 {
			return false, refuse
		}
	}
	return false, nil
}

// holdsStrings says whether what follows the counts is exactly as many strings.
func holdsStrings(data []byte) bool {
	active := activeItems(data)
	rest := data[frequentStart+8*active:]
	for range active {
		if len(rest) < 4 {
			return false
		}
		length := uint64(binary.LittleEndian.Uint32(rest))
		if length > uint64(len(rest)-4) || !utf8.Valid(rest[4:4+length]) {
			return false
		}
		rest = rest[4+length:]
	}
	return len(rest) == 0
}

// Top are the k most frequent items, or fewer: those with the highest estimates, the smaller item first among equals.
func (f *Frequent) Top(k int) ([]Item, error) {
	var items []Item
	if f.longs != nil {
		rows, err := f.longs.GetFrequentItems(frequencies.ErrorTypeEnum.NoFalseNegatives)
		if err != nil {
			return nil, fmt.Errorf("ask frequent items sketch: %w", err)
		}
		for _, r := range rows {
			items = append(items, Item{Long: r.GetItem(), Count: r.GetEstimate(), Lower: r.GetLowerBound()})
		}
	} else {
		rows, err := f.texts.GetFrequentItems(frequencies.ErrorTypeEnum.NoFalseNegatives)
		if err != nil {
			return nil, fmt.Errorf("ask frequent items sketch: %w", err)
		}
		for _, r := range rows {
			items = append(items, Item{Text: r.GetItem(), Count: r.GetEstimate(), Lower: r.GetLowerBound()})
		}
	}
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Long, b.Long), cmp.Compare(a.Text, b.Text))
	})
	return items[:min(k, len(items))], nil
}

// Longs says whether the items are longs, not texts.
func (f *Frequent) Longs() bool { return f.longs != nil }
