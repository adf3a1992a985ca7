package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// at gives a store over a bucket of a server that is made for the test.
func at(t *testing.T, handler http.HandlerFunc) *Store {
	t.Helper()
	return connect(t, Config{Endpoint: serve(t, handler), AccessKey: "a", SecretKey: storage.NewSecret("s"), PathStyle: true}).Bucket("bucket")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	const malformed = `<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-3'</Message></Error>`
	tests := []struct {
		name   string
		status int
		header map[string]string
		body   string
		kind   error
		want   string
	}{
		{"redirect", 301, map[string]string{"X-Amz-Bucket-Region": "eu-central-1"}, `<Error><Code>PermanentRedirect</Code></Error>`, storage.ErrInvalid, `in region eu-central-1: set "region"`},
		{"redirect without a region", 301, nil, "", storage.ErrInvalid, `set "region" or "endpoint"`},
		{"region in the message", 400, nil, malformed, storage.ErrInvalid, "in region eu-west-3"},
		{"clock", 403, map[string]string{"Date": time.Now().Add(-2 * time.Hour).UTC().Format(http.TimeFormat)}, `<Error><Code>RequestTimeTooSkewed</Code></Error>`, storage.ErrUnavailable, "clock: it differs by "},
	}
	for _, tt := range tests {
		s := at(t, func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range tt.header {
				w.Header().Set(name, value)
			}
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})
		_, _, err := s.Get(t.Context(), "k", storage.Range{})
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %v with %q", tt.name, err, tt.kind, tt.want)
		}
	}
}

// A machine whose clock is wrong learns the server's time from the first refusal.
func TestWrongClockIsMadeUpFor(t *testing.T) {
	var refused atomic.Int64
	s := at(t, func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Add(3 * time.Hour)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || now.Sub(signed).Abs() > 15*time.Minute {
			refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<Error><Code>RequestTimeTooSkewed</Code></Error>`)
			return
		}
		fmt.Fprint(w, "content")
	})
	for range 2 {
		if got, _, err := storage.ReadAll(t.Context(), storage.WithRetry(s, quick), "k", 100); err != nil || string(got) != "content" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if refused.Load() != 1 {
		t.Errorf("%d requests were refused, want 1", refused.Load())
	}
}

func TestRetryAfter(t *testing.T) {
	s := at(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	_, err := s.Stat(t.Context(), "k")
	if failed, ok := errors.AsType[*storage.Error](err); !ok || failed.After != 7*time.Second || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got error %#v, want one to be repeated after 7 s", err)
	}
}

// A server that knows no checksums gets writes without them, after it has said so once.
func TestServersWithoutChecksums(t *testing.T) {
	var with, without atomic.Int64
	s := at(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Checksum-Crc32c") != "" || r.Header.Get("X-Amz-Trailer") != "" {
			with.Add(1)
			w.WriteHeader(http.StatusNotImplemented)
			fmt.Fprint(w, `<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message></Error>`)
			return
		}
		without.Add(1)
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "content" {
			t.Errorf("got body %q, %v", body, err)
		}
		w.Header().Set("ETag", `"e"`)
	})
	for range 3 {
		if _, err := storage.WriteAll(t.Context(), s, "k", []byte("content"), storage.Always); err != nil {
			t.Fatal(err)
		}
	}
	if with.Load() != 1 || without.Load() != 3 {
		t.Errorf("got %d writes with a checksum and %d without, want 1 and 3", with.Load(), without.Load())
	}
}

// damaging flips a bit of every answer's body before it arrives.
func damaging(w http.ResponseWriter, _ *http.Request, forward func() *http.Response) {
	answer := forward()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	relay(w, answer, -1)
}

func TestDamageIsFound(t *testing.T) {
	bucket := newBucket(t)
	f := newFlaky(t, method(http.MethodGet), times(3, damaging)...)
	s, direct := through(t, f, bucket)
	obj := write(t, direct, "k", []byte("precious content"), storage.Always)
	if _, _, err := storage.ReadAll(t.Context(), s, "k", 100); !errors.Is(err, storage.ErrDamaged) || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("read whole: got error %v, want ErrDamaged", err)
	}
	r := storage.NewReader(t.Context(), s, obj, storage.Range{}, storage.ReadAhead{})
	if _, err := io.ReadAll(r); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("reader: got error %v, want ErrDamaged", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	body, _, err := s.Get(t.Context(), "k", storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(body); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("get: got error %v, want ErrDamaged", err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	holds(t, s, "k", []byte("precious content"))

	// On the way up the server compares.
	up := newFlaky(t, method(http.MethodPut), func(w http.ResponseWriter, r *http.Request, forward func() *http.Response) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		body[0] ^= 1
		r.Body = io.NopCloser(bytes.NewReader(body))
		pass(w, r, forward)
	})
	s, _ = through(t, up, bucket)
	write(t, s, "k", []byte("other content"), storage.Always)
	holds(t, direct, "k", []byte("other content"))
	if up.matched() != 2 {
		t.Errorf("got %d writes, want 2: the first one was damaged", up.matched())
	}
}
