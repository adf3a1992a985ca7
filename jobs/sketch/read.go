package sketch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/apache/datasketches-go/filters"
	"github.com/apache/datasketches-go/hll"
	"github.com/apache/datasketches-go/kll"
	"github.com/apache/datasketches-go/theta"
)

// Kind is a family of sketches.
type Kind string

// Kinds.
const (
	KindHLL      Kind = "HLL"
	KindTheta    Kind = "theta"
	KindKLL      Kind = "KLL"
	KindFrequent Kind = "frequent items"
	KindBloom    Kind = "Bloom filter"
)

// ErrOther is what an operation gives that a sketch's kind does not have. Ask its [Any.Kind].
var ErrOther = errors.New("sketches of this kind have no such thing")

// Any is a sketch of any kind and origin, which does not change.
type Any struct {
	kind     Kind
	hll      hll.HllSketch
	theta    theta.Sketch
	kll      *kll.ItemsSketch[float64]
	frequent *Frequent
	bloom    filters.BloomFilter
}

const (
	mostLgK         = 21      // of an HLL sketch
	mostFilterWords = 1 << 22 // of a filter without members, whose bytes do not show its size
)

// Read reads the bytes of a sketch, of which kind they say themselves, and keeps nothing of them. Those of a KLL sketch of
// other items than doubles, and of a frequent items sketch of others than longs and strings, cannot be told from
// these: they give an error, or nonsense. A theta sketch has the default seed.
func Read(data []byte) (_ *Any, err error) {
	defer recovered("read sketch", &err)
	data = data[:len(data):len(data)] // the library looks at the capacity
	if len(data) < 8 {
		return nil, fmt.Errorf("read sketch: %d bytes are too few for one", len(data))
	}
	s := &Any{}
	switch data[2] {
	case familyHLL:
		s.kind = KindHLL
		if err := checkHLL(data); err != nil {
			return nil, err
		}
		if s.hll, err = hll.NewHllSketchFromSlice(data, true); err != nil {
			err = fmt.Errorf("read HLL sketch: %w", err)
		}
	case familyTheta:
		s.kind = KindTheta
		if data[1] == 4 && data[3] == 0 {
			return nil, errors.New("read theta sketch: its hashes have no bits")
		}
		if s.theta, err = theta.Decode(data, theta.DefaultSeed); err != nil {
			err = fmt.Errorf("read theta sketch: %w", err)
		}
	case familyKLL:
		s.kind = KindKLL
		s.kll, err = readQuantiles(data)
	case familyFrequent:
		s.kind = KindFrequent
		if s.frequent, err = readFrequent(data, false); err != nil {
			s.frequent, err = readFrequent(data, true)
		}
	case familyBloom:
		s.kind = KindBloom
		if len(data) == bloomEmpty && uint32(data[19])<<24+uint32(data[18])<<16 > mostFilterWords {
			return nil, fmt.Errorf("read Bloom filter: it is empty and has more than %d words", mostFilterWords)
		}
		if s.bloom, err = filters.NewBloomFilterFromSlice(data); err != nil {
			err = fmt.Errorf("read Bloom filter: %w", err)
		}
	default:
		return nil, fmt.Errorf("read sketch: family %d is none of HLL (%d), theta (%d), KLL (%d), frequent items (%d), Bloom filter (%d)",
			data[2], familyHLL, familyTheta, familyKLL, familyFrequent, familyBloom)
	}
	if err != nil {
		return nil, err
	}
	return s, s.sound()
}

// checkHLL makes sure that the library allocates no more than goes with the bytes.
func checkHLL(data []byte) error {
	if data[3] > mostLgK || data[4] > mostLgK {
		return fmt.Errorf("read HLL sketch: its lgK is %d and that of its table %d, at most %d are possible", data[3], data[4], mostLgK)
	}
	counted := 0 // where the number of coupons, or of exceptions, stands
	switch data[7] & 3 {
	case modeSet:
		counted = 8
	case modeHLL:
		counted = 36
	case modeList:
		return nil
	default:
		return fmt.Errorf("read HLL sketch: it is in mode %d, which does not exist", data[7]&3)
	}
	if len(data) < counted+4 || uint64(binary.LittleEndian.Uint32(data[counted:])) > uint64(len(data)/4) {
		return fmt.Errorf("read HLL sketch: %d bytes do not hold what they say", len(data))
	}
	return nil
}

// sound makes the library touch all of what it has read, so that broken bytes show here.
func (s *Any) sound() error {
	if _, err := s.Facts(); err != nil {
		return err
	}
	if s.kll != nil && !s.kll.IsEmpty() {
		if _, err := s.Quantile(0.5); err != nil {
			return err
		}
	}
	return nil
}

