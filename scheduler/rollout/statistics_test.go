package rollout

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/proto"
)

func near(got, want, relative float64) bool { return math.Abs(got-want) <= relative*math.Abs(want) }

// TestBinomialTail compares with sums of fractions in exact arithmetic.
func TestBinomialTail(t *testing.T) {
	for _, test := range []struct {
		k, n    int64
		p, want float64
	}{
		{3, 10, 0.1, 0.0701908264},
		{1, 1, 0.5, 0.5},
		{5, 5, 0.3, 0.00243},
		{40, 1000, 0.03, 0.04373437893478394},
		{2, 4, 0.005, 0.000149001875},
		{700, 10_000, 0.05, 2.2880003464659155e-18},
		{10, 12, 0.9, 0.889130022255},
		{0, 7, 0.2, 1},
		{8, 7, 0.2, 0},
		{3, 7, 0, 0},
		{3, 7, 1, 1},
	} {
		if got := BinomialTail(test.k, test.n, test.p); !near(got, test.want, 1e-9) {
			t.Errorf("P(X >= %d) of %d with %g = %.15g, want %.15g", test.k, test.n, test.p, got, test.want)
		}
	}
}

// TestBinomialTailSums compares with the sum of the probabilities themselves.
func TestBinomialTailSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 3000).Draw(t, "n")
		k := rapid.Int64Range(0, n).Draw(t, "k")
		p := rapid.Float64Range(1e-6, 1-1e-6).Draw(t, "p")
		want := 0.0
		for i := k; i <= n; i++ {
			x, all := float64(i), float64(n)
			want += math.Exp(lgamma(all+1) - lgamma(x+1) - lgamma(all-x+1) + x*math.Log(p) + (all-x)*math.Log1p(-p))
		}
		if got := BinomialTail(k, n, p); math.Abs(got-want) > 1e-9 {
			t.Fatalf("P(X >= %d) of %d with %g = %.15g, want %.15g", k, n, p, got, want)
		}
	})
}

// TestStudentTail compares with the closed form for one degree of freedom, with a table, and with integrals of the density.
func TestStudentTail(t *testing.T) {
	for _, test := range []struct{ t, df, want, within float64 }{
		{1, 1, 0.25, 1e-12},
		{31.8205, 1, 0.01, 1e-5},
		{6.9646, 2, 0.01, 1e-4},
		{2.7638, 10, 0.009999475885021425, 1e-9},
		{2.5, 7.3, 0.019825117332809505, 1e-9},
		{3, 25, 0.0030190897825693175, 1e-9},
		{0.5, 3, 0.3257239824240795, 1e-9},
		{-0.5, 3, 1 - 0.3257239824240795, 1e-9},
		{2.3263, 1e8, 0.01, 1e-3}, // the normal distribution's
		{0, 4, 0.5, 1e-12},
	} {
		if got := StudentTail(test.t, test.df); !near(got, test.want, test.within) {
			t.Errorf("P(T >= %g) with %g degrees of freedom = %.15g, want %.15g", test.t, test.df, got, test.want)
		}
	}
}

func spread(values ...float64) proto.Spread {
	var s proto.Spread
	for _, x := range values {
		add(&s, x)
	}
	return s
}

// TestWelch compares one job with Welch's test worked out by hand, and holds that several jobs are weighted by new runs.
func TestWelch(t *testing.T) {
	a := spread(27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4)
	b := spread(27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.4)
	pick := func(s *proto.Sample) *proto.Spread { return &s.Duration }
	one := &proto.Tally{Job: "a", Old: proto.Sample{Duration: a}, New: proto.Sample{Duration: b}}
	d := compare(slices.Values([]*proto.Tally{one}), pick)
	if !near(d.mean, 23.653333333333332-20.82, 1e-12) {
		t.Errorf("difference %g", d.mean)
	}
	if df := d.variance * d.variance / d.parts; !near(df, 27.88730398842012, 1e-9) {
		t.Errorf("%g degrees of freedom", df)
	}
	if got := d.mean / math.Sqrt(d.variance); !near(got, 2.852954870171521, 1e-9) {
		t.Errorf("t = %g", got)
	}
	if got := d.chance(); !near(got, 0.008071938172209858/2, 1e-6) {
		t.Errorf("chance %g", got)
	}
	// A job with three times as many new runs and no difference, and one with too few runs.
	same := &proto.Tally{Old: proto.Sample{Duration: proto.Spread{Count: 45, Mean: 1, Squares: 44}}, New: proto.Sample{Duration: proto.Spread{Count: 45, Mean: 1, Squares: 44}}}
	few := &proto.Tally{Old: proto.Sample{Duration: spread(1, 1, 1, 1)}, New: proto.Sample{Duration: spread(9, 9, 9, 9, 9, 9)}}
	all := compare(slices.Values([]*proto.Tally{one, same, few}), pick)
	if !near(all.mean, d.mean/4, 1e-9) {
		t.Errorf("difference of all %g, want %g", all.mean, d.mean/4)
	}
	if want := (d.variance + 9*2.0/45) / 16; !near(all.variance, want, 1e-9) {
		t.Errorf("variance of all %g, want %g", all.variance, want)
	}
	if got := compare(slices.Values([]*proto.Tally{few}), pick); got != (difference{}) || got.ratio() != 1 || got.chance() != 1 {
		t.Errorf("too few runs say %+v", got)
	}
	exact := difference{mean: 0.1}
	if exact.chance() != 0 {
		t.Errorf("a difference without any spread has chance %g", exact.chance())
	}
}

// TestSums: sums kept up to date are those of the tallies as they are, whatever the order.
func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tallies := make([]proto.Tally, 5)
		sums := NewSums(&proto.RolloutPlan{MaxFailureRatio: 1.5})
		for range rapid.IntRange(0, 200).Draw(t, "runs") {
			at := &tallies[rapid.IntRange(0, 4).Draw(t, "job")]
			sums.Remove(at)
			s := &at.Old
			if rapid.Bool().Draw(t, "new") {
				s = &at.New
			}
			Count(s, Outcome{Failed: rapid.Bool().Draw(t, "failed")})
			sums.Add(at)
		}
		again := NewSums(&proto.RolloutPlan{MaxFailureRatio: 1.5})
		want, allowed := 0.0, 0.0
		for i := range slices.Backward(tallies) {
			again.Add(&tallies[i])
			n, p := float64(tallies[i].New.Runs), (float64(tallies[i].Old.Failed)+0.5)/(float64(tallies[i].Old.Runs)+1)
			want += n * p
			allowed += n * min(1, 1.5*p)
		}
		if sums != again {
			t.Fatalf("kept up to date %+v, added up %+v", sums, again)
		}
		if math.Abs(sums.Expected()-want) > 1e-7 || math.Abs(sums.Allowed()-allowed) > 1e-7 {
			t.Fatalf("%g failures are expected and %g allowed, want %g and %g", sums.Expected(), sums.Allowed(), want, allowed)
		}
	})
}
