package jobs

import (
	"slices"
	"strings"
)

// rolePattern is CheckRole in one line, for the schema.
const rolePattern = `^` + roleComponent + `(/` + roleComponent + `)*$`

// roleComponent is neither ".", ".." nor "*", and begins with no dash.
const roleComponent = `([^\x00-\x20\x7f/.*-][^\x00-\x20\x7f/]*|\.([^\x00-\x20\x7f/.][^\x00-\x20\x7f/]*|\.[^\x00-\x20\x7f/]+)|\*[^\x00-\x20\x7f/]+)`

// CheckRole returns an error if s cannot be a Mesos role of ours: names divided by slashes, each without white space,
// not beginning with a dash, and neither ".", ".." nor "*". The role "*" is nobody's own and not allowed either.
func CheckRole(s string) error { return problemError(roleProblem(s)) }

func roleProblem(s string) string {
	const most = 255
	switch {
	case s == "":
		return "the role is empty"
	case s == "*":
		return "the role \"*\" cannot be used: name a role of its own"
	case len(s) > most:
		return "the role is longer than 255 bytes"
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "the role contains white space or a control character"
	case strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//"):
		return "a role has names between its slashes, as in data/batch"
	}
	for name := range strings.SplitSeq(s, "/") {
		switch {
		case slices.Contains([]string{".", "..", "*"}, name):
			return "a role cannot include \"" + name + "\" as a name"
		case strings.HasPrefix(name, "-"):
			return "a role's names cannot begin with a dash"
		}
	}
	return ""
}