// Kind says what it is.
func (s *Any) Kind() Kind { return s.kind }

// Fact is one thing that is known about a sketch.
type Fact struct {
	Name  string
	Value any // float64, int64 or string
}

// Facts are what can be said without being asked, in order. For estimates of numbers of values the bounds are those of 95 %
// confidence.
func (s *Any) Facts() (facts []Fact, err error) {
	defer recovered("ask sketch", &err)
	add := func(name string, value any) { facts = append(facts, Fact{name, value}) }
	switch s.kind {
	case KindHLL:
		err = bounded(add, s.hll.GetCompositeEstimate, s.hll.GetLowerBound, s.hll.GetUpperBound)
		add("lg_k", int64(s.hll.GetLgConfigK()))
	case KindTheta:
		err = bounded(add, func() (float64, error) { return s.theta.Estimate(), nil },
			func(n int) (float64, error) { return s.theta.LowerBound(uint8(n)) }, func(n int) (float64, error) { return s.theta.UpperBound(uint8(n)) })
		add("theta", s.theta.Theta())
		add("retained", int64(s.theta.NumRetained()))
	case KindKLL:
		add("values", int64(s.kll.GetN()))
		if !s.kll.IsEmpty() {
			low, lowErr := s.kll.GetMinItem()
			high, highErr := s.kll.GetMaxItem()
			err = errors.Join(lowErr, highErr)
			add("min", low)
			add("max", high)
		}
		add("k", int64(s.kll.GetK()))
		add("rank_error", s.kll.GetNormalizedRankError(false))
	case KindFrequent:
		if s.frequent.longs != nil {
			add("items", "longs")
			add("count", s.frequent.longs.GetStreamLength())
			add("max_error", s.frequent.longs.GetMaximumError())
		} else {
			add("items", "strings")
			add("count", s.frequent.texts.GetStreamLength())
			add("max_error", s.frequent.texts.GetMaximumError())
		}
	case KindBloom:
		add("bits", int64(s.bloom.Capacity()))
		add("bits_set", int64(s.bloom.BitsUsed()))
		add("hashes", int64(s.bloom.NumHashes()))
		add("estimate", s.members())
		add("false_positive", math.Pow(float64(s.bloom.BitsUsed())/float64(max(s.bloom.Capacity(), 1)), float64(s.bloom.NumHashes())))
	}
	return facts, err
}

// bounded adds an estimate and what it lies between.
func bounded(add func(string, any), estimate func() (float64, error), lower, upper func(int) (float64, error)) error {
	value, err := estimate()
	low, lowErr := lower(2)
	high, highErr := upper(2)
	add("estimate", value)
	add("lower_bound", low)
	add("upper_bound", high)
	return errors.Join(err, lowErr, highErr)
}

// members estimates how many values a filter holds by its bits (Swamidass and Baldi 2007).
func (s *Any) members() float64 {
	capacity, used := float64(s.bloom.Capacity()), float64(s.bloom.BitsUsed())
	if used >= capacity {
		return math.Inf(1)
	}
	return -capacity / float64(s.bloom.NumHashes()) * math.Log1p(-used/capacity)
}

// Quantile is the value at rank q, 0 to 1, of a KLL sketch that is not empty.
func (s *Any) Quantile(q float64) (value float64, err error) {
	defer recovered("ask KLL sketch", &err)
	if s.kll == nil {
		return 0, fmt.Errorf("a quantile of a %s sketch: %w", s.kind, ErrOther)
	}
	return s.kll.GetQuantile(q, true)
}

// Top are the n most frequent items of a frequent items sketch.
func (s *Any) Top(n int) (_ []Item, err error) {
	defer recovered("ask frequent items sketch", &err)
	if s.frequent == nil {
		return nil, fmt.Errorf("the most frequent items of a %s sketch: %w", s.kind, ErrOther)
	}
	return s.frequent.Top(n)
}

// Text is an item as text, whatever its type.
func (s *Any) Text(item Item) string {
	if s.frequent != nil && s.frequent.Longs() {
		return strconv.FormatInt(item.Long, 10)
	}
	return item.Text
}

// Contains says whether a Bloom filter may hold a value with those bytes: see [Text], [Long] and [Double].
func (s *Any) Contains(value []byte) (bool, error) {
	if s.bloom == nil {
		return false, fmt.Errorf("members of a %s sketch: %w", s.kind, ErrOther)
	}
	return s.bloom.QuerySlice(value), nil
}

// Bytes is the sketch in DataSketches' compact form.
func (s *Any) Bytes() (data []byte, err error) {
	defer recovered("write sketch", &err)
	switch s.kind {
	case KindHLL:
		return s.hll.ToCompactSlice()
	case KindTheta:
		return theta.NewCompactSketch(s.theta, true).MarshalBinary()
	case KindKLL:
		return s.kll.ToSlice()
	case KindFrequent:
		return s.frequent.Bytes()
	}
	return s.bloom.ToCompactSlice()
}

