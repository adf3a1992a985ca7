package scheduler

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// waiting explains why a run does not go on, one entry for each shape of its pending tasks.
func (c *Core) waiting(r *run) []Waiting {
	var all []Waiting
	if ck := r.waits; ck != nil {
		text := "waits for the checks of its expressions with executor version " + ck.version
		reasons := []Turndown{{Reason: "checks", Text: "checks: not done yet with executor version " + ck.version}}
		if ck.task != nil && ck.task.current == nil {
			w := c.waitingFor(ck.task.shape)
			text += ": the check " + w.Reason
			reasons = append(reasons, w.Reasons...)
		}
		all = append(all, Waiting{Stage: jobs.StageCheck, Resources: checkResources, Since: r.rec.Created, Reason: text, Reasons: reasons})
	}
	for _, st := range r.stages {
		if st.shape.pending() > 0 {
			all = append(all, c.waitingFor(st.shape))
		}
		if len(st.shape.wishes) > 0 {
			all = append(all, c.waitingBeside(st.shape))
		}
	}
	if r.moving() {
		all = append(all, c.waitingToMove(r))
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
		TurnedDown: s.tried.numbers(),
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
	w.Reasons = c.turndowns(s, w.NotBefore)
	return w
}

// whyWaiting is the main reason, in a sentence.
func (c *Core) whyWaiting(s *shape, notBefore time.Time) string {
	tried := &s.tried
	switch {
	case !c.mesos.up():
		return "waits because the scheduler is not connected to a Mesos master"
	case s.queue.len() == 0:
		return "waits for its back-off until " + notBefore.Format(time.RFC3339)
	case s.room() <= 0:
		return fmt.Sprintf("waits for its parallelism (%d of %d run)", s.launched, s.limit)
	case c.heldAll(s):
		return "waits until " + s.held.Format(time.RFC3339) + " for another agent than the one on which the last attempt failed"
	case tried.offers == 0:
		return "waits for an offer; there has been none since " + tried.since.Format(time.RFC3339)
	case len(tried.turned) == 0:
		return fmt.Sprintf("waits for more offers; the %s so far were used up", count(tried.offers, "offer"))
	}
	needs := c.withExecutor(s.resources)
	main := refusalKey{reason: lacks(tried.most, needs)} // what no offer had counts more than what most had not
	if tried.turned[main] == nil {
		main = tried.main()
	}
	return c.turnedDownText(s, needs, main)
}

// heldAll says whether nothing but anti-affinity keeps the shape's tasks back.
func (c *Core) heldAll(s *shape) bool {
	return s.queue.fresh.count == 0 && len(s.tried.turned) == 0 && c.now.Before(s.held)
}

func (c *Core) turnedDownText(s *shape, needs jobs.Resources, main refusalKey) string {
	tried := &s.tried
	share := fmt.Sprintf("%d of %s", tried.turned[main].offers, count(tried.offers, "offer"))
	until := tried.turned[main].until.Format(time.RFC3339)
	switch {
	case lacks(tried.most, needs) == "" && main.isSize():
		return fmt.Sprintf("waits for more room: %s had too little %s left", share, main.reason)
	case main.reason == outOfCPUs:
		return fmt.Sprintf("needs %s cpus (%s with its executor); the largest offer so far had %s",
			number(s.resources.CPUs), number(needs.CPUs), number(tried.most.CPUs))
	case main.reason == outOfMemory:
		return fmt.Sprintf("needs %s of memory (%s with its executor); the largest offer so far had %s",
			jobs.FormatSize(s.resources.Memory), jobs.FormatSize(needs.Memory), jobs.FormatSize(tried.most.Memory))
	case main.reason == outOfDisk:
		return fmt.Sprintf("needs %s of disk; the largest offer so far had %s", jobs.FormatSize(s.resources.Disk), jobs.FormatSize(tried.most.Disk))
	case main.reason == maintenance:
		return fmt.Sprintf("waits for other agents: %s came from agents with maintenance ahead, the first at %s", share, until)
	case main.reason == troubled:
		return fmt.Sprintf("waits for other agents: %s came from agents on which attempts keep failing, the first of them is tried again at %s", share, until)
	case main.reason == avoided:
		return fmt.Sprintf("waits for other agents: %s came from agents on which its executor has just ended", share)
	case main.reason == constraint:
		return fmt.Sprintf("waits for an agent that its constraint on %q allows: %s came from others", main.on, share)
	default:
		return fmt.Sprintf("waits for an agent that executor version %s runs on: %s came from %s agents", s.owner.version, share, main.on)
	}
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
	w.Reasons = []Turndown{{Reason: "ending", Text: fmt.Sprintf("ending: %s not stopped yet", areTasks(w.Tasks))}}
	return w
}

// number writes cpus as Mesos counts them, in thousandths.
func number(x float64) string {
	return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64)
}

func areTasks(n int) string {
	if n == 1 {
		return "1 task has"
	}
	return fmt.Sprintf("%d tasks have", n)
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
