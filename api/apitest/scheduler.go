package apitest

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// Scheduler implements api.Scheduler. Make one with [New].
type Scheduler struct {
	// Refuse is asked before each command; an error of it is the answer. May be nil.
	Refuse func(scheduler.CommandBody) error
	// Check decides on a spec's expressions. Nil: they pass at once.
	Check func(*jobs.Spec) (proto.CheckState, []jobs.Problem)
	// Now is the time of what commands create; nil: the clock.
	Now func() time.Time

	kinds   jobs.Kinds
	mu      sync.Mutex
	view    *scheduler.View
	changed chan struct{} // closed when view is replaced
	runs    uint64
	started map[string]*proto.Run // by idempotency key: those that were archived since
}

// New is a scheduler that leads, is connected, and has executor version 1.4.0 in the channel stable.
func New(kinds jobs.Kinds) *Scheduler {
	s := &Scheduler{kinds: kinds, changed: make(chan struct{})}
	registered := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	s.view = &scheduler.View{
		Sequence:  1,
		Framework: scheduler.Identity{ID: "2d1a6f7e-0000-4a9f-8f1c-1f4c7c1d2a11-0000"},
		Master:    "http://127.0.0.1:5050",
		Leading:   true,
		Jobs:      map[string]*scheduler.JobView{},
		Runs:      map[string]*scheduler.RunView{},
		Versions: map[string]*scheduler.VersionView{"1.4.0": {
			Version:  &proto.ExecutorVersion{Version: "1.4.0", Registered: registered, Artifacts: []proto.Artifact{Artifact("1.4.0", "linux", "amd64", "cafe")}},
			Channels: []string{"stable"}, KeptBy: []string{`channel "stable"`}, Use: &proto.Use{Version: "1.4.0"},
		}},
		Channels: map[string]*proto.Channel{"stable": {Name: "stable", Version: "1.4.0", Updated: registered}},
		Rollouts: map[string]*scheduler.RolloutView{},
		Agents:   map[string]*scheduler.AgentView{},
		Checks:   map[scheduler.CheckKey]*scheduler.CheckView{},
	}
	return s
}

// Artifact is one of that version. The sum is filled up with zeros.
func Artifact(version, os, arch, sum string) proto.Artifact {
	return proto.Artifact{
		OS: os, Arch: arch, SHA256: sum + zeros[len(sum):], Size_: 61_000_000,
		Description: proto.Description{
			Version: version, OS: os, Arch: arch, ProtocolMin: 1, ProtocolMax: 1,
			Kinds: []string{"aggregate"}, Features: aggregate.Kind{}.FirstFeatures(),
		},
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// View returns the newest view.
func (s *Scheduler) View() *scheduler.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

// Wait blocks until the view is newer than that.
func (s *Scheduler) Wait(ctx context.Context, sequence uint64) (*scheduler.View, error) {
	for {
		s.mu.Lock()
		view, changed := s.view, s.changed
		s.mu.Unlock()
		if view.Sequence > sequence {
			return view, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Update changes the view. change gets a copy whose maps are its own; what they point at must be replaced, not changed.
func (s *Scheduler) Update(change func(*scheduler.View)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update(change)
}

func (s *Scheduler) update(change func(*scheduler.View)) {
	next := *s.view
	next.Sequence++
	next.At = s.now()
	next.Jobs, next.Runs, next.Versions = maps.Clone(next.Jobs), maps.Clone(next.Runs), maps.Clone(next.Versions)
	next.Channels, next.Agents, next.Checks = maps.Clone(next.Channels), maps.Clone(next.Agents), maps.Clone(next.Checks)
	next.Rollouts = maps.Clone(next.Rollouts)
	change(&next)
	s.view = &next
	close(s.changed)
	s.changed = make(chan struct{})
}

// UpdateRun replaces a run by what change makes of a copy of it.
func (s *Scheduler) UpdateRun(id string, change func(*scheduler.RunView)) {
	s.Update(func(v *scheduler.View) {
		run := *v.Runs[id]
		record := *run.Run
		run.Run = &record
		change(&run)
		v.Runs[id] = &run
	})
}

func (s *Scheduler) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Do carries out a command.
func (s *Scheduler) Do(ctx context.Context, body scheduler.CommandBody) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.Refuse != nil {
		if err := s.Refuse(body); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c := body.(type) {
	case scheduler.CheckSpec:
		return s.check(c)
	case scheduler.PutJob:
		return s.putJob(c)
	case scheduler.DeleteJob:
		return s.deleteJob(c)
	case scheduler.StartRun:
		return s.startRun(c)
	case scheduler.CancelRun:
		return s.cancelRun(c)
	case scheduler.ArchiveRuns:
		return s.archiveRuns(c)
	case scheduler.RegisterVersion:
		return s.registerVersion(c)
	case scheduler.DeleteVersion:
		return s.deleteVersion(c)
	case scheduler.SetChannel:
		return s.setChannel(c)
	case scheduler.DeleteChannel:
		return s.deleteChannel(c)
	case scheduler.SteerRollout:
		return s.steerRollout(c)
	}
	return nil, refuse(scheduler.Internal, "there is no command %T", body)
}

func refuse(kind scheduler.ErrorKind, format string, args ...any) error {
	return &scheduler.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
