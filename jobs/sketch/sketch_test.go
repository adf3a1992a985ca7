package sketch_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/apache/datasketches-go/filters"
	"github.com/apache/datasketches-go/hll"
	"github.com/apache/datasketches-go/theta"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs/sketch"
)

func hash(value any) sketch.Hash {
	var buffer [8]byte
	switch v := value.(type) {
	case string:
		return sketch.HashOf(sketch.Text([]byte(v)))
	case int64:
		return sketch.HashOf(sketch.Long(v, &buffer))
	case float64:
		return sketch.HashOf(sketch.Double(v, &buffer))
	}
	panic(fmt.Sprintf("no hash of %T", value))
}

func distinct(values ...any) *sketch.Distinct {
	coupons := make([]uint32, len(values))
	for i, v := range values {
		coupons[i] = hash(v).Coupon()
	}
	d := &sketch.Distinct{}
	d.Add(coupons)
	return d
}

func estimate(t interface{ Fatal(...any) }, d *sketch.Distinct) int64 {
	n, err := d.Estimate()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFewValuesAreExact(t *testing.T) {
	for _, test := range []struct {
		values []any
		want   int64
	}{
		{nil, 0},
		{[]any{"", "a", "", "a"}, 2},
		{[]any{int64(0), int64(-1), int64(math.MaxInt64)}, 3},
		{[]any{0.0, math.Copysign(0, -1), math.NaN(), -math.NaN(), math.Inf(1)}, 3},
		{[]any{"1", int64(1), 1.0}, 3},
	} {
		if got := estimate(t, distinct(test.values...)); got != test.want {
			t.Errorf("%v: got %d, want %d", test.values, got, test.want)
		}
		var s sketch.Theta
		for _, v := range test.values {
			s.Add([]uint64{hash(v).Theta()})
		}
		if got := s.Estimate(); got != test.want {
			t.Errorf("%v: the theta sketch estimates %d, want %d", test.values, got, test.want)
		}
	}
}

// Others who use DataSketches must find the same hashes, and the same registers.
func TestDistinctIsThatOfDataSketches(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 100, 127, 128, 129, 130, 131, 5000, 200_000} {
		theirs, err := hll.NewHllSketch(12, hll.TgtHllTypeHll4)
		if err != nil {
			t.Fatal(err)
		}
		var values []any
		for i := range n {
			text, long, double := fmt.Sprintf("text %d", i), int64(i*7919), float64(i)/3+0.1
			values = append(values, text, long, double)
			for _, err := range []error{theirs.UpdateString(text), theirs.UpdateInt64(long), theirs.UpdateUInt64(math.Float64bits(double))} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		union, err := hll.NewUnion(12)
		if err != nil {
			t.Fatal(err)
		}
		if err := union.UpdateSketch(theirs); err != nil {
			t.Fatal(err)
		}
		want, err := union.GetCompositeEstimate()
		if err != nil {
			t.Fatal(err)
		}
		d := distinct(values...)
		if got := estimate(t, d); got != int64(math.Round(want)) {
			t.Errorf("%d values: got %d, want %.2f", 3*n, got, want)
		}
		data, err := d.Published()
		if err != nil {
			t.Fatal(err)
		}
		read, err := hll.NewHllSketchFromSlice(data, true)
		if err != nil {
			t.Fatalf("%d values: %v", 3*n, err)
		}
		if got, err := read.GetCompositeEstimate(); err != nil || got != want {
			t.Errorf("%d values: what is published estimates %.2f, want %.2f (%v)", 3*n, got, want, err)
		}
		if err := union.UpdateSketch(read); err != nil {
			t.Fatal(err)
		}
		if got, err := union.GetCompositeEstimate(); err != nil || got != want {
			t.Errorf("%d values: merged with theirs %.2f, want %.2f (%v)", 3*n, got, want, err)
		}
	}
}

// What is merged in any order out of any parts is what one sketch of all values holds, to the byte.
func TestSetsMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 8, 100, 383, 384, 385, 1600, 4096, 4097, 20_000}).Draw(rt, "values")
		parts := rapid.IntRange(1, 6).Draw(rt, "parts")
		overlap := rapid.Bool().Draw(rt, "overlap")
		coupons, hashes, filterHashes := make([][]uint32, parts), make([][]uint64, parts), make([][]sketch.FilterHash, parts)
		var buffer [8]byte
		for i := range n {
			for copy := range 2 {
				p := (i*(1+30*copy) + copy) % parts
				if copy == 1 && !overlap {
					break
				}
				value := sketch.Long(int64(i), &buffer)
				h := sketch.HashOf(value)
				coupons[p], hashes[p] = append(coupons[p], h.Coupon()), append(hashes[p], h.Theta())
				filterHashes[p] = append(filterHashes[p], sketch.FilterHashOf(value))
			}
		}
		type set interface {
			Merge(data []byte) error
			Bytes() []byte
		}
		check := func(name string, begin func() set, add func(s set, p int)) {
			whole, merged := begin(), begin()
			for p := range parts {
				add(whole, p)
			}
			for _, p := range rapid.Permutation(indexes(parts)).Draw(rt, name) {
				piece := begin()
				add(piece, p)
				if err := merged.Merge(piece.Bytes()); err != nil {
					rt.Fatal(err)
				}
			}
			if !bytes.Equal(merged.Bytes(), whole.Bytes()) {
				rt.Fatalf("%s of %d values in %d parts: it differs from one of all", name, n, parts)
			}
		}
		check("HLL", func() set { return &sketch.Distinct{} }, func(s set, p int) { s.(*sketch.Distinct).Add(slices.Clone(coupons[p])) })
		check("theta", func() set { return &sketch.Theta{} }, func(s set, p int) { s.(*sketch.Theta).Add(hashes[p]) })
		check("Bloom", func() set { return sketch.NewFilter(5000, 0.01) }, func(s set, p int) { s.(*sketch.Filter).Add(filterHashes[p]) })

		var all sketch.Theta
		for p := range parts {
			all.Add(hashes[p])
		}
		if off := math.Abs(float64(all.Estimate()) - float64(n)); n <= 4096 && off > 0 || off > 0.08*float64(n) {
			rt.Fatalf("%d values: the theta sketch estimates %d", n, all.Estimate())
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestThetaIsThatOfDataSketches(t *testing.T) {
	for _, n := range []int{0, 1, 2, 4096, 4097, 100_000} {
		var ours sketch.Theta
		theirs, err := theta.NewQuickSelectUpdateSketch(theta.WithUpdateSketchLgK(12))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			ours.Add([]uint64{hash(int64(i)).Theta()})
			if err := theirs.UpdateInt64(int64(i)); err != nil && err != theta.ErrDuplicateKey {
				continue // its hash is too large: the library says so by an error
			}
		}
		theirs.Trim()
		want, err := theirs.CompactOrdered().MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if got := ours.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%d values: the bytes differ:\n%x\n%x", n, got[:min(len(got), 40)], want[:min(len(want), 40)])
		}
	}
}