// Merge is a sketch of all that several of one kind have seen. Those of the coarsest set its accuracy, and filters must have
// the same size, hashes and seed.
func Merge(sketches []*Any) (_ *Any, err error) {
	defer recovered("merge sketches", &err)
	if len(sketches) == 0 {
		return nil, errors.New("merge sketches: there are none")
	}
	first := sketches[0]
	for _, s := range sketches[1:] {
		if s.kind != first.kind {
			return nil, fmt.Errorf("merge sketches: one is a %s sketch, another a %s sketch", first.kind, s.kind)
		}
		if first.kind == KindFrequent && s.frequent.Longs() != first.frequent.Longs() {
			return nil, errors.New("merge sketches: one has longs, another strings")
		}
	}
	data, err := first.Bytes()
	if err != nil {
		return nil, err
	}
	merged, err := Read(data) // a copy
	if err != nil {
		return nil, err
	}
	switch first.kind {
	case KindHLL:
		return mergeHLL(sketches)
	case KindTheta:
		return Union(sketches)
	}
	for _, s := range sketches[1:] {
		switch first.kind {
		case KindKLL:
			merged.kll.Merge(s.kll)
		case KindFrequent:
			err = merged.frequent.Merge(must(s.frequent.Bytes()))
		case KindBloom:
			if !merged.bloom.IsCompatible(s.bloom) {
				return nil, fmt.Errorf("merge Bloom filters: one has %d bits, %d hashes and seed %d, another %d, %d and %d",
					merged.bloom.Capacity(), merged.bloom.NumHashes(), merged.bloom.Seed(), s.bloom.Capacity(), s.bloom.NumHashes(), s.bloom.Seed())
			}
			err = merged.bloom.Union(s.bloom)
		}
		if err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// must is for what has been read, and can be written.
func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func mergeHLL(sketches []*Any) (*Any, error) {
	most := 0
	for _, s := range sketches {
		most = max(most, s.hll.GetLgConfigK())
	}
	union, err := hll.NewUnion(most)
	if err != nil {
		return nil, err
	}
	for _, s := range sketches {
		if err := union.UpdateSketch(s.hll); err != nil {
			return nil, err
		}
	}
	result, err := union.GetResult(hll.TgtHllTypeHll4)
	return &Any{kind: KindHLL, hll: result}, err
}

// thetas are theta sketches, or an error.
func thetas(sketches []*Any) error {
	if i := slices.IndexFunc(sketches, func(s *Any) bool { return s.kind != KindTheta }); i >= 0 {
		return fmt.Errorf("set operations on a %s sketch: %w", sketches[i].kind, ErrOther)
	}
	return nil
}

// Union is the theta sketch of what is in any of several.
func Union(sketches []*Any) (_ *Any, err error) {
	defer recovered("unite theta sketches", &err)
	if err := thetas(sketches); err != nil {
		return nil, err
	}
	size := uint8(lgK) // sketches do not say theirs
	for _, s := range sketches {
		size = max(size, uint8(bits.Len32(max(s.theta.NumRetained(), 1)-1)))
	}
	union, err := theta.NewUnion(theta.WithUnionLgK(size))
	if err != nil {
		return nil, err
	}
	for _, s := range sketches {
		if err := union.Update(s.theta); err != nil {
			return nil, err
		}
	}
	result, err := union.OrderedResult()
	return &Any{kind: KindTheta, theta: result}, err
}

// Intersect is the theta sketch of what is in all of several.
func Intersect(sketches []*Any) (_ *Any, err error) {
	defer recovered("intersect theta sketches", &err)
	if err := thetas(sketches); err != nil {
		return nil, err
	}
	intersection := theta.NewIntersection()
	for _, s := range sketches {
		if err := intersection.Update(s.theta); err != nil {
			return nil, err
		}
	}
	result, err := intersection.OrderedResult()
	return &Any{kind: KindTheta, theta: result}, err
}

// Difference is the theta sketch of what is in the first of several and in none of the others.
func Difference(sketches []*Any) (_ *Any, err error) {
	defer recovered("subtract theta sketches", &err)
	if err := thetas(sketches); err != nil {
		return nil, err
	}
	if len(sketches) == 0 {
		return nil, errors.New("subtract theta sketches: there are none")
	}
	left := sketches[0].theta
	for _, s := range sketches[1:] {
		result, err := theta.ANotB(left, s.theta, theta.DefaultSeed, true)
		if err != nil {
			return nil, err
		}
		left = result
	}
	return &Any{kind: KindTheta, theta: left}, nil
}
