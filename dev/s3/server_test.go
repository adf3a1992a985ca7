package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	devs3 "github.com/tidemill/tidemill/dev/s3"
)

func TestStartServesAndStops(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(),
		// fasthttp leaves these two asleep, whatever one does; neither holds anything of the server's.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	output := captureOutput(t)
	for range 2 { // a second server over the same folder finds what the first one left
		s, err := devs3.Start(t.Context(), devs3.Config{DataDir: dir, AccessKey: "who", SecretKey: "never-printed"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CreateBucket(t.Context(), "flights"); err != nil {
			t.Fatal(err)
		}
		response, err := http.Get(s.URL() + "/flights/missing")
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := response.StatusCode, http.StatusForbidden; got != want {
			t.Errorf("unsigned request: got status %d, want %d", got, want)
		}
		start := time.Now()
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("stop took %s", took)
		}
		if _, err := http.Get(s.URL()); err == nil {
			t.Error("still answers after stop")
		}
	}
	if got := output(); got != "" {
		t.Errorf("got output %q, want none", got)
	}
	if after, err := os.Getwd(); err != nil || after != before {
		t.Errorf("got working directory %q (%v), want %q", after, err, before)
	}
}

func TestStartRefuses(t *testing.T) {
	tests := []struct {
		name   string
		config devs3.Config
		want   string
	}{
		{"relative folder", devs3.Config{DataDir: "data"}, "absolute"},
		{"half a pair of keys", devs3.Config{DataDir: t.TempDir(), AccessKey: "a"}, "both"},
		{"not loopback", devs3.Config{DataDir: t.TempDir(), Address: "0.0.0.0:0"}, "loopback"},
		{"no port", devs3.Config{DataDir: t.TempDir(), Address: "127.0.0.1"}, "missing port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := devs3.Start(t.Context(), tt.config)
			if err == nil {
				t.Fatal(s.Stop())
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %q, want one with %q", err, tt.want)
			}
		})
	}
}

func TestStartWithCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := devs3.Start(ctx, devs3.Config{DataDir: t.TempDir()})
	if err == nil { // it may have listened before it looked at the context
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}

// captureOutput collects standard output and standard error until the function
// that it returns is called.
func captureOutput(t *testing.T) func() string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = f, f
	restore := func() { os.Stdout, os.Stderr = stdout, stderr }
	t.Cleanup(restore)
	return func() string {
		restore()
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}
