package rollout

import "math"

// BinomialTail is P(X ≥ k) for X of n tries that each come out with probability p: I_p(k, n−k+1), the regularized
// incomplete beta function (DLMF 8.17.5).
func BinomialTail(k, n int64, p float64) float64 {
	switch {
	case k <= 0:
		return 1
	case k > n || p <= 0:
		return 0
	case p >= 1:
		return 1
	}
	return betaInc(float64(k), float64(n-k+1), p)
}

// StudentTail is P(T ≥ t) for Student's t with df degrees of freedom, which need not be a whole number: for t ≥ 0 it is
// ½ I_x(df/2, ½) with x = df/(df+t²) (DLMF 8.17, Abramowitz and Stegun 26.7.1).
func StudentTail(t, df float64) float64 {
	if t < 0 {
		return 1 - StudentTail(-t, df)
	}
	return betaInc(df/2, 0.5, df/(df+t*t)) / 2
}

// betaInc is the regularized incomplete beta function I_x(a, b): the continued fraction DLMF 8.17.22 where it converges
// fast, elsewhere that of 1 − I_{1−x}(b, a).
func betaInc(a, b, x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	}
	front := math.Exp(lgamma(a+b) - lgamma(a) - lgamma(b) + a*math.Log(x) + b*math.Log1p(-x))
	if x < (a+1)/(a+b+2) {
		return front * betaFraction(a, b, x) / a
	}
	return 1 - front*betaFraction(b, a, 1-x)/b
}

func lgamma(x float64) float64 {
	value, _ := math.Lgamma(x)
	return value
}

// betaFraction evaluates the continued fraction by the modified Lentz method. It needs some √max(a,b) rounds.
func betaFraction(a, b, x float64) float64 {
	const (
		tiny   = 1e-300
		enough = 1e-15
	)
	nonzero := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/nonzero(1-(a+b)*x/(a+1))
	f := d
	rounds := 200 + int(10*math.Sqrt(max(a, b)))
	for i := 1; i <= rounds; i++ {
		m := float64(i)
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/nonzero(1+even*d), nonzero(1+even/c)
		f *= c * d
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/nonzero(1+odd*d), nonzero(1+odd/c)
		f *= c * d
		if math.Abs(c*d-1) < enough {
			break
		}
	}
	return f
}
