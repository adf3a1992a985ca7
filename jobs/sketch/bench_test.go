package sketch_test

import (
	"fmt"
	"testing"

	"github.com/tidemill/tidemill/jobs/sketch"
)

func BenchmarkQuantiles(b *testing.B) {
	values := make([]float64, 1000)
	for i := range values {
		values[i] = float64(i * 7919 % 401)
	}
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) {
			for b.Loop() {
				q, err := sketch.NewQuantiles()
				if err != nil {
					b.Fatal(err)
				}
				q.Add(values[:n])
				if _, err := q.Bytes(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
		})
	}
	piece, err := sketch.NewQuantiles()
	if err != nil {
		b.Fatal(err)
	}
	piece.Add(values[:100])
	data, err := piece.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("merge", func(b *testing.B) {
		for b.Loop() {
			q, err := sketch.NewQuantiles()
			if err != nil {
				b.Fatal(err)
			}
			for range 4 {
				if err := q.Merge(data); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := q.Bytes(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDistinct(b *testing.B) {
	coupons := make([]uint32, 1000)
	for i := range coupons {
		coupons[i] = hash(int64(i)).Coupon()
	}
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) {
			some := make([]uint32, n)
			for b.Loop() {
				copy(some, coupons)
				var d sketch.Distinct
				d.Add(some)
				d.Bytes()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
		})
	}
}
