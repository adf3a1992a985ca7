package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
)

// An upload that a server could not take just now is sent again, from its beginning.
func TestRegisterAgain(t *testing.T) {
	var calls atomic.Int32
	c, _ := connect(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		switch calls.Add(1) {
		case 1: // before it has seen anything of it
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2: // in the middle
			_, _ = io.CopyN(io.Discard, r.Body, 100_000) // the client sees the broken connection
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	})
	content := strings.Repeat("an executor ", 100_000)
	var last, beginnings int64
	up := client.Upload{Version: "2.0.0", Platform: "linux-amd64", File: strings.NewReader(content), Progress: func(sent, size int64) {
		if sent < last {
			beginnings++
		}
		if last = sent; size != int64(len(content)) {
			t.Errorf("got size %d", size)
		}
	}}
	executor, created, err := c.Register(t.Context(), up)
	if err != nil || !created || executor.Artifacts[0].Size != int64(len(content)) {
		t.Fatalf("got %+v, %v, %v", executor, created, err)
	}
	if calls.Load() != 3 || last != int64(len(content)) || beginnings == 0 {
		t.Errorf("%d calls; %d of %d bytes at last, begun anew %d times", calls.Load(), last, len(content), beginnings)
	}
}

// What is refused is not sent, and not tried again.
func TestRegisterIsRefusedUnread(t *testing.T) {
	var calls atomic.Int32
	c, _ := connect(t, func(http.ResponseWriter, *http.Request) bool { calls.Add(1); return false })
	sent := int64(0)
	_, _, err := c.Register(t.Context(), client.Upload{
		Version: "1.4.0", Platform: "linux-amd64", File: strings.NewReader(strings.Repeat("x", 1<<20)),
		Sign:     func(sum string) []byte { return []byte(sum) },
		Progress: func(n, _ int64) { sent = n },
	})
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("got %v", err)
	}
	if sent != 0 || calls.Load() != 1 {
		t.Errorf("%d bytes were sent in %d calls", sent, calls.Load())
	}
}

// A file that cannot be read is no matter of the server's.
func TestRegisterCannotRead(t *testing.T) {
	c, _ := connect(t, func(http.ResponseWriter, *http.Request) bool { t.Error("the server was asked"); return false })
	_, _, err := c.Register(t.Context(), client.Upload{Version: "2.0.0", Platform: "linux-amd64", File: broken{}})
	if err == nil || errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), "read executor") {
		t.Errorf("got %v", err)
	}
}

type broken struct{}

func (broken) Seek(int64, int) (int64, error)    { return 100, nil }
func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("bad sector") }

func TestChannelCalls(t *testing.T) {
	c, _ := connect(t, nil)
	ctx := t.Context()
	if _, _, err := c.Register(ctx, client.Upload{Version: "1.5.0", Platform: "linux-amd64", File: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	channel, err := c.SetChannel(ctx, "stable", wire.SetChannel{Version: "1.5.0", Rollout: &wire.RolloutPlan{Steps: []int{30, 100}, Interval: "1ms"}})
	if err != nil || channel.Rollout == nil || channel.Rollout.Share != 30 || channel.Rollout.Plan.Interval != "1ms" {
		t.Fatalf("set: got %+v, %v", channel, err)
	}
	if r, err := c.SteerRollout(ctx, "stable", "pause", wire.SteerRollout{Rollout: 1, Reason: "lunch"}); err != nil || r.State != "paused" {
		t.Errorf("pause: got %+v, %v", r, err)
	}
	var refused *wire.Error
	if _, err := c.SteerRollout(ctx, "stable", "abort", wire.SteerRollout{Rollout: 2}); !errors.As(err, &refused) || refused.Status != 409 {
		t.Errorf("another rollout: got %v", err)
	}
	if r, err := c.SteerRollout(ctx, "stable", "abort", wire.SteerRollout{}); err != nil || r.State != "aborted" {
		t.Errorf("abort: got %+v, %v", r, err)
	}
	if channel, err := c.Channel(ctx, "stable"); err != nil || channel.Version != "1.4.0" || len(channel.Rollout.Events) != 3 {
		t.Errorf("channel: got %+v, %v", channel, err)
	}
	if n := count(t, c.Rollouts(ctx, "stable")); n != 1 {
		t.Errorf("rollouts: got %d", n)
	}
	if _, err := c.DeleteChannel(ctx, "stable"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := c.Channel(ctx, "stable"); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("deleted channel: got %v", err)
	}
}
