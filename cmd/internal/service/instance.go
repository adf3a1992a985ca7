package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/loop"
)

// instance is this scheduler as the API sees it, whether it leads or stands by: an api.Scheduler and an api.Peers. Those
// who wait for a newer view go on across a change from one to the other: views are numbered on.
type instance struct {
	self     lease.Instance
	lease    lease.Lease
	follower *follower

	mu      sync.Mutex
	loop    *loop.Loop      // nil: it does not lead
	epoch   uint64          // of the newest term of this instance
	claimed bool            // it is about to lead: no more views come from the follower
	view    *scheduler.View // shown while it does not lead
	changed chan struct{}   // closed and replaced when loop or view changes
	settled chan struct{}   // closed when this instance has led, or has seen another one lead
	once    sync.Once
}

func newInstance(self lease.Instance, held lease.Lease, read snapshot, draw picture) *instance {
	i := &instance{
		self: self, lease: held,
		view:    &scheduler.View{},
		changed: make(chan struct{}), settled: make(chan struct{}),
	}
	i.follower = newFollower(read, draw, i.publish)
	return i
}

// now is what the instance is at this moment.
func (i *instance) now() (l *loop.Loop, view *scheduler.View, changed <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.loop, i.view, i.changed
}

func (i *instance) announce() {
	close(i.changed)
	i.changed = make(chan struct{})
}

// publish shows what the follower has read.
func (i *instance) publish(view scheduler.View) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.claimed {
		return false
	}
	view.Sequence = i.view.Sequence + 1
	i.view = &view
	i.announce()
	return true
}

// claim ends following. It returns the number of the last view.
func (i *instance) claim() (sequence uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.claimed = true
	return i.view.Sequence
}

// lead shows what the loop does from now on.
func (i *instance) lead(l *loop.Loop, epoch uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.loop, i.epoch = l, epoch
	i.announce()
	i.settle()
}

// stepDown goes back to following, after claim or lead. The last view stays until there is a newer one.
func (i *instance) stepDown() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.loop != nil {
		last := *i.loop.View()
		last.Leading, last.Master = false, ""
		last.Sequence++
		i.view = &last
		i.follower.resume(time.Now())
	}
	i.loop, i.claimed = nil, false
	i.announce()
}

func (i *instance) settle() { i.once.Do(func() { close(i.settled) }) }

// Do implements api.Scheduler.
func (i *instance) Do(ctx context.Context, body scheduler.CommandBody) (any, error) {
	l, _, _ := i.now()
	if l == nil {
		return nil, &scheduler.Error{Kind: scheduler.Unavailable, Message: "this instance does not lead: the command was not carried out"}
	}
	return l.Do(ctx, body)
}

// View implements api.Scheduler.
func (i *instance) View() *scheduler.View {
	l, view, _ := i.now()
	if l != nil {
		return l.View()
	}
	return view
}

// Wait implements api.Scheduler. While this instance stands by, whoever waits keeps the view fresh.
func (i *instance) Wait(ctx context.Context, sequence uint64) (*scheduler.View, error) {
	for {
		l, view, changed := i.now()
		switch {
		case l != nil:
			if view, err := l.Wait(ctx, sequence); !errors.Is(err, loop.ErrStopped) {
				return view, err
			}
		case view.Sequence > sequence:
			return view, nil
		}
		timer := time.NewTimer(freshFor)
		select {
		case <-changed:
		case <-timer.C:
			if l == nil {
				_, _ = i.Fresh(ctx) // who only waits is not told that the store cannot be read: he goes on waiting
			}
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		timer.Stop()
	}
}

// Standing implements api.Peers.
func (i *instance) Standing() api.Standing {
	i.mu.Lock()
	s := api.Standing{Leads: i.loop != nil, Self: i.self.URL, Epoch: i.epoch}
	i.mu.Unlock()
	if s.Leads {
		s.Leader = i.self.URL
	} else {
		s.Epoch = max(s.Epoch, i.follower.seen())
		if leader, known := i.lease.Leader(); known {
			s.Leader = leader.URL
		}
	}
	for _, one := range i.lease.Instances() {
		s.Instances = append(s.Instances, wire.Instance{
			URL: one.URL, Host: one.Host, Version: one.Version, Since: one.Since.UTC().Truncate(time.Millisecond), Leads: one.URL == s.Leader,
		})
	}
	return s
}

// Fresh implements api.Peers.
func (i *instance) Fresh(ctx context.Context) (time.Duration, error) {
	if l, _, _ := i.now(); l != nil {
		return 0, nil
	}
	return i.follower.read(ctx, time.Now().Add(-freshFor), false)
}

// Refresh implements api.Peers.
func (i *instance) Refresh(ctx context.Context) error {
	if l, _, _ := i.now(); l != nil {
		return nil
	}
	begin := time.Now()
	age, err := i.follower.read(ctx, begin, true)
	if err == nil && age > time.Since(begin) {
		err = errors.New("the store could not be read")
	}
	return err
}

// leads says whether this instance leads, and the number of its term.
func (i *instance) leads() (epoch uint64, leads bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.epoch, i.loop != nil
}

// watch sees another instance lead, which settles this one too. It blocks until then or until ctx ends.
func (i *instance) watch(ctx context.Context) {
	for {
		changed := i.lease.Changed()
		if leader, known := i.lease.Leader(); known && leader.URL != i.self.URL {
			i.settle()
			return
		}
		select {
		case <-changed:
		case <-i.settled:
			return
		case <-ctx.Done():
			return
		}
	}
}
