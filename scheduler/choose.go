package scheduler

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// choice is where a new run goes.
type choice struct {
	version *version
	channel string // that the spec follows; empty: it names the version
	rollout uint32 // of the channel, that the run counts for; 0: none
}

// choose says where a run goes whose spec asks for v: while a rollout is open, a share goes to its new version. A job that
// the new version cannot do takes no part.
func (c *Core) choose(spec *jobs.Spec, run string, v *version) choice {
	ch := c.channels[spec.Executor.Channel]
	if ch == nil {
		return choice{version: v}
	}
	chosen := choice{version: v, channel: ch.rec.Name}
	r := ch.open()
	if r == nil || !rollout.TakesPart(&r.Plan, spec.Name) || !c.versions[r.To].suits(spec) {
		return chosen
	}
	chosen.rollout = r.Number
	if rollout.Takes(spec.Name, run, rollout.Share(r)) {
		chosen.version = c.versions[r.To]
	}
	return chosen
}

// suitsRollout refuses a spec that the new version of its channel's open rollout cannot do: its runs would go to both.
func (c *Core) suitsRollout(spec *jobs.Spec) *Error {
	ch := c.channels[spec.Executor.Channel]
	if ch == nil || ch.open() == nil {
		return nil
	}
	if problems := c.lacking(c.versions[ch.open().To], spec); len(problems) > 0 {
		return invalid(fmt.Sprintf("channel %q moves to an executor that cannot do this job", ch.rec.Name), problems)
	}
	return nil
}

// refused says whether a check has failed for what the expressions are.
func (ck *check) refused() bool {
	return ck != nil && ck.state == proto.CHECKS_FAILED && !ck.undecided
}

// vet is the check that a new run has to wait for, or that failed; nil if it passed. Expressions that the new version
// of a rollout refuses speak against that version, if the old one takes them, and the run goes to the old one.
func (c *Core) vet(rev *revision, chosen *choice, old *version) *check {
	ck := c.checkFor(rev, chosen.version)
	if chosen.version == old || !ck.refused() {
		return ck
	}
	*chosen = choice{version: old, channel: chosen.channel}
	before := c.checkFor(rev, old)
	if before == nil {
		c.refusedByNew(rev, chosen.channel)
	}
	return before
}

// refusedByNew takes a channel's rollout back if its new version has refused the expressions of a revision, which its old
// one takes.
func (c *Core) refusedByNew(rev *revision, channel string) {
	ch := c.channels[channel]
	if ch == nil || ch.open() == nil || rev.spec == nil || !rollout.TakesPart(&ch.open().Plan, rev.rec.Job) {
		return
	}
	r := ch.open()
	ck := c.checks[checkKey(r.To, rev.rec.Kind, rev.spec.Section.Expressions())]
	if !ck.refused() {
		return
	}
	why := fmt.Sprintf("%s refuses expressions of job %q that %s takes: %s", r.To, rev.rec.Job, r.From, ck.problems[0].Detail)
	if changed, err := rollout.TakeBack(r, why, c.now); changed && err == nil {
		c.steered(ch, "")
	}
}

// checked goes on with a run whose check may have its answer.
func (c *Core) checked(r *run, ck *check) {
	r.leaveCheck()
	switch {
	case ck == nil || ck.state == proto.CHECKS_PASSED:
		if r.rec.Rollout == 0 {
			c.passedOnOld(r)
		}
		c.beginRun(r)
	case ck.state == proto.CHECKS_PENDING:
		r.waits = ck
		ck.runs = append(ck.runs, r)
	case !c.retreat(r, ck):
		c.failRun(r, checkError(ck))
	}
}

// passedOnOld looks whether a run that passed on the old version of a rollout had been refused by the new one.
func (c *Core) passedOnOld(r *run) {
	if ch := c.channels[r.rec.Channel]; ch != nil && ch.open() != nil && ch.open().From == r.rec.ExecutorVersion {
		c.refusedByNew(r.revision, r.rec.Channel)
	}
}

// retreat brings a run that was to go to the new version of a rollout, which refuses its expressions, to the version that
// its channel points at. It says whether there is such a version. Nothing of the run has been launched.
func (c *Core) retreat(r *run, ck *check) bool {
	ch := c.channels[r.rec.Channel]
	isNew := func(ro *proto.Rollout) bool { return ro.Number == r.rec.Rollout && ro.To == r.rec.ExecutorVersion }
	if ch == nil || !slices.ContainsFunc(ch.rollouts, isNew) || !ck.refused() || ck.version != r.rec.ExecutorVersion {
		return false
	}
	v := c.versions[ch.rec.Version]
	if v == nil || v.rec.Version == r.rec.ExecutorVersion || !v.suits(r.spec) {
		return false
	}
	c.note(slog.LevelWarn, "run goes back to another version, for its expressions are refused",
		r.attrs(slog.String("to", v.rec.Version), slog.String("message", ck.problems[0].Detail))...)
	refusing := c.versions[r.rec.ExecutorVersion]
	refusing.runs--
	c.touchVersion(refusing)
	c.runBegan(v)
	r.rec.ExecutorVersion, r.rec.Rollout = v.rec.Version, 0
	r.owner.version = v.rec.Version
	c.saveRun(r)
	c.checked(r, c.checkFor(r.revision, v))
	return true
}
