package scheduler

import (
	"bytes"
	"log/slog"

	"github.com/tidemill/tidemill/proto"
)

// identity is as whom to subscribe.
func (c *Core) identity() Identity {
	if c.framework == nil {
		return Identity{}
	}
	return Identity{ID: c.framework.ID, Info: c.framework.Info}
}

// identify stores the ID that Mesos gave, before anything is done under it.
func (c *Core) identify(id string) {
	switch {
	case c.framework == nil:
	case c.framework.ID == id:
		return
	default:
		c.note(slog.LevelError, "Mesos gave another framework ID; what runs under the old one is lost",
			slog.String("had", c.framework.ID), slog.String("got", id))
	}
	c.framework = &proto.Framework{ID: id, Created: c.now}
	c.saveFramework()
}

// frameworkUpdated stores as what Mesos knows the framework: the next subscription must not differ from it unawares.
func (c *Core) frameworkUpdated(u FrameworkUpdated) {
	if c.framework == nil {
		return // forgotten meanwhile, or told before Mesos gave an ID
	}
	if c.mesos.refused != u.Refused {
		c.mesos.refused = u.Refused
		c.view.changed = true
	}
	if u.Refused != "" {
		c.note(slog.LevelError, "Mesos refused to change the framework to what is configured; it goes on as it was", slog.String("reason", u.Refused))
		return
	}
	if !bytes.Equal(c.framework.Info, u.Info) {
		updated := *c.framework // views share the old one's Info
		updated.Info = bytes.Clone(u.Info)
		c.framework = &updated
		c.saveFramework()
	}
}

// forgetFramework gives up an ID for good. While Mesos accepts it, it has not been removed, and nothing is forgotten.
func (c *Core) forgetFramework() (ForgottenFramework, *Error) {
	switch {
	case c.framework == nil:
		return ForgottenFramework{}, errorf(NotFound, "there is no framework: none has been registered, or it was forgotten before")
	case c.mesos.up():
		return ForgottenFramework{}, errorf(Conflict, "framework %s is subscribed at %s: Mesos has not removed it", c.framework.ID, c.mesos.master)
	}
	forgotten := ForgottenFramework{ID: c.framework.ID}
	for _, a := range c.unended() {
		rec := a.rec()
		forgotten.Attempts = append(forgotten.Attempts, ForgottenAttempt{MesosID: rec.MesosID, AgentID: rec.AgentID, Host: rec.Host, ExecutorID: rec.ExecutorID})
		c.conclude(a, outcome{
			state:     proto.TASK_LOST,
			uncharged: true,
			failure:   &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost", Message: "its framework was removed from Mesos"},
		})
	}
	for _, id := range sortedKeys(c.executors) {
		if e := c.executors[id]; e != nil {
			c.retire(e)
		}
	}
	c.note(slog.LevelWarn, "framework is forgotten: the next subscription registers anew",
		slog.String("framework", forgotten.ID), slog.Int("attempts", len(forgotten.Attempts)))
	c.framework, c.mesos.refused = nil, ""
	c.remove(KindFramework, frameworkID)
	c.view.changed = true
	return forgotten, nil
}
