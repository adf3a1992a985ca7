package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/scheduler/store"
)

// TestTearDown: only the operator's command ends what runs and the framework. A scheduler that comes back afterwards on
// a copy that still knows the framework does not register anew by itself; one whose store has forgotten it does.
func TestTearDown(t *testing.T) {
	l := newLab(t, nil)
	l.cfg.Logger = slog.New(slog.DiscardHandler)
	l.cfg.Executor.KillGrace = 100 * time.Millisecond // which the cluster waits for in the end
	url, stop := l.run()
	c := l.client(url)
	l.register(c)
	run := l.submit(c, filepath.Join(l.dir, "gate"))
	l.until(c, run.ID, "map tasks to run", mapsRun)
	id := l.awaitFramework(c)
	if _, err := Teardown(t.Context(), l.cfg); !errors.Is(err, store.ErrInUse) {
		t.Errorf("while the scheduler runs: got %v, want %v", err, store.ErrInUse)
	}
	stop()

	var backup bytes.Buffer
	if err := Export(t.Context(), l.cfg, &backup); err != nil {
		t.Fatal(err)
	}
	shown, err := ShowFramework(t.Context(), l.cfg)
	if err != nil || shown.ID != id || len(shown.Attempts) != splits || shown.Runs != 1 || shown.Registered.IsZero() {
		t.Errorf("show: got %+v, %v", shown, err)
	}
	if all := l.frameworks(); len(all) != 1 || all[0].ID != id {
		t.Errorf("frameworks before: got %+v", all)
	}
	torn, err := Teardown(t.Context(), l.cfg)
	if err != nil || torn.ID != id || len(torn.Attempts) != splits {
		t.Fatalf("tear down: got %+v, %v", torn, err)
	}
	if all := l.frameworks(); len(all) != 0 {
		t.Errorf("frameworks after: got %+v", all)
	}
	if _, err := ShowFramework(t.Context(), l.cfg); !errors.Is(err, ErrNoFramework) {
		t.Errorf("show after: got %v, want %v", err, ErrNoFramework)
	}

	// The backup still knows the framework: whoever starts on it is told so and ends.
	restored := l.cfg
	restored.DataDir = filepath.Join(l.dir, "restored")
	if _, err := Import(t.Context(), restored, &backup, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Run(ctx, restored); !errors.Is(err, mesos.ErrRemoved) {
		t.Errorf("a scheduler on the backup: got %v, want %v", err, mesos.ErrRemoved)
	}
	if all := l.frameworks(); len(all) != 0 {
		t.Errorf("it registered anew: got %+v", all)
	}
	if f, err := ForgetFramework(t.Context(), restored); err != nil || f.ID != id {
		t.Errorf("forget: got %+v, %v", f, err)
	}
	l.cfg = restored
	url, _ = l.run()
	if got := l.awaitFramework(l.client(url)); got == id {
		t.Errorf("the forgotten framework %s is used again", got)
	}
}

// TestOperatorNeedsTheLease: while a scheduler leads nothing is changed, and the text says who it is.
func TestOperatorNeedsTheLease(t *testing.T) {
	g := newGroup(t, 2)
	leader, _ := g.split()
	cfg := g.cfg
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.StoreSessionTimeout = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := leading(ctx, cfg, g.open, func(*service, led) error {
		t.Error("the store was taken over")
		return nil
	})
	if !errors.Is(err, ErrLed) || !strings.Contains(err.Error(), leader.url) {
		t.Errorf("got %v, want %v with %s", err, ErrLed, leader.url)
	}
	if got, _ := g.split(); got != leader {
		t.Error("the leader changed")
	}
	for _, m := range append([]*member{}, g.members...) {
		g.remove(m)
	}
	done := false
	err = leading(ctx, cfg, g.open, func(_ *service, taken led) error {
		done = true
		return taken.Commit(ctx, []scheduler.Change{{Key: scheduler.Key{Kind: scheduler.KindChannel, ID: "x"}, Value: []byte{1}}})
	})
	if err != nil || !done {
		t.Errorf("without a scheduler: got %v", err)
	}
}
