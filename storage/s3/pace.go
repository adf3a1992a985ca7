package s3

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	firstGap   = 25 * time.Millisecond
	largestGap = 2 * time.Second
	leastGap   = 5 * time.Millisecond
)

// paced lets all requests of a client wait before they are sent while the server says that it gets too many: each one
// that is refused so doubles the wait, each that passes shortens it. Retries alone would only send the same load again.
type paced struct {
	next http.RoundTripper

	mu  sync.Mutex
	gap time.Duration // each request waits half of it to all of it; 0 while nothing is refused
}

// RoundTrip implements http.RoundTripper.
func (p *paced) RoundTrip(r *http.Request) (*http.Response, error) {
	if gap := p.wait(); gap > 0 {
		timer := time.NewTimer(gap/2 + rand.N(gap/2))
		select {
		case <-timer.C:
		case <-r.Context().Done():
			timer.Stop()
			if r.Body != nil {
				_ = r.Body.Close() // as a RoundTripper has to; what it was for has ended
			}
			return nil, r.Context().Err()
		}
	}
	answer, err := p.next.RoundTrip(r)
	if err == nil {
		p.learn(answer.StatusCode)
	}
	return answer, err
}

func (p *paced) wait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gap
}

func (p *paced) learn(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		p.gap = min(max(2*p.gap, firstGap), largestGap)
	case status < 300 && p.gap > 0:
		if p.gap = p.gap * 7 / 8; p.gap < leastGap {
			p.gap = 0
		}
	}
}
