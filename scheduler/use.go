package scheduler

import (
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// mostPinning is how many of the jobs that pin a version are named where what keeps it is listed.
const mostPinning = 100

// runBegan notes that a run was started on the version.
func (c *Core) runBegan(v *version) {
	now := c.now
	if v.use.First == nil {
		v.use.First = &now
	}
	v.use.Last = &now
	v.runs++
	c.saveUse(v)
}

// runEnded notes how a run on the version ended.
func (c *Core) runEnded(v *version, state proto.RunState) {
	now := c.now
	v.use.Last = &now
	countOutcome(v.use, state)
	v.runs--
	c.saveUse(v)
}

// runLeft notes that a run on the version goes on with another one.
func (c *Core) runLeft(v *version) {
	now := c.now
	v.use.Last = &now
	v.runs--
	c.saveUse(v)
}

// countCleaning keeps the number of a version's clean-up tasks that have not ended.
func (c *Core) countCleaning(v *version, by int) {
	v.cleaning += by
	c.touchVersion(v)
}

// countOutcome counts a run that ended in that state.
func countOutcome(use *proto.Use, state proto.RunState) {
	switch state {
	case proto.RUN_SUCCEEDED:
		use.Succeeded++
	case proto.RUN_FAILED:
		use.Failed++
	case proto.RUN_CANCELLED:
		use.Cancelled++
	}
}

// countRun counts a whole run.
func countRun(use *proto.Use, run *proto.Run) {
	began, last := run.Created, run.Created
	if run.Ended != nil {
		last = *run.Ended
	}
	if use.First == nil || began.Before(*use.First) {
		use.First = &began
	}
	if use.Last == nil || last.After(*use.Last) {
		use.Last = &last
	}
	countOutcome(use, run.State)
}

// loadUses gives versions what became of them.
func (c *Core) loadUses(all []*proto.Use) error {
	for _, rec := range all {
		v := c.versions[rec.Version]
		if v == nil {
			return fmt.Errorf("load use %q: there is no executor version %q", rec.Version, rec.Version)
		}
		v.use = rec
	}
	return nil
}

// pins are the names of the jobs whose newest revision names a version itself, by that version. Names are sorted, and
// the slices are never changed: readers hold them.
type pins map[string][]string

// repin brings up to date which version a job pins, and what rollouts say of the jobs that take part.
func (c *Core) repin(j *job) {
	for _, ch := range c.channels {
		if ch.open() != nil {
			ch.touch(c)
		}
	}
	version := ""
	if !j.rec.Deleted && j.newest().spec != nil {
		version = j.newest().spec.Executor.Version
	}
	if version == j.pinned {
		return
	}
	c.pins.remove(j.pinned, j.rec.Name)
	c.pins.add(version, j.rec.Name)
	for _, name := range []string{j.pinned, version} {
		c.touchVersion(c.versions[name])
	}
	j.pinned = version
}

func (p pins) add(version, job string) {
	if version == "" {
		return
	}
	names := p[version]
	at, _ := slices.BinarySearch(names, job)
	p[version] = slices.Concat(names[:at], []string{job}, names[at:])
}

func (p pins) remove(version, job string) {
	names := p[version]
	at, found := slices.BinarySearch(names, job)
	if !found {
		return
	}
	if len(names) == 1 {
		delete(p, version)
		return
	}
	p[version] = slices.Concat(names[:at], names[at+1:])
}

// loadPins finds which versions jobs pin.
func (c *Core) loadPins() {
	for _, name := range sortedKeys(c.jobs) {
		j := c.jobs[name]
		if j.rec.Deleted || j.newest().spec == nil {
			continue
		}
		if j.pinned = j.newest().spec.Executor.Version; j.pinned != "" {
			c.pins[j.pinned] = append(c.pins[j.pinned], name)
		}
	}
}

// usersOf lists what keeps a version from going, each in a few words.
func (c *Core) usersOf(v *version) []string {
	users := c.channelsWith(v.rec.Version)
	pinning := c.pins[v.rec.Version]
	for _, name := range pinning[:min(len(pinning), mostPinning)] {
		users = append(users, fmt.Sprintf("job %q", name))
	}
	for _, n := range []struct {
		count int
		what  string
	}{{len(pinning) - mostPinning, "more job"}, {v.runs, "run"}, {v.cleaning, "clean-up"}, {v.checking, "check"}} {
		switch {
		case n.count == 1:
			users = append(users, "1 "+n.what)
		case n.count > 1:
			users = append(users, fmt.Sprintf("%d %ss", n.count, n.what))
		}
	}
	return users
}

// channelsWith lists the channels that keep a version, each for one reason.
func (c *Core) channelsWith(version string) []string {
	var users []string
	for _, name := range sortedKeys(c.channels) {
		switch ch := c.channels[name]; {
		case ch.rec.Version == version:
			users = append(users, fmt.Sprintf("channel %q", name))
		case ch.open() != nil && ch.open().To == version:
			users = append(users, fmt.Sprintf("the rollout of channel %q", name))
		case ch.rec.Previous == version:
			users = append(users, fmt.Sprintf("channel %q (its previous version)", name))
		}
	}
	return users
}

// inUse refuses what would take a version away from those that use it, with a problem for each.
func inUse(version string, users []string) *Error {
	const most = 5 // named in the message itself
	text := fmt.Sprintf("executor version %q is in use by %s", version, joined(users[:min(len(users), most)]))
	if more := len(users) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	problems := make([]jobs.Problem, 0, len(users))
	for _, user := range users {
		problems = append(problems, jobs.Problem{Detail: "it is in use by " + user})
	}
	return &Error{Kind: Conflict, Message: text, Problems: problems}
}
