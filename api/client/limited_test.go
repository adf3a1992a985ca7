package client_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A submission that comes too soon is sent again when the server says so.
func TestSubmissionsWait(t *testing.T) {
	var asked atomic.Int32
	c, _ := connect(t, func(w http.ResponseWriter, r *http.Request) bool {
		if asked.Add(1) > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	begin := time.Now()
	if _, created, err := c.Submit(t.Context(), []byte(spec)); err != nil || !created {
		t.Errorf("got %v, %v", created, err)
	}
	if took := time.Since(begin); asked.Load() != 2 || took < time.Second {
		t.Errorf("asked %d times in %v", asked.Load(), took)
	}
}
