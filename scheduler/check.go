package scheduler

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

const (
	checkTimeout  = time.Minute
	checksAtOnce  = 8      // of one version
	checksKept    = 10_000 // answers
	undecidedText = "the expressions could not be checked: "
)

// checkResources leave room for the engine that parses the expressions.
var checkResources = jobs.Resources{CPUs: 0.1, Memory: 256 << 20}

// check asks an executor version whether a spec's expressions are sound. It is cached by version and text. Its task is
// a record only as long as it goes on.
type check struct {
	key         CheckKey
	kind        string
	version     string
	expressions []jobs.Expression
	state       proto.CheckState
	problems    []jobs.Problem
	undecided   bool // failed, but not for what the expressions are: asked again when someone wants to know
	task        *task
	revisions   []*revision // that show the answer
	runs        []*run      // that wait for it
}

func checkKey(version, kind string, expressions []jobs.Expression) CheckKey {
	hash := sha256.New()
	for _, text := range append([]string{kind}, flatten(expressions)...) {
		fmt.Fprintf(hash, "%d:%s", len(text), text)
	}
	return CheckKey(version + "/" + hex.EncodeToString(hash.Sum(nil)))
}

func flatten(expressions []jobs.Expression) []string {
	var texts []string
	for _, e := range expressions {
		texts = append(texts, e.Pointer, e.Text)
	}
	return texts
}

func (c *Core) checkSpec(cmd CheckSpec) (CheckKey, *Error) {
	spec, err := c.decode(cmd.Spec)
	if err != nil {
		return "", err
	}
	v, err := c.resolve(spec)
	if err != nil {
		return "", err
	}
	if err := c.suitsRollout(spec); err != nil {
		return "", err
	}
	if _, err := c.sources(spec); err != nil {
		return "", err
	}
	return c.ensureCheck(v.rec.Version, spec.Kind, spec.Section.Expressions()).key, nil
}

// ensureCheck returns the check of these expressions, begun now unless there is an answer or one on its way.
func (c *Core) ensureCheck(version, kind string, expressions []jobs.Expression) *check {
	key := checkKey(version, kind, expressions)
	ck := c.checks[key]
	if ck == nil {
		ck = &check{key: key, kind: kind, version: version, expressions: expressions}
		c.checks[key] = ck
		if len(expressions) == 0 {
			c.answer(ck, nil)
			return ck
		}
		c.beginCheck(ck)
	}
	if ck.undecided {
		ck.undecided, ck.state, ck.problems = false, proto.CHECKS_PENDING, nil
		c.beginCheck(ck)
	}
	return ck
}

// checkFor returns the check that a run of a revision with a version has to wait for, or that failed; nil if it passed.
func (c *Core) checkFor(rev *revision, v *version) *check {
	expressions := rev.spec.Section.Expressions()
	passed := rev.rec.Checks == proto.CHECKS_PASSED && rev.rec.CheckedWith == v.rec.Version
	if len(expressions) == 0 || passed && !v.rec.Registered.After(rev.rec.Created) {
		return nil
	}
	ck := c.ensureCheck(v.rec.Version, rev.rec.Kind, expressions)
	if rev.rec.CheckedWith == v.rec.Version {
		c.showCheck(rev, ck)
	}
	if ck.state == proto.CHECKS_PASSED {
		return nil
	}
	return ck
}

// showCheck makes a revision show what a check says, now and when it has its answer.
func (c *Core) showCheck(rev *revision, ck *check) {
	if ck.state == proto.CHECKS_PENDING && !slices.Contains(ck.revisions, rev) {
		ck.revisions = append(ck.revisions, rev)
	}
	if rec := rev.rec; rec.Checks == ck.state && rec.CheckedWith == ck.version && len(rec.Problems) == len(ck.problems) {
		return
	}
	rev.rec.Checks, rev.rec.CheckedWith, rev.rec.Problems = ck.state, ck.version, problemsToProto(ck.problems)
	c.saveRevision(rev)
}

// checker owns the executors that check for a version.
func (c *Core) checker(version string) *owner {
	o := c.checkers[version]
	if o == nil {
		o = c.newOwner(jobs.ChecksOwner(version), version, c.cfg.Roles[0], nil)
		o.checks = &shape{owner: o, stage: jobs.StageCheck, resources: checkResources, limit: checksAtOnce}
		c.checkers[version] = o
	}
	return o
}

