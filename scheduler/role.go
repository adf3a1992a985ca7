package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/jobs"
)

// Roles are what the framework subscribes with: the configured ones first, then those of runs that had not ended when
// the Core was made, although they are configured no more. New runs have configured ones only.
func (c *Core) Roles() []string { return slices.Clone(c.roles) }

// join adds a role to subscribe with.
func (c *Core) join(role string) {
	if !slices.Contains(c.roles, role) {
		c.roles = append(c.roles, role)
		c.demand.share(role)
	}
}

// roleOf is under which role a run of a spec is to be.
func (c *Core) roleOf(spec *jobs.Spec) (string, *Error) {
	role := cmp.Or(spec.Role, c.cfg.Roles[0])
	if slices.Contains(c.cfg.Roles, role) {
		return role, nil
	}
	quoted := make([]string, len(c.cfg.Roles))
	for i, known := range c.cfg.Roles {
		quoted[i] = fmt.Sprintf("%q", known)
	}
	detail := fmt.Sprintf("role %q is not configured; known are %s", role, strings.Join(quoted, ", "))
	return "", invalid("the spec names a role that the scheduler does not have", []jobs.Problem{{Pointer: "/role", Detail: detail}})
}
