package master

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
)

// frameworkProblem judges a FrameworkInfo, in Mesos' own words.
func frameworkProblem(info *v1.FrameworkInfo) string {
	if problem := rolesProblem(info); problem != "" {
		return problem
	}
	if id := info.GetID().GetValue(); id != "" {
		if problem := idProblem(id); problem != "" {
			return "'FrameworkInfo.id' is not a valid ID: " + problem
		}
	}
	if timeout := info.GetFailoverTimeout(); timeout < 0 || timeout != timeout {
		return fmt.Sprintf("The framework failover_timeout (%v) is invalid: Duration must not be negative", timeout)
	}
	return ""
}

func rolesProblem(info *v1.FrameworkInfo) string {
	if !hasCapability(info, v1.FrameworkInfo_Capability_MULTI_ROLE) {
		if len(info.Roles) > 0 {
			return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
		}
		if problem := roleProblem(info.GetRole()); info.Role != nil && problem != "" {
			return "'FrameworkInfo.role' is not a valid role: " + problem
		}
		return ""
	}
	if info.Role != nil {
		return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
	}
	var seen []string
	for _, role := range info.Roles {
		if slices.Contains(seen, role) {
			return "'FrameworkInfo.roles' contains duplicate items: " + role
		}
		seen = append(seen, role)
		if problem := roleProblem(role); problem != "" {
			return "'FrameworkInfo.roles' contains invalid role: " + problem
		}
	}
	return ""
}

func roleProblem(role string) string {
	switch {
	case role == "*":
		return ""
	case role == "":
		return "Empty role name is invalid"
	case strings.HasPrefix(role, "/"):
		return "Role '" + role + "' cannot start with a slash"
	case strings.HasSuffix(role, "/"):
		return "Role '" + role + "' cannot end with a slash"
	}
	for component := range strings.SplitSeq(role, "/") {
		switch {
		case component == "":
			return "Role '" + role + "' cannot contain two adjacent slashes"
		case component == "." || component == ".." || component == "*":
			return "Role '" + role + "' cannot include '" + component + "' as a component"
		case strings.HasPrefix(component, "-"):
			return "Role component '" + component + "' is invalid because it begins with a dash"
		case strings.ContainsFunc(component, func(r rune) bool { return unicode.IsSpace(r) || r == '\b' }):
			return "Role component '" + component + "' is invalid because it contains backspace or whitespace"
		}
	}
	return ""
}

// idProblem judges the IDs that schedulers choose: they become file names.
func idProblem(id string) string {
	switch {
	case id == "":
		return "ID must not be empty"
	case len(id) > 255:
		return "ID must not be greater than 255 characters"
	case id == "." || id == "..":
		return "'" + id + "' is disallowed"
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsControl(r) || r == '/' || r == '\\' }):
		return "'" + id + "' contains invalid characters"
	}
	return ""
}

// updateProblem says what about a living framework cannot be changed.
func updateProblem(old, changed *v1.FrameworkInfo) string {
	switch {
	case old.GetPrincipal() != changed.GetPrincipal():
		return "Changing framework's principal is not allowed."
	case old.User != changed.User:
		return fmt.Sprintf("Updating 'FrameworkInfo.user' is unsupported; attempted to update from '%s' to '%s'", old.User, changed.User)
	case old.GetCheckpoint() != changed.GetCheckpoint():
		return fmt.Sprintf("Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '%t' to '%t'",
			old.GetCheckpoint(), changed.GetCheckpoint())
	}
	return ""
}

// suppressedProblem judges the roles that a framework wants no offers in.
func suppressedProblem(info *v1.FrameworkInfo, suppressed []string) string {
	var others []string
	for _, role := range suppressed {
		if !slices.Contains(rolesOf(info), role) {
			others = append(others, role)
		}
	}
	if len(others) == 0 {
		return ""
	}
	slices.Sort(others)
	return "Suppressed roles { " + strings.Join(slices.Compact(others), ", ") + " } are not contained in the set of roles"
}

func hasCapability(info *v1.FrameworkInfo, capability v1.FrameworkInfo_Capability_Type) bool {
	return slices.ContainsFunc(info.Capabilities, func(c v1.FrameworkInfo_Capability) bool { return c.Type == capability })
}

// rolesOf are the roles that a framework is offered resources in.
func rolesOf(info *v1.FrameworkInfo) []string {
	if hasCapability(info, v1.FrameworkInfo_Capability_MULTI_ROLE) {
		return info.Roles
	}
	return []string{info.GetRole()} // "*" unless set
}
