package access

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what an actor may do.
type Role string

// The roles.
const (
	Anybody   Role = "anybody" // of operations that need no token; no actor has it by itself
	Viewer    Role = "viewer"
	Submitter Role = "submitter"
	Deployer  Role = "deployer"
	Admin     Role = "admin"
)

// Roles are those that a token may have.
var Roles = []Role{Viewer, Submitter, Deployer, Admin}

// Actor is who sends a request. It is never changed.
type Actor struct {
	Name  string
	Roles []Role
	// Jobs and MesosRoles limit a submitter: names, or patterns with * for any text. Empty: all.
	Jobs, MesosRoles []string
}

// anonymous is everybody while no token is configured.
var anonymous = &Actor{Name: "anonymous", Roles: []Role{Admin}}

// Has says whether the actor may do what needs that role.
func (a *Actor) Has(role Role) bool {
	return role == Anybody || role == Viewer && len(a.Roles) > 0 || slices.Contains(a.Roles, role) || slices.Contains(a.Roles, Admin)
}

// Permit is an error, made for whoever sent the request, if the actor may do nothing to a job of that name in that Mesos
// role. Its role is another question: see Has.
func (a *Actor) Permit(job, mesosRole string) error {
	if !matchesAny(a.Jobs, job) {
		return fmt.Errorf("the token %q is for jobs named %s, not for %q", a.Name, strings.Join(a.Jobs, ", "), job)
	}
	if !matchesAny(a.MesosRoles, mesosRole) {
		return fmt.Errorf("the token %q is for jobs in the Mesos role %s, and job %q is in %q", a.Name, strings.Join(a.MesosRoles, ", "), job, mesosRole)
	}
	return nil
}

func matchesAny(patterns []string, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return matches(p, text) })
}

// matches says whether a pattern fits all of a text; * stands for any text, nothing included.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part) // the first place leaves the most for what follows
		if !found {
			return false
		}
		text = after
	}
	return true
}
