package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// trial is what became of the offers that a shape was tried on since it began to wait.
type trial struct {
	since  time.Time
	offers int            // those of one agent at one time count as one
	most   jobs.Resources // the most that one offer had, each resource by itself
	turned map[refusalKey]*tally
}

// refusalKey is a refusal without what differs from agent to agent.
type refusalKey struct{ reason, on string }

// isSize says whether the offers were too small.
func (k refusalKey) isSize() bool {
	return slices.Contains([]string{outOfCPUs, outOfMemory, outOfDisk}, k.reason)
}

func (k refusalKey) String() string { return strings.TrimSpace(k.reason + " " + k.on) }

// tally counts the offers that were turned down for one reason.
type tally struct {
	offers int
	values map[string]int // that agents have for a constraint's attribute, as far as there is room; empty: they lack it
	others int            // with values for which there was no room
	until  time.Time      // the earliest, of maintenance or back-off
}

// mostValues is how many values of an attribute are told apart.
const mostValues = 8

func (t *trial) saw(b *bin) {
	t.offers++
	t.most.CPUs = max(t.most.CPUs, b.free.CPUs)
	t.most.Memory = max(t.most.Memory, b.free.Memory)
	t.most.Disk = max(t.most.Disk, b.free.Disk)
}

func (t *trial) turnDown(why refusal) {
	if t.turned == nil {
		t.turned = map[refusalKey]*tally{}
	}
	key := refusalKey{why.reason, why.on}
	n := t.turned[key]
	if n == nil {
		n = &tally{}
		t.turned[key] = n
	}
	n.offers++
	n.until = earlier(n.until, why.until)
	if why.reason != constraint {
		return
	}
	if n.values == nil {
		n.values = map[string]int{}
	}
	if _, known := n.values[why.value]; known || len(n.values) < mostValues {
		n.values[why.value]++
	} else {
		n.others++
	}
}

// keys are the reasons, the one for most offers first.
func (t *trial) keys() []refusalKey {
	var all []refusalKey
	for key := range t.turned {
		all = append(all, key)
	}
	slices.SortFunc(all, func(a, b refusalKey) int {
		return cmp.Or(cmp.Compare(t.turned[b].offers, t.turned[a].offers), cmp.Compare(a.reason, b.reason), cmp.Compare(a.on, b.on))
	})
	return all
}

func (t *trial) main() refusalKey { return t.keys()[0] }

// numbers are the offers turned down by reason.
func (t *trial) numbers() map[string]int {
	all := make(map[string]int, len(t.turned))
	for key, n := range t.turned {
		all[key.String()] = n.offers
	}
	return all
}

// turndowns are all the reasons for which a shape's tasks wait, the most important first.
func (c *Core) turndowns(s *shape, notBefore time.Time) []Turndown {
	var all []Turndown
	add := func(reason, format string, args ...any) {
		all = append(all, Turndown{Reason: reason, Text: reason + ": " + fmt.Sprintf(format, args...)})
	}
	switch {
	case !c.mesos.up():
		add("connection", "not subscribed to a Mesos master")
		return all
	case s.queue.len() == 0:
		add("retry", "back-off until %s", notBefore.Format(time.RFC3339))
		return all
	case s.room() <= 0:
		add("parallelism", "%d of %d run", s.launched, s.limit)
		return all
	case s.tried.offers == 0:
		add("offers", "none for role %q since %s", s.owner.role, s.tried.since.Format(time.RFC3339))
	}
	if c.now.Before(s.held) {
		add("retry", "until %s on another agent than the one on which the last attempt failed", s.held.Format(time.RFC3339))
	}
	for _, key := range s.tried.keys() {
		n := s.tried.turned[key]
		name := key.reason
		if key.reason == constraint {
			name = key.on
		}
		all = append(all, Turndown{Reason: key.String(), Offers: n.offers, Of: s.tried.offers, Text: name + ": " + c.turndownText(s, key, n)})
	}
	if len(all) == 0 {
		add("offers", "the %s so far were used up", count(s.tried.offers, "offer"))
	}
	return all
}

func (c *Core) turndownText(s *shape, key refusalKey, n *tally) string {
	needs, most := c.withExecutor(s.resources), s.tried.most
	share := fmt.Sprintf("%d of %s", n.offers, count(s.tried.offers, "offer"))
	until := n.until.Format(time.RFC3339)
	switch {
	case key.isSize() && lacks(most, needs) != key.reason:
		return share + " had too little left"
	case key.reason == outOfCPUs:
		return fmt.Sprintf("largest free %s of %s asked%s", number(most.CPUs), number(s.resources.CPUs), beside(number(c.cfg.ExecutorCPUs)))
	case key.reason == outOfMemory:
		return fmt.Sprintf("largest free %s of %s asked%s", jobs.FormatSize(most.Memory), jobs.FormatSize(s.resources.Memory),
			beside(jobs.FormatSize(c.cfg.ExecutorMemory)))
	case key.reason == outOfDisk:
		return fmt.Sprintf("largest free %s of %s asked", jobs.FormatSize(most.Disk), jobs.FormatSize(s.resources.Disk))
	case key.reason == constraint:
		if s.tried.offers == 1 {
			return share + " is " + n.places()
		}
		return share + " are " + n.places()
	case key.reason == maintenance:
		return fmt.Sprintf("%s came from agents that go into it, the first at %s", share, until)
	case key.reason == troubled:
		return fmt.Sprintf("%s came from agents on which attempts keep failing, the first until %s", share, until)
	case key.reason == avoided:
		return fmt.Sprintf("%s came from agents on which its executor has just ended, the first until %s", share, until)
	default:
		return fmt.Sprintf("%s came from %s agents, for which executor version %s has no file", share, key.on, s.owner.version)
	}
}

func beside(executor string) string { return ", and " + executor + " for its executor" }

// places lists the values that agents have for a constraint's attribute, the most frequent first: "in b (8), c (4)".
func (n *tally) places() string {
	values := sortedKeys(n.values)
	slices.SortStableFunc(values, func(a, b string) int { return cmp.Compare(n.values[b], n.values[a]) })
	if len(values) == 1 {
		return place(values[0])
	}
	var parts []string
	for _, value := range values {
		parts = append(parts, fmt.Sprintf("%s (%d)", place(value), n.values[value]))
	}
	if n.others > 0 {
		parts = append(parts, fmt.Sprintf("elsewhere (%d)", n.others))
	}
	return strings.Join(parts, ", ")
}

func place(value string) string {
	if value == "" {
		return "without it"
	}
	return "in " + value
}
