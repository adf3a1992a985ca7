package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServeStops: told to stop, the service ends with success, whether or not there is a Mesos.
func TestServeStops(t *testing.T) {
	clean(t)
	data := filepath.Join(t.TempDir(), "data")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--log-level", "error",
			"--mesos-master", "http://127.0.0.1:1", "--mesos-user", "nobody"}, nil, &out, &errs)
	}()
	limit := time.After(20 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(data, "tidemill.db")); err == nil {
			break
		}
		select {
		case code := <-ended:
			t.Fatalf("ended with %d: %s", code, errs.String())
		case <-limit:
			t.Fatal("the service did not make its data directory")
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	select {
	case code := <-ended:
		if code != exitOK || out.Len() > 0 || errs.Len() > 0 {
			t.Errorf("got %d, %q, %q", code, out.String(), errs.String())
		}
	case <-limit:
		t.Fatal("the service did not stop")
	}
}

// TestServeRefused: what another start would not mend has an exit code of its own, which systemd is told about.
func TestServeRefused(t *testing.T) {
	clean(t)
	master := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer master.Close()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var out, errs bytes.Buffer
	code := execute(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(t.TempDir(), "data"), "--log-level", "error",
		"--mesos-master", master.URL, "--mesos-user", "nobody"}, nil, &out, &errs)
	if code != exitFinal || !strings.Contains(errs.String(), "--mesos-principal") {
		t.Errorf("got %d, %q, want %d and the flags", code, errs.String(), exitFinal)
	}
}
