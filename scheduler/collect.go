package scheduler

import (
	"log/slog"
	"slices"
	"time"
)

const (
	collectFirst  = time.Minute // after the start
	collectEvery  = time.Hour
	collectAtOnce = 100 // versions in one step
)

// collector removes old executor versions by rule: all but the newest, unless something keeps them, when they have not
// been used for long. Their artefacts' files are removed by whoever keeps these.
type collector struct{ alarm }

func (k *collector) begin(c *Core) {
	if c.cfg.KeepVersionsFor > 0 {
		c.arm(k, c.now.Add(collectFirst))
	}
}

func (k *collector) fire(c *Core) {
	old := c.oldVersions()
	for _, v := range old[:min(len(old), collectAtOnce)] {
		c.dropVersion(v, "")
		c.count(MetricVersionsCollected, 1)
		c.note(slog.LevelInfo, "executor version collected", slog.String("version", v.rec.Version), slog.Time("last_use", v.lastUse()))
	}
	next := collectEvery
	if len(old) > collectAtOnce {
		next = time.Second
	}
	c.arm(k, c.now.Add(next))
}

// oldVersions are those that may go by the rule, oldest first.
func (c *Core) oldVersions() []*version {
	all := make([]*version, 0, len(c.versions))
	for _, v := range c.versions {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b *version) int { return btoi(a.newerThan(b)) - btoi(b.newerThan(a)) })
	all = all[:max(0, len(all)-c.cfg.KeepVersions)]
	return slices.DeleteFunc(all, func(v *version) bool {
		return c.now.Before(v.lastUse().Add(c.cfg.KeepVersionsFor)) || len(c.usersOf(v)) > 0
	})
}

// lastUse is when a version was used or registered last.
func (v *version) lastUse() time.Time {
	last := v.rec.Registered
	if v.use.Last != nil {
		last = later(last, *v.use.Last)
	}
	for i := range v.rec.Artifacts {
		if at := v.rec.Artifacts[i].Registered; at != nil {
			last = later(last, *at)
		}
	}
	return last
}
