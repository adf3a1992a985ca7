package s3

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// answering gives each request its status in turn.
type answering []int

func (a *answering) RoundTrip(*http.Request) (*http.Response, error) {
	status := (*a)[0]
	*a = (*a)[1:]
	return &http.Response{StatusCode: status, Body: http.NoBody}, nil
}

func TestRequestsWaitWhileTheServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		statuses := answering{200, 503, 429, 503, 404, 200}
		for range 60 {
			statuses = append(statuses, 200)
		}
		n := len(statuses)
		p := &paced{next: &statuses}
		var waits []time.Duration
		for range n {
			start := time.Now()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://s3/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.RoundTrip(request); err != nil {
				t.Fatal(err)
			}
			waits = append(waits, time.Since(start))
		}
		for i, most := range []time.Duration{0, 0, firstGap, 2 * firstGap, 4 * firstGap, 4 * firstGap, 4 * firstGap * 7 / 8} {
			if waits[i] < most/2 || waits[i] > most {
				t.Errorf("request %d waited %s, want %s to %s", i, waits[i], most/2, most)
			}
		}
		if waits[n-1] != 0 {
			t.Errorf("the last request waited %s", waits[n-1])
		}
		for range 30 {
			p.learn(http.StatusServiceUnavailable)
		}
		if p.wait() != largestGap {
			t.Errorf("got a wait of %s, want %s", p.wait(), largestGap)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://s3/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.RoundTrip(request); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want the context's", err)
		}
	})
}
