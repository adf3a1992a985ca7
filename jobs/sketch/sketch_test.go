package sketch_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/apache/datasketches-go/hll"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/executor/aggregate/sketch"
)

func distinct(t testing.TB, values ...any) *sketch.Distinct {
	t.Helper()
	d, err := sketch.NewDistinct()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := d.Update(v); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func estimate(t testing.TB, d *sketch.Distinct) int64 {
	t.Helper()
	n, err := d.Estimate()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func encoded(t testing.TB, d *sketch.Distinct) []byte {
	t.Helper()
	data, err := d.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFewValuesAreExact(t *testing.T) {
	for _, test := range []struct {
		values []any
		want   int64
	}{
		{nil, 0},
		{[]any{nil, nil}, 0},
		{[]any{"", "a", "", "a"}, 2},
		{[]any{int64(0), int64(-1), int64(math.MaxInt64)}, 3},
		{[]any{0.0, math.Copysign(0, -1), math.NaN(), -math.NaN(), math.Inf(1)}, 3},
		{[]any{"1", int64(1), 1.0}, 3},
	} {
		if got := estimate(t, distinct(t, test.values...)); got != test.want {
			t.Errorf("%v: got %d, want %d", test.values, got, test.want)
		}
	}
	if err := distinct(t).Update(true); err == nil {
		t.Error("a value of a kind that it does not take is no error")
	}
}

// Others who use DataSketches must find the same hashes.
func TestHashesAreThoseOfDataSketches(t *testing.T) {
	theirs, err := hll.NewHllSketch(12, hll.TgtHllTypeHll4)
	if err != nil {
		t.Fatal(err)
	}
	var values []any
	for i := range 5000 {
		text, long, double := fmt.Sprintf("text %d", i), int64(i*7919), float64(i)/3+0.1
		values = append(values, text, long, double)
		if err := theirs.UpdateString(text); err != nil {
			t.Fatal(err)
		}
		if err := theirs.UpdateInt64(long); err != nil {
			t.Fatal(err)
		}
		if err := theirs.UpdateUInt64(math.Float64bits(double)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := theirs.ToCompactSlice()
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, distinct(t, values...)); !bytes.Equal(got, want) {
		t.Error("the sketches differ")
	}
}

// However values are divided, and in whatever order, the merged estimate is that of one sketch of them all.
func TestDistinctMerges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 5, 8, 9, 100, 383, 384, 385, 600, 5000, 40_000}).Draw(rt, "values")
		parts := rapid.IntRange(1, 6).Draw(rt, "parts")
		overlap := rapid.Bool().Draw(rt, "overlap")
		whole := distinct(t)
		pieces := make([]*sketch.Distinct, parts)
		for p := range pieces {
			pieces[p] = distinct(t)
		}
		for i := range n {
			if err := whole.Update(int64(i)); err != nil {
				rt.Fatal(err)
			}
			if err := pieces[i%parts].Update(int64(i)); err != nil {
				rt.Fatal(err)
			}
			if overlap {
				if err := pieces[(i*31)%parts].Update(int64(i)); err != nil {
					rt.Fatal(err)
				}
			}
		}
		union, err := sketch.NewDistinctUnion()
		if err != nil {
			rt.Fatal(err)
		}
		for _, p := range rapid.Permutation(pieces).Draw(rt, "order") {
			if err := union.Merge(encoded(t, p)); err != nil {
				rt.Fatal(err)
			}
		}
		merged, err := union.Result()
		if err != nil {
			rt.Fatal(err)
		}
		got, want := estimate(t, merged), estimate(t, whole)
		if got != want {
			rt.Fatalf("%d values in %d parts: got %d, one sketch has %d", n, parts, got, want)
		}
		if math.Abs(float64(got-int64(n))) > 0.08*float64(n) { // five standard deviations
			rt.Fatalf("%d values: got %d", n, got)
		}
		again, err := sketch.NewDistinctUnion()
		if err != nil {
			rt.Fatal(err)
		}
		if err := again.Merge(encoded(t, merged)); err != nil {
			rt.Fatal(err)
		}
		if r, err := again.Result(); err != nil || estimate(t, r) != want {
			rt.Fatalf("written and read back: %v", err)
		}
	})
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
				piece.Update(v, 1+int64(i%3))
				for range 1 + i%3 {
					all = append(all, v)
				}
			}
			piece.Update(math.NaN(), 5)
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

// Other sketches, and other bytes, are refused before the library trusts them.
func TestOthersAreRefused(t *testing.T) {
	small, err := hll.NewHllSketch(10, hll.TgtHllTypeHll4)
	if err != nil {
		t.Fatal(err)
	}
	other, err := small.ToCompactSlice()
	if err != nil {
		t.Fatal(err)
	}
	quantiles, err := sketch.NewQuantiles()
	if err != nil {
		t.Fatal(err)
	}
	data, err := quantiles.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"nothing": nil, "text": []byte("some text that is no sketch"), "another size": other, "another kind": data} {
		union, err := sketch.NewDistinctUnion()
		if err != nil {
			t.Fatal(err)
		}
		if union.Merge(data) == nil {
			t.Errorf("%s is taken for an HLL sketch", name)
		}
	}
	for name, data := range map[string][]byte{"nothing": nil, "text": []byte("some text that is no sketch"), "another kind": encoded(t, distinct(t, "a"))} {
		if quantiles.Merge(data) == nil {
			t.Errorf("%s is taken for a KLL sketch", name)
		}
	}
}
