package stalled_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/storage/stalled"
)

func TestSilenceEndsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		c := stalled.Watch(near, time.Minute)
		go func() {
			for range 3 { // slow, and not silent
				time.Sleep(50 * time.Second)
				if _, err := far.Write([]byte("x")); err != nil {
					t.Error(err)
				}
			}
		}()
		buffer := make([]byte, 1)
		for range 3 {
			if _, err := c.Read(buffer); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if _, err := c.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("read: got %v after %s", err, time.Since(start))
		}
		start = time.Now()
		if _, err := c.Write(buffer); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("write: got %v after %s", err, time.Since(start))
		}
	})
}
