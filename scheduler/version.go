package scheduler

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// version is an executor version and what uses it.
type version struct {
	rec       *proto.ExecutorVersion
	able      abilities
	use       *proto.Use
	runs      int // that have not ended
	cleaning  int // clean-up tasks that have not ended
	checking  int // checks that have not ended
	tasks     int // attempts that live
	executors int // with attempts that live

	view *VersionView // nil: to be built anew
}

func (c *Core) newVersion(rec *proto.ExecutorVersion) *version {
	return &version{rec: rec, able: abilitiesOf(rec, c.cfg.Kinds), use: &proto.Use{Version: rec.Version}}
}

// artifact is the version's file for a platform, or nil.
func (v *version) artifact(os, arch string) *proto.Artifact {
	for i := range v.rec.Artifacts {
		if a := &v.rec.Artifacts[i]; a.OS == os && a.Arch == arch {
			return a
		}
	}
	return nil
}

func (c *Core) registerVersion(cmd RegisterVersion) (RegisterVersionResult, *Error) {
	artifact := cmd.Artifact
	said := &artifact.Description
	if err := jobs.CheckVersion(said.Version); err != nil {
		return RegisterVersionResult{}, errorf(Invalid, "register executor: %v", err)
	}
	switch {
	case artifact.OS == "" || artifact.Arch == "" || artifact.SHA256 == "":
		return RegisterVersionResult{}, errorf(Invalid, "register executor version %q: platform and SHA-256 are needed", said.Version)
	case said.ProtocolMin > protocolMax || said.ProtocolMax < protocolMin:
		return RegisterVersionResult{}, errorf(Invalid, "register executor version %q: it speaks protocol %d to %d, this scheduler %d to %d",
			said.Version, said.ProtocolMin, said.ProtocolMax, protocolMin, protocolMax)
	case len(said.Kinds) == 0:
		return RegisterVersionResult{}, errorf(Invalid, "register executor version %q: it does no kind of job", said.Version)
	}
	v := c.versions[said.Version]
	if v != nil {
		if known := v.artifact(artifact.OS, artifact.Arch); known != nil {
			if known.SHA256 != artifact.SHA256 {
				return RegisterVersionResult{}, errorf(Conflict, "executor version %q for %s-%s is registered with other bytes (SHA-256 %s); a version never changes, register a new one",
					said.Version, artifact.OS, artifact.Arch, known.SHA256)
			}
			return RegisterVersionResult{Version: cloneVersion(v.rec)}, nil
		}
	}
	if err := c.otherBytes(&artifact); err != nil {
		return RegisterVersionResult{}, err
	}
	if v == nil {
		v = c.newVersion(&proto.ExecutorVersion{Version: said.Version, Registered: c.now})
		c.versions[said.Version] = v
	}
	registered := c.now
	artifact.Registered = &registered
	v.rec.Artifacts = append(v.rec.Artifacts, artifact)
	v.able = abilitiesOf(v.rec, c.cfg.Kinds)
	c.saveVersion(v)
	c.newPlatform()
	c.note(slog.LevelInfo, "executor version registered", slog.String("version", said.Version),
		slog.String("platform", artifact.OS+"-"+artifact.Arch), slog.String("sha256", artifact.SHA256))
	return RegisterVersionResult{Version: cloneVersion(v.rec), Created: true}, nil
}

// newPlatform: tasks may wait for agents of the platform that has just been registered.
func (c *Core) newPlatform() {
	for _, share := range c.demand.shares {
		share.grow()
	}
}

func (c *Core) deleteVersion(cmd DeleteVersion) (*proto.ExecutorVersion, *Error) {
	v := c.versions[cmd.Version]
	if v == nil {
		return nil, c.unknownVersion(cmd.Version)
	}
	if users := c.usersOf(v); len(users) > 0 {
		return nil, inUse(cmd.Version, users)
	}
	c.dropVersion(v, cmd.By)
	c.note(slog.LevelInfo, "executor version removed", slog.String("version", cmd.Version), slog.String("by", cmd.By))
	return v.rec, nil
}

// dropVersion forgets a version that nothing uses, and what became of it. Only its name and sums stay.
func (c *Core) dropVersion(v *version, by string) {
	name := v.rec.Version
	c.retireVersion(v, by)
	delete(c.versions, name)
	c.remove(KindVersion, name)
	if v.use.Last != nil {
		c.remove(KindUse, name)
	}
	c.forgetChecks(name)
	c.view.versions = true
}

// resolve finds the executor version that a spec asks for now. A spec with a role that is not there has none.
func (c *Core) resolve(spec *jobs.Spec) (*version, *Error) {
	const cannot = "the spec names an executor that is not there"
	if _, err := c.roleOf(spec); err != nil {
		return nil, err
	}
	name := spec.Executor.Version
	if channel := spec.Executor.Channel; channel != "" {
		ch := c.channels[channel]
		if ch == nil {
			return nil, invalid(cannot, []jobs.Problem{{Pointer: "/executor/channel", Detail: unknown("channel", channel, sortedKeys(c.channels))}})
		}
		name = ch.rec.Version
	}
	v := c.versions[name]
	if v == nil {
		return nil, invalid(cannot, []jobs.Problem{{Pointer: "/executor/version", Detail: c.unknownVersion(name).Message}})
	}
	if problems := c.lacking(v, spec); len(problems) > 0 {
		return nil, invalid("the executor cannot do this job", problems)
	}
	return v, nil
}

func (c *Core) unknownVersion(name string) *Error {
	return errorf(NotFound, "%s", unknown("executor version", name, sortedKeys(c.versions)))
}

// unknown says that a name is not known, with a suggestion and what is.
func unknown(what, name string, known []string) string {
	text := fmt.Sprintf("unknown %s %q", what, name)
	if len(known) == 0 {
		return text + "; none is registered yet"
	}
	const most = 20
	if more := len(known) - most; more > 0 {
		text += fmt.Sprintf(" (known are %s and %d more)", quoted(known[more:]), more)
	} else {
		text += fmt.Sprintf(" (known are %s)", quoted(known))
	}
	if meant := jobs.Suggest(name, known); meant != "" {
		text += fmt.Sprintf("; did you mean %q?", meant)
	}
	return text
}

func joined(texts []string) string { return strings.Join(texts, ", ") }

func quoted(names []string) string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, fmt.Sprintf("%q", name))
	}
	return strings.Join(all, ", ")
}

func errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func invalid(message string, problems []jobs.Problem) *Error {
	return &Error{Kind: Invalid, Message: message, Problems: problems}
}
