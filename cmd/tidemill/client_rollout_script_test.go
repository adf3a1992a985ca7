package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidemill/tidemill/api/apitest"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// looks counts how often channels were read since a rollout of theirs was last asked for.
type looks struct {
	mu   sync.Mutex
	seen map[string]int
}

type looksKey struct{}

const (
	brokenFrom = 2 // the first look of a flaky service is answered
	brokenTo   = 7
)

// watched is a handler before another one. A flaky one breaks off some of the looks at a channel.
func (l *looks) watched(next http.Handler, flaky bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/v1/channels/")
		if ok && !strings.Contains(name, "/") {
			if l.count(name, r.Method) && flaky {
				panic(http.ErrAbortHandler)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// count says whether the request is among those that a flaky service breaks off.
func (l *looks) count(channel, method string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if method == http.MethodPut {
		l.seen[channel] = 0
		return false
	}
	l.seen[channel]++
	return l.seen[channel] >= brokenFrom && l.seen[channel] <= brokenTo
}

func (l *looks) at(channel string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[channel]
}

// followed waits until a rollout of the channel runs and somebody has looked at it.
func (l *looks) followed(fake *apitest.Scheduler, channel string) bool {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if r := fake.View().Rollouts[channel]; r != nil && r.Rollout.State == proto.ROLLOUT_RUNNING && l.at(channel) > 0 {
			return true
		}
	}
	return false
}

// later CHANNEL STATE ends or pauses a rollout of the channel as soon as somebody follows it.
func later(ts *testscript.TestScript, _ bool, args []string) {
	fake, seen := ts.Value(serviceKey{}).(*apitest.Scheduler), ts.Value(looksKey{}).(*looks)
	seen.count(args[0], http.MethodPut) // those from now on
	changed := make(chan error, 1)
	go func() {
		if !seen.followed(fake, args[0]) {
			changed <- errors.New("nobody follows a rollout of " + args[0])
			return
		}
		changed <- change(fake, args[0], args[1])
	}()
	ts.Defer(func() {
		if err := <-changed; err != nil {
			ts.Logf("later: %v", err) // the command has failed, or waits
		}
	})
}

// change makes a rollout what the state says.
func change(fake *apitest.Scheduler, channel, state string) error {
	action := map[string]scheduler.RolloutAction{"promoted": scheduler.RolloutPromote, "paused": scheduler.RolloutPause, "aborted": scheduler.RolloutAbort}[state]
	if action != "" {
		_, err := fake.Do(context.Background(), scheduler.SteerRollout{Channel: channel, Action: action, By: "ops", Reason: "the script says so"})
		return err
	}
	var err error
	fake.Update(func(v *scheduler.View) {
		view := *v.Rollouts[channel]
		record := *view.Rollout
		_, err = rollout.TakeBack(&record, `5 of 7 runs on 2.0.0 failed, against 0.03 to be expected ("bad")`, time.Now())
		view.Rollout, view.Waiting, view.Until = &record, "", time.Time{}
		view.Tallies = []*proto.Tally{{Channel: channel, Rollout: record.Number, Job: "flights-by-carrier",
			Old: proto.Sample{Runs: 412, Failed: 2, Duration: proto.Spread{Count: 410, Mean: 2.5}}, New: proto.Sample{Runs: 7, Failed: 5, Duration: proto.Spread{Count: 2, Mean: 2.6}}}}
		v.Rollouts[channel] = &view
	})
	return err
}

// interrupted CODE TEXT CHANNEL COMMAND... sends SIGINT to a command that follows a rollout of the channel; it must end with
// that code and have written that text.
func interrupted(ts *testscript.TestScript, _ bool, args []string) {
	fake, seen := ts.Value(serviceKey{}).(*apitest.Scheduler), ts.Value(looksKey{}).(*looks)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var out bytes.Buffer
	command := exec.Command("env", append([]string{"-C", ts.MkAbs(".")}, args[3:]...)...) // its own look-up, with the script's PATH
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TIDEMILL_SERVER", "CHANNEL", "ROLLOUT", "WAIT", "POLL"} {
		command.Env = append(command.Env, name+"="+ts.Getenv(name))
	}
	command.Stdout, command.Stderr = &out, &out
	ts.Check(command.Start())
	followed := seen.followed(fake, args[2])
	ts.Check(command.Process.Signal(os.Interrupt))
	err = command.Wait()
	var exit *exec.ExitError
	if !followed || !errors.As(err, &exit) || exit.ExitCode() != want || !strings.Contains(out.String(), args[1]) {
		ts.Fatalf("followed %v, %v\n%s", followed, err, out.String())
	}
	ts.Logf("%s", out.String())
}

// The script for people without the command line client is the one in deploy.
func pushScript(env *testscript.Env) error {
	script, err := os.ReadFile("../../deploy/ci/push.sh")
	if err != nil {
		return err
	}
	return os.WriteFile(env.Getenv("WORK")+"/push.sh", script, 0o755)
}

// narrow fails if what the last command printed has a line of more than a hundred columns.
func narrow(ts *testscript.TestScript, _ bool, _ []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if width := len([]rune(strings.TrimRight(line, "\n"))); width > 100 {
			ts.Fatalf("%d columns: %s", width, line)
		}
	}
}

func TestUploadMeter(t *testing.T) {
	var out bytes.Buffer
	meter := uploadMeter{out: &out}
	meter.clear()
	meter.show(1<<20, 4<<20)
	meter.show(2<<20, 4<<20) // too soon
	meter.show(4<<20, 4<<20)
	meter.clear()
	if want := "\r\x1b[Ksent 1.0 MiB of 4.0 MiB, 25 %\r\x1b[Ksent 4.0 MiB of 4.0 MiB, 100 %\r\x1b[K"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
