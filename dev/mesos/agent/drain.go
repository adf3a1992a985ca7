package agent

import (
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

// drain kills all tasks that are here. How each of them ends says why.
func (a *Agent) drain(order *link.Drain) error {
	a.log.Info("agent drains", "mark_gone", order.MarkGone)
	var kills []*link.Kill
	for _, f := range a.frameworks {
		if f.terminating {
			continue
		}
		for _, e := range f.executors {
			for _, t := range e.order {
				if terminal(t.state) {
					continue
				}
				t.drained = order
				kill := &link.Kill{TaskRef: link.TaskRef{Framework: f.id, Task: t.id()}}
				if policy := drainPolicy(t, order.MaxGrace); policy != nil {
					kill.Policy = link.Encode(policy)
				}
				kills = append(kills, kill)
			}
		}
	}
	for _, kill := range kills {
		if err := a.killTask(kill); err != nil {
			return err
		}
	}
	return nil
}

// drainPolicy bounds a task's own grace period.
func drainPolicy(t *task, bound *time.Duration) *v1.KillPolicy {
	if bound == nil {
		return nil
	}
	grace := int64(*bound)
	if own := t.info.GetKillPolicy().GetGracePeriod(); own != nil {
		grace = min(grace, own.Nanoseconds)
	}
	return &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: grace}}
}

// drainedStatus is how the end of a drained task is told.
func (t *task) drainedStatus(status *v1.TaskStatus) {
	if t.drained == nil || !terminal(status.GetState()) {
		return
	}
	switch {
	case t.drained.MarkGone:
		status.State = v1.TASK_GONE_BY_OPERATOR.Enum()
	case status.GetState() != v1.TASK_KILLED:
		return // it ended by itself meanwhile
	}
	status.Reason = v1.REASON_AGENT_DRAINING.Enum()
}