func TestFilterIsThatOfDataSketches(t *testing.T) {
	theirs, err := filters.NewBloomFilterByAccuracy(1000, 0.01, filters.WithSeed(9001))
	if err != nil {
		t.Fatal(err)
	}
	ours := sketch.NewFilter(1000, 0.01)
	if read, err := filters.NewBloomFilterFromSlice(ours.Published()); err != nil || !read.IsEmpty() {
		t.Errorf("an empty filter is read as %v, %v", read, err)
	}
	var buffer [8]byte
	for i := range 1000 {
		text := fmt.Sprintf("text %d, which is more than 32 bytes long", i)
		ours.Add([]sketch.FilterHash{
			sketch.FilterHashOf(sketch.Text([]byte(text))), sketch.FilterHashOf(sketch.Long(int64(i), &buffer)), sketch.FilterHashOf(sketch.Double(float64(i)/2, &buffer)),
		})
		for _, err := range []error{theirs.UpdateString(text), theirs.UpdateInt64(int64(i)), theirs.UpdateFloat64(float64(i) / 2)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := theirs.ToCompactSlice()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours.Published(), want) {
		t.Error("the bytes differ")
	}
}

func TestQuantilesMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 150, 1000, 20_000}).Draw(rt, "values")
		parts := rapid.IntRange(1, 5).Draw(rt, "parts")
		merged, err := sketch.NewQuantiles()
		if err != nil {
			rt.Fatal(err)
		}
		var all []float64
		for p := range parts {
			piece, err := sketch.NewQuantiles()
			if err != nil {
				rt.Fatal(err)
			}
			for i := p; i < n; i += parts {
				v := math.Sqrt(float64(i * 7919 % n))
				piece.Add([]float64{v, math.NaN()})
				all = append(all, v)
			}
			data, err := piece.Bytes()
			if err != nil {
				rt.Fatal(err)
			}
			if err := merged.Merge(data); err != nil {
				rt.Fatal(err)
			}
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.01, 0.5, 0.95, 1} {
			v, ok, err := merged.At(q)
			if err != nil || !ok {
				rt.Fatalf("rank %g: %t, %v", q, ok, err)
			}
			below, _ := slices.BinarySearch(all, v)
			upTo, _ := slices.BinarySearch(all, math.Nextafter(v, math.Inf(1)))
			slack, rank := 0.05*float64(len(all))+1, q*float64(len(all))
			if float64(below) > rank+slack || float64(upTo) < rank-slack {
				rt.Fatalf("rank %g of %d: got %g, which stands at %d to %d", q, len(all), v, below, upTo)
			}
		}
	})
	empty, err := sketch.NewQuantiles()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := empty.At(0.5); ok || err != nil {
		t.Errorf("of nothing: got %t, %v", ok, err)
	}
	data, err := empty.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.Merge(data); err != nil {
		t.Errorf("nothing merged with nothing: %v", err)
	}
}

