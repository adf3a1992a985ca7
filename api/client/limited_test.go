package client_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
)

// later answers with a status and says when to ask again, until a time has passed.
type later struct {
	status, after int
	until         time.Time
	asked         int
}

func (l *later) RoundTrip(r *http.Request) (*http.Response, error) {
	l.asked++
	status, body, header := l.status, `{"status": `+strconv.Itoa(l.status)+`, "detail": "try again"}`, http.Header{"Content-Type": {"application/problem+json"}}
	if header.Set("Retry-After", strconv.Itoa(l.after)); !time.Now().Before(l.until) {
		status, body = http.StatusOK, `{"name": "stable", "version": "1.5.0"}`
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// A server that says when to ask again is asked then, for as long as another leader may take to be there.
func TestChangesWait(t *testing.T) {
	for _, c := range []struct {
		name         string
		status       int
		after, until int // seconds
		took         int
		asked        int
		refused      bool
	}{
		{"no leader until the lost one's session has ended", http.StatusServiceUnavailable, 2, 15, 16, 9, false},
		{"too many submissions", http.StatusTooManyRequests, 10, 10, 10, 2, false},
		{"no leader at all", http.StatusServiceUnavailable, 2, 1000, 44, 23, true},
		{"longer than anybody waits", http.StatusTooManyRequests, 100, 100, 0, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				server := &later{status: c.status, after: c.after, until: begin.Add(time.Duration(c.until) * time.Second)}
				calls, err := client.New(client.Config{Server: "http://tidemill.example", HTTP: &http.Client{Transport: server}})
				if err != nil {
					t.Fatal(err)
				}
				_, err = calls.SetChannel(t.Context(), "stable", wire.SetChannel{Version: "1.5.0"})
				if took := time.Since(begin); (err != nil) != c.refused || took != time.Duration(c.took)*time.Second || server.asked != c.asked {
					t.Errorf("asked %d times in %v: %v", server.asked, took, err)
				}
			})
		})
	}
}
