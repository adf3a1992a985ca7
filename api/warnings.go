package api

import (
	"fmt"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// warnings are about a valid spec whose tasks no agent seen so far could run. An empty cluster warns of nothing: its
// agents may be on their way.
func warnings(view *scheduler.View, spec *jobs.Spec) []string {
	if len(view.Agents) == 0 {
		return nil
	}
	var allowed []*scheduler.AgentView
	for _, agent := range view.Agents {
		if unmet(agent, spec.Constraints) == nil {
			allowed = append(allowed, agent)
		}
	}
	if len(allowed) == 0 {
		return []string{constraintWarning(view, spec)}
	}
	if detail := tooLittle(allowed, spec.Resources); detail != "" {
		return []string{detail + "; until there is one that has, runs wait"}
	}
	return nil
}

// unmet is the first constraint that does not allow the agent, or nil.
func unmet(agent *scheduler.AgentView, constraints []jobs.Constraint) *jobs.Constraint {
	for i := range constraints {
		if !agent.Satisfies(&constraints[i]) {
			return &constraints[i]
		}
	}
	return nil
}

// constraintWarning names the constraint that no agent meets, if it is one alone.
func constraintWarning(view *scheduler.View, spec *jobs.Spec) string {
	const after = " is allowed by the constraints; until there is one, runs wait"
	for i := range spec.Constraints {
		one := spec.Constraints[i : i+1]
		met := false
		for _, agent := range view.Agents {
			met = met || unmet(agent, one) == nil
		}
		if !met {
			return fmt.Sprintf("none of the %d agents seen so far meets the constraint on %q; until there is one that does, runs wait", len(view.Agents), one[0].Attribute)
		}
	}
	return fmt.Sprintf("none of the %d agents seen so far", len(view.Agents)) + after
}

// tooLittle says what no agent ever offered, or nothing.
func tooLittle(agents []*scheduler.AgentView, needs jobs.Resources) string {
	var most jobs.Resources
	for _, agent := range agents {
		if agent.Most.CPUs >= needs.CPUs && agent.Most.Memory >= needs.Memory && agent.Most.Disk >= needs.Disk {
			return ""
		}
		most.CPUs, most.Memory, most.Disk = max(most.CPUs, agent.Most.CPUs), max(most.Memory, agent.Most.Memory), max(most.Disk, agent.Most.Disk)
	}
	switch {
	case most.CPUs < needs.CPUs:
		return fmt.Sprintf("a task needs %g cpus, and no agent has offered more than %g", needs.CPUs, most.CPUs)
	case most.Memory < needs.Memory:
		return fmt.Sprintf("a task needs %s of memory, and no agent has offered more than %s", jobs.FormatSize(needs.Memory), jobs.FormatSize(most.Memory))
	case most.Disk < needs.Disk:
		return fmt.Sprintf("a task needs %s of disk, and no agent has offered more than %s", jobs.FormatSize(needs.Disk), jobs.FormatSize(most.Disk))
	}
	return fmt.Sprintf("a task needs %g cpus, %s of memory and %s of disk, and no agent has offered all of that at a time",
		needs.CPUs, jobs.FormatSize(needs.Memory), jobs.FormatSize(needs.Disk))
}
