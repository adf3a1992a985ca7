package scheduler

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// trial is what became of the offers that a shape was tried on since it began to wait.
type trial struct {
	since      time.Time
	offers     int // those of one agent at one time count as one
	turnedDown map[string]int
	most       jobs.Resources // the most that one offer had, each resource by itself
}

func (t *trial) saw(b *bin) {
	t.offers++
	t.most.CPUs = max(t.most.CPUs, b.free.CPUs)
	t.most.Memory = max(t.most.Memory, b.free.Memory)
	t.most.Disk = max(t.most.Disk, b.free.Disk)
}

func (t *trial) turnDown(reason string) {
	if t.turnedDown == nil {
		t.turnedDown = map[string]int{}
	}
	t.turnedDown[reason]++
}

// mainReason is the reason for which most offers were turned down; the first by name among equals.
func (t *trial) mainReason() string {
	var main string
	for _, reason := range sortedKeys(t.turnedDown) {
		if main == "" || t.turnedDown[reason] > t.turnedDown[main] {
			main = reason
		}
	}
	return main
}

// waiting explains why a run does not go on, one entry for each shape of its pending tasks.
func (c *Core) waiting(r *run) []Waiting {
	var all []Waiting
	if ck := r.waits; ck != nil {
		text := "waits for the checks of its expressions with executor version " + ck.version
		if ck.task != nil && ck.task.current == nil {
			w := c.waitingFor(ck.task.shape)
			text += ": the check " + w.Reason
		}
		all = append(all, Waiting{Stage: jobs.StageCheck, Resources: checkResources, Since: r.rec.Created, Reason: text})
	}
	for _, st := range r.stages {
		if st.shape.pending() > 0 {
			all = append(all, c.waitingFor(st.shape))
		}
	}
	if r.ending() && r.rec.CleanUp == proto.CLEAN_UP_NONE {
		all = append(all, c.waitingToEnd(r))
	}
	return all
}

func (c *Core) waitingFor(s *shape) Waiting {
	w := Waiting{
		Stage:      s.stage,
		Tasks:      s.pending(),
		Resources:  s.resources,
		Since:      s.tried.since,
		Offers:     s.tried.offers,
		TurnedDown: maps.Clone(s.tried.turnedDown),
	}
	if s.queue.len() == 0 {
		var began time.Time
		for t := range s.delayed {
			if t.rec.NotBefore != nil {
				w.NotBefore = earlier(w.NotBefore, *t.rec.NotBefore)
				began = earlier(began, t.rec.Created)
			}
		}
		if w.Since.IsZero() {
			w.Since = began
		}
	}
	w.Reason = c.whyWaiting(s, w.NotBefore)
	return w
}

func (c *Core) whyWaiting(s *shape, notBefore time.Time) string {
	tried := &s.tried
	switch {
	case !c.mesos.up():
		return "waits because the scheduler is not connected to a Mesos master"
	case s.queue.len() == 0:
		return "waits for its back-off until " + notBefore.Format(time.RFC3339)
	case s.room() <= 0:
		return fmt.Sprintf("waits for its parallelism (%d of %d run)", s.launched, s.limit)
	case tried.offers == 0:
		return "waits for an offer; there has been none since " + tried.since.Format(time.RFC3339)
	case len(tried.turnedDown) == 0:
		return fmt.Sprintf("waits for more offers; the %s so far were used up", count(tried.offers, "offer"))
	}
	needs := s.resources
	needs.CPUs += c.cfg.ExecutorCPUs
	needs.Memory += c.cfg.ExecutorMemory
	reason := lacks(tried.most, needs) // what no offer had counts more than what most had not
	if tried.turnedDown[reason] == 0 {
		reason = tried.mainReason()
	}
	return c.turnedDownText(s, needs, reason)
}

func (c *Core) turnedDownText(s *shape, needs jobs.Resources, reason string) string {
	tried := &s.tried
	share := fmt.Sprintf("%d of %s", tried.turnedDown[reason], count(tried.offers, "offer"))
	switch {
	case lacks(tried.most, needs) == "" && slices.Contains([]string{outOfCPUs, outOfMemory, outOfDisk}, reason):
		return fmt.Sprintf("waits for more room: %s had too little %s left", share, reason)
	case reason == outOfCPUs:
		return fmt.Sprintf("needs %s cpus (%s with its executor); the largest offer so far had %s",
			number(s.resources.CPUs), number(needs.CPUs), number(tried.most.CPUs))
	case reason == outOfMemory:
		return fmt.Sprintf("needs %s of memory (%s with its executor); the largest offer so far had %s",
			jobs.FormatSize(s.resources.Memory), jobs.FormatSize(needs.Memory), jobs.FormatSize(tried.most.Memory))
	case reason == outOfDisk:
		return fmt.Sprintf("needs %s of disk; the largest offer so far had %s", jobs.FormatSize(s.resources.Disk), jobs.FormatSize(tried.most.Disk))
	case reason == maintenance:
		return fmt.Sprintf("waits for other agents: %s came from agents with maintenance ahead", share)
	case reason == avoided:
		return fmt.Sprintf("waits for other agents: %s came from agents on which its executor has just ended", share)
	case strings.HasPrefix(reason, constraint):
		return fmt.Sprintf("waits for an agent that its constraint on %q allows: %s came from others", strings.TrimPrefix(reason, constraint), share)
	case strings.HasPrefix(reason, platform):
		return fmt.Sprintf("waits for an agent that executor version %s runs on: %s came from %s agents", s.owner.version, share, strings.TrimPrefix(reason, platform))
	}
	return fmt.Sprintf("waits for other offers: %s were turned down for %s", share, reason)
}

func (c *Core) waitingToEnd(r *run) Waiting {
	w := Waiting{Since: r.rec.Created}
	var stage string
	for _, st := range r.stages {
		if st.shape.launched > 0 {
			w.Tasks += st.shape.launched
			stage = st.name
		}
	}
	w.Stage = stage
	w.Reason = fmt.Sprintf("is ending, and waits for %s to stop", count(w.Tasks, "task"))
	return w
}

// number writes cpus as Mesos counts them, in thousandths.
func number(x float64) string {
	return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// touchWaiting marks everything that waits as changed: the reason for which it does has.
func (c *Core) touchWaiting() {
	for _, s := range slices.Clone(c.demand.shapes) {
		c.touchShape(s)
	}
	c.view.changed = true
}