func (c *Core) beginCheck(ck *check) {
	input := &proto.CheckInput{}
	for _, e := range ck.expressions {
		input.Expressions = append(input.Expressions, proto.Expression{Pointer: e.Pointer, Text: e.Text})
	}
	o := c.checker(ck.version)
	// Such an ID is never used again, which the owner's alone would be.
	unique := jobs.RunID(o.id, c.now, c.roll())
	t := &task{
		rec: &proto.Task{
			ID:      jobs.TaskID(unique, jobs.StageCheck, 0),
			Run:     o.id,
			Stage:   jobs.StageCheck,
			Of:      1,
			Input:   proto.Encode(input),
			Created: c.now,
			Kind:    ck.kind,
		},
		owner: o,
		check: ck,
		shape: o.checks,
	}
	ck.task = t
	c.checking = append(c.checking, ck)
	v := c.versions[ck.version]
	v.checking++
	c.touchVersion(v)
	c.view.checks = true
	c.saveTask(t)
	c.enqueue(t)
}

func (c *Core) checkFinished(t *task) {
	output := &proto.CheckOutput{}
	if err := proto.Decode(t.rec.Output, output); err != nil {
		c.checkUndecided(t, &proto.Failure{Message: fmt.Sprintf("the executor's answer cannot be read: %v", err)})
		return
	}
	c.answer(t.check, problemsFromProto(output.Problems))
}

// checkUndecided ends a check that could not be done: it fails with a problem that says so, for nobody knows that the
// expressions are sound. An executor's last word on the spec itself is an answer, though.
func (c *Core) checkUndecided(t *task, why *proto.Failure) {
	ck := t.check
	problems := []jobs.Problem{{Detail: undecidedText + why.Message}}
	ck.undecided = true
	if why.Class == proto.CLASS_FINAL && why.Pointer != "" {
		problems = []jobs.Problem{{Pointer: why.Pointer, Detail: why.Message}}
		ck.undecided = false
	}
	c.answer(ck, problems)
}

// answer ends a check: passed if there are no problems.
func (c *Core) answer(ck *check, problems []jobs.Problem) {
	c.dropCheckTask(ck)
	ck.state, ck.problems = proto.CHECKS_PASSED, problems
	if len(problems) > 0 {
		ck.state = proto.CHECKS_FAILED
	}
	c.view.checks, c.view.changed = true, true
	revisions, runs := ck.revisions, ck.runs
	ck.revisions, ck.runs = nil, nil
	for _, rev := range revisions {
		if rev.rec.CheckedWith == ck.version && slices.Contains(rev.job.revisions, rev) { // it may have been dropped meanwhile
			c.showCheck(rev, ck)
		}
	}
	for _, r := range runs {
		c.checked(r, ck)
	}
	c.forgetOldChecks(ck)
}

// checkError is the error of a run whose expressions did not pass.
func checkError(ck *check) *proto.RunError {
	kind, first := "invalid", ck.problems[0]
	if ck.undecided {
		kind = "unavailable"
	}
	return &proto.RunError{Kind: kind, Message: first.Detail, Pointer: first.Pointer, Problems: problemsToProto(ck.problems)}
}

// forgetOldChecks bounds the answers that are kept.
func (c *Core) forgetOldChecks(newest *check) {
	c.settled = append(c.settled, newest.key)
	for len(c.settled) > checksKept {
		if old := c.checks[c.settled[0]]; old != nil && old.task == nil {
			delete(c.checks, old.key)
		}
		c.settled = c.settled[1:]
	}
}

// dropCheckTask forgets the task of a check that has ended. What still runs of it is unknown from then on, and killed.
func (c *Core) dropCheckTask(ck *check) {
	t := ck.task
	if t == nil {
		return
	}
	ck.task = nil
	c.checking = slices.DeleteFunc(c.checking, func(other *check) bool { return other == ck })
	v := c.versions[ck.version]
	v.checking--
	c.touchVersion(v)
	for _, a := range t.attempts {
		delete(c.attempts, a.rec().MesosID)
		c.detach(a)
	}
	t.dropped = true
	c.remove(KindTask, t.rec.ID)
}

// forgetChecks drops what a version said that goes, and its executors.
func (c *Core) forgetChecks(version string) {
	for key, ck := range c.checks {
		if ck.version == version {
			delete(c.checks, key)
		}
	}
	if o := c.checkers[version]; o != nil {
		for _, e := range c.executorsOf(o) {
			c.retire(e)
		}
	}
	c.view.checks = true
}

// leaveCheck ends a run's wait for a check.
func (r *run) leaveCheck() {
	if ck := r.waits; ck != nil {
		ck.runs = slices.DeleteFunc(ck.runs, func(other *run) bool { return other == r })
		r.waits = nil
	}
}

func problemsToProto(problems []jobs.Problem) []proto.Problem {
	var all []proto.Problem
	for _, p := range problems {
		all = append(all, proto.Problem{Pointer: p.Pointer, Detail: p.Detail})
	}
	return all
}

func problemsFromProto(problems []proto.Problem) []jobs.Problem {
	var all []jobs.Problem
	for _, p := range problems {
		all = append(all, jobs.Problem{Pointer: p.Pointer, Detail: p.Detail})
	}
	return all
}
