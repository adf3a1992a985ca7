package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
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