// Counts are exact while there is room for all items, and else within the bound.
func TestFrequentItemsMerge(t *testing.T) {
	for _, different := range []int{0, 1, 700, 20_000} {
		for _, longs := range []bool{true, false} {
			merged, err := sketch.NewFrequent(10, longs)
			if err != nil {
				t.Fatal(err)
			}
			counts := map[int]int64{}
			var total int64
			for part := range 4 {
				piece, err := sketch.NewFrequent(10, longs)
				if err != nil {
					t.Fatal(err)
				}
				for i := range different {
					times := int64(1 + 1_000_000/((i+1)*(i+1)) + part)
					counts[i], total = counts[i]+times, total+times
					if longs {
						err = piece.AddLong(int64(i), times)
					} else {
						err = piece.AddText(fmt.Sprintf("é%d", i), times)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				data, err := piece.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				if err := merged.Merge(data); err != nil {
					t.Fatal(err)
				}
			}
			items, err := merged.Top(10)
			if err != nil {
				t.Fatal(err)
			}
			if len(items) != min(different, 10) {
				t.Fatalf("%d different ones: got %d items", different, len(items))
			}
			for rank, item := range items {
				value := int(item.Long)
				if !longs {
					if _, err := fmt.Sscanf(item.Text, "é%d", &value); err != nil {
						t.Fatal(err)
					}
				}
				want := counts[value]
				if value != rank || item.Lower > want || item.Count < want || float64(item.Count-want) > 3.5/1024*float64(total) || different < 768 && item.Count != want {
					t.Errorf("%d different ones: rank %d is %d with %d to %d, of %d", different, rank, value, item.Lower, item.Count, want)
				}
			}
		}
	}
}

// Other sketches, and other bytes, are refused.
func TestOthersAreRefused(t *testing.T) {
	small, err := hll.NewHllSketch(10, hll.TgtHllTypeHll8)
	if err != nil {
		t.Fatal(err)
	}
	other, err := small.ToCompactSlice()
	if err != nil {
		t.Fatal(err)
	}
	var set sketch.Theta
	set.Add([]uint64{hash("a").Theta(), hash("b").Theta()})
	quantiles, err := sketch.NewQuantiles()
	if err != nil {
		t.Fatal(err)
	}
	frequent, err := sketch.NewFrequent(5, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("some text that is no sketch"), "another size": other, "half": set.Bytes()[:len(set.Bytes())-3],
	} {
		for _, s := range []interface{ Merge([]byte) error }{&sketch.Distinct{}, &sketch.Theta{}, quantiles, frequent, sketch.NewFilter(1000, 0.1)} {
			if s.Merge(data) == nil {
				t.Errorf("%s is taken for a %T", name, s)
			}
		}
	}
}
