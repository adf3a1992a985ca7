//go:build endtoend

package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// rolling is a cluster whose leader is killed again and again while a channel moves.
type rolling struct {
	*cluster
	random *rand.Rand
	ask    func() *cluster // as a client of a scheduler that probably answers; safe for concurrent use
	strike func()          // kills the leader with SIGKILL, and returns when one leads
	seen   []wire.Run      // all runs of streams that have ended
}

// request repeats a request until it is answered with success; each may be carried out more than once. A refusal is an
// error.
func (x *rolling) request(ctx context.Context, method, path, body string, value any, headers ...string) error {
	var err error
	for ctx.Err() == nil {
		var answer json.RawMessage
		var status int
		status, err = x.ask().call(method, path, bytes.NewReader([]byte(body)), &answer, append(headers, "Content-Type", "application/json")...)
		switch {
		case err == nil && status < 300:
			if value == nil {
				return nil
			}
			return json.Unmarshal(answer, value)
		case err == nil && status < 500:
			return fmt.Errorf("%s %s %s: %d: %s", method, path, body, status, answer)
		case err == nil:
			err = fmt.Errorf("%d: %s", status, answer)
		}
		_ = pause(ctx)
	}
	return fmt.Errorf("%s %s: nobody did it: %w", method, path, errors.Join(ctx.Err(), err))
}

// do is request for the test itself.
func (x *rolling) do(method, path, body string, value any) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 40*time.Second)
	defer cancel()
	if err := x.request(ctx, method, path, body, value); err != nil {
		x.t.Fatal(err)
	}
}

// struck sends a request, kills the leader before, while or after it is answered, and repeats it until it is.
func (x *rolling) struck(method, path, body string) {
	x.t.Helper()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		x.ask().call(method, path, bytes.NewReader([]byte(body)), nil, "Content-Type", "application/json") //nolint:errcheck // the answer may get lost
	}()
	moment(x.random, 15*time.Millisecond)
	x.strike()
	<-answered
	x.do(method, path, body, nil)
}

// now is the channel's newest rollout.
func (x *rolling) now() (r wire.Rollout) {
	x.t.Helper()
	var channel wire.Channel
	x.do(http.MethodGet, "/v1/channels/rolling", "", &channel)
	if channel.Rollout == nil {
		x.t.Fatal("the channel has no rollout")
	}
	return *channel.Rollout
}

// strikeAround waits for the rollout's next change by itself and kills the leader shortly before or at once after it. It
// returns when the change is seen.
func (x *rolling) strikeAround() {
	x.t.Helper()
	known := len(x.now().Events)
	before := x.random.IntN(2) == 0
	struck := false
	x.eventually(40*time.Second, fmt.Sprintf("change %d of the rollout", known+1), func() (bool, error) {
		r := x.now()
		changed := len(r.Events) > known
		if ripe := r.Runs >= r.Plan.MinRuns-1 && r.Until != nil && time.Until(*r.Until) < 50*time.Millisecond; !struck && (changed || before && ripe) {
			if !changed {
				moment(x.random, 100*time.Millisecond)
			}
			x.strike()
			struck = true
		}
		return changed, fmt.Errorf("it is %+v", r)
	})
	if !struck {
		x.strike()
	}
}

// stream starts runs all the time, a few at a time. Its methods but end are safe for concurrent use.
type stream struct {
	x       *rolling
	jobs    []string
	ctx     context.Context
	stop    context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	runs     []wire.Run
	problems []error
}

// startStream runs those jobs until end is called.
func (x *rolling) startStream(jobs []string, workers int) *stream {
	s := &stream{x: x, jobs: jobs}
	s.ctx, s.stop = context.WithCancel(context.Background())
	x.t.Cleanup(s.stop)
	for n := range workers {
		s.workers.Go(func() {
			for i := 0; s.ctx.Err() == nil; i++ {
				run, err := s.run(jobs[(n+i)%len(jobs)], fmt.Sprintf("%d-%d", n, i))
				s.mu.Lock()
				if s.runs = append(s.runs, run); err != nil {
					s.problems = append(s.problems, err)
				}
				s.mu.Unlock()
			}
		})
	}
	return s
}

// run starts one run and watches it to its end.
func (s *stream) run(job, key string) (run wire.Run, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), runWithin) // also when the stream ends: each run counts
	defer cancel()
	if err := s.x.request(ctx, http.MethodPost, "/v1/jobs/"+job+"/runs", "", &run, "Idempotency-Key", key); err != nil {
		return run, err
	}
	version := run.ExecutorVersion
	for run.Ended == nil {
		if pause(ctx) != nil {
			return run, fmt.Errorf("run %s has not ended within %s: %s", run.ID, runWithin, run.State)
		}
		id := run.ID
		if err := s.x.request(ctx, http.MethodGet, "/v1/runs/"+id, "", &run); err != nil {
			return run, err
		}
		if run.ID != id || run.ExecutorVersion != version {
			return run, fmt.Errorf("run %s on %s has become %s on %s", id, version, run.ID, run.ExecutorVersion)
		}
	}
	return run, nil
}

// end starts no more, waits for those that run, and gives all.
func (s *stream) end() []wire.Run {
	s.x.t.Helper()
	s.stop()
	s.workers.Wait()
	ids := map[string]bool{}
	for _, run := range s.runs {
		if ids[run.ID] {
			s.x.t.Errorf("run %s was given twice", run.ID)
		}
		ids[run.ID] = true
	}
	for _, err := range s.problems {
		s.x.t.Error(err)
	}
	s.x.seen = append(s.x.seen, s.runs...)
	return s.runs
}
