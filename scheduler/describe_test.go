package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// How scripts show actions and views: one line each, without what a reader of the script does not look for.

func (s *script) describeChange(change Change) string {
	name := fmt.Sprintf("%s %s", change.Key.Kind, change.Key.ID)
	if change.Value == nil {
		return "-" + name
	}
	detail := ""
	switch change.Key.Kind {
	case KindFramework:
		rec := mustDecode(change.Value, &proto.Framework{})
		detail = rec.ID
		if len(rec.Info) > 0 {
			detail += fmt.Sprintf(" info=%s", rec.Info)
		}
	case KindJob:
		rec := mustDecode(change.Value, &proto.Job{})
		detail = fmt.Sprintf("revision %d", rec.Revision)
		if rec.Deleted {
			detail += " deleted"
		}
	case KindRevision:
		rec := mustDecode(change.Value, &proto.Revision{})
		detail = "checks " + jobs.CheckStateName(rec.Checks)
		if rec.CheckedWith != "" {
			detail += " with " + rec.CheckedWith
		}
	case KindPlan:
		rec := mustDecode(change.Value, &proto.Plan{})
		detail = fmt.Sprintf("%d tasks", len(rec.Inputs))
		if r := rec.Resources; r != nil {
			detail += fmt.Sprintf(" of cpus=%v mem=%s", r.CPUs, jobs.FormatSize(r.Memory))
		}
		if rec.Stage == readStage {
			detail += describeSources(rec)
		}
	case KindKey:
		rec := mustDecode(change.Value, &proto.IdempotencyKey{})
		name = fmt.Sprintf("key %s/%s", rec.Job, rec.Key)
		detail = "-> " + rec.Run
	case KindRun:
		detail = describeRun(mustDecode(change.Value, &proto.Run{}))
	case KindTask:
		detail = s.describeTask(mustDecode(change.Value, &proto.Task{}))
	case KindExecutor:
		rec := mustDecode(change.Value, &proto.Executor{})
		detail = "on " + rec.AgentID
		if rec.Role != Defaults().Roles[0] {
			detail += " as " + rec.Role
		}
		if rec.Dead {
			detail += " dead"
		}
	case KindVersion:
		rec := mustDecode(change.Value, &proto.ExecutorVersion{})
		for _, a := range rec.Artifacts {
			detail += fmt.Sprintf(" %s-%s %s %v", a.OS, a.Arch, a.SHA256, a.Description.Kinds)
		}
	case KindRetired:
		rec := mustDecode(change.Value, &proto.Retired{})
		for _, platform := range sortedKeys(rec.Files) {
			detail += fmt.Sprintf(" %s %s", platform, rec.Files[platform])
		}
	case KindChannel:
		detail = "-> " + mustDecode(change.Value, &proto.Channel{}).Version
	case KindRollout:
		detail = describeRollout(mustDecode(change.Value, &proto.Rollout{}))
	case KindTally:
		detail = describeTally(mustDecode(change.Value, &proto.Tally{}))
	}
	return name + ": " + strings.TrimSpace(detail)
}

func mustDecode[T proto.Unmarshaler](data []byte, rec T) T {
	if err := proto.Decode(data, rec); err != nil {
		panic(err)
	}
	return rec
}

func describeRollout(rec *proto.Rollout) string {
	out := fmt.Sprintf("%s %s -> %s step %d runs %d:", rollout.StateName(rec.State), rec.From, rec.To, rec.Step, rec.StepRuns)
	for _, e := range rec.Events {
		out += " " + e.Event
	}
	return out
}

func describeTally(rec *proto.Tally) string {
	return fmt.Sprintf("old %d failed %d, new %d failed %d", rec.Old.Runs, rec.Old.Failed, rec.New.Runs, rec.New.Failed)
}

func describeRun(rec *proto.Run) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s", jobs.RunStateName(rec.State), rec.ExecutorVersion)
	if rec.MovingTo != "" {
		fmt.Fprintf(&out, " moving to %s", rec.MovingTo)
	}
	for i, st := range rec.Stages {
		separator := "/"
		if i == 0 {
			separator = " "
		}
		fmt.Fprintf(&out, "%s%s:%d", separator, st.Name, st.Tasks)
	}
	if rec.Rollout != 0 {
		fmt.Fprintf(&out, " rollout=%d", rec.Rollout)
	}
	if rec.CancelRequested != nil {
		out.WriteString(" cancel-requested")
	}
	if rec.Output != nil {
		fmt.Fprintf(&out, " output=%s", rec.Output.URI)
	}
	if e := rec.Error; e != nil {
		fmt.Fprintf(&out, " error=%s %q", e.Kind, e.Message)
		if e.Pointer != "" {
			fmt.Fprintf(&out, " at %s", e.Pointer)
		}
		if e.Task != "" {
			fmt.Fprintf(&out, " task %s", e.Task)
		}
	}
	if rec.CleanUp != proto.CLEAN_UP_NONE {
		fmt.Fprintf(&out, " clean-up=%s", strings.ToLower(strings.TrimPrefix(rec.CleanUp.String(), "CLEAN_UP_")))
	}
	return out.String()
}

func (s *script) describeTask(rec *proto.Task) string {
	var out strings.Builder
	out.WriteString(jobs.TaskStateName(rec.State))
	if rec.NotBefore != nil {
		fmt.Fprintf(&out, " in %s", rec.NotBefore.Sub(s.now).Round(time.Millisecond))
	}
	if rec.Charged+rec.Free+rec.ExecutorDeaths > 0 {
		fmt.Fprintf(&out, " charged=%d free=%d deaths=%d", rec.Charged, rec.Free, rec.ExecutorDeaths)
	}
	for i, a := range rec.Attempts {
		over := jobs.TaskTerminal(a.State) || a.State == proto.TASK_LOST && !a.GivenUp
		if over && a.State != proto.TASK_FINISHED && i < len(rec.Attempts)-1 {
			continue // of earlier attempts only those that still matter
		}
		fmt.Fprintf(&out, " | %d %s on %s", a.Number, jobs.TaskStateName(a.State), a.AgentID)
		if a.Second != "" && !over {
			out.WriteString(" second")
		}
		if a.GivenUp {
			out.WriteString(" given-up")
		}
		if a.Settled {
			out.WriteString(" settled")
		}
		if a.HandedOver {
			out.WriteString(" handed-over")
		}
		if a.KillRequested != nil && a.Ended == nil {
			out.WriteString(" kill-requested")
		}
		if f := a.Failure; f != nil {
			fmt.Fprintf(&out, " %s %s %q", jobs.ClassName(f.Class), f.Kind, f.Message)
		}
	}
	return out.String()
}

func describeCall(call Call) string {
	switch call := call.(type) {
	case Accept:
		var out strings.Builder
		fmt.Fprintf(&out, "accept %s on %s refuse %s", strings.Join(call.OfferIDs, ","), call.AgentID, call.Refuse)
		for _, l := range call.Launches {
			info, _, _ := strings.Cut(string(l.ExecutorInfo), " ")
			fmt.Fprintf(&out, "\n  launch%s %s (%s) cpus=%v mem=%s by %s", describeRoles([]string{l.Role}), l.MesosID, l.Name, l.Resources.CPUs, jobs.FormatSize(l.Resources.Memory), info)
			if data := mustDecode(l.Data, &proto.TaskData{}); len(data.HandedOver) > 0 {
				fmt.Fprintf(&out, " going on with %q", data.HandedOver)
			}
		}
		return out.String()
	case Decline:
		return fmt.Sprintf("decline %s refuse %s: %s", strings.Join(call.OfferIDs, ","), call.Refuse, call.Reason)
	case Kill:
		return fmt.Sprintf("kill %s on %s", call.MesosID, call.AgentID)
	case Acknowledge:
		return fmt.Sprintf("acknowledge %s", call.MesosID)
	case SendMessage:
		request := mustDecode(call.Data, &proto.Request{})
		return fmt.Sprintf("message %s on %s: hand over %s", call.ExecutorID, call.AgentID, strings.Join(request.HandOver, " "))
	case Reconcile:
		if len(call.Tasks) == 0 {
			return "reconcile everything"
		}
		var ids []string
		for _, ref := range call.Tasks {
			ids = append(ids, ref.MesosID+"@"+ref.AgentID)
		}
		return "reconcile " + strings.Join(ids, " ")
	case AcceptInverse:
		return fmt.Sprintf("accept inverse %s refuse %s", strings.Join(call.OfferIDs, ","), call.Refuse)
	case DeclineInverse:
		return fmt.Sprintf("decline inverse %s refuse %s", strings.Join(call.OfferIDs, ","), call.Refuse)
	case Suppress:
		return "suppress" + describeRoles(call.Roles)
	case Revive:
		return "revive" + describeRoles(call.Roles)
	}
	return fmt.Sprintf("%T", call)
}

// describeRoles leaves the default one out.
func describeRoles(roles []string) string {
	if slices.Equal(roles, Defaults().Roles) {
		return ""
	}
	return " " + strings.Join(roles, ",")
}

func describeReply(reply Reply) string {
	if e := reply.Err; e != nil {
		out := fmt.Sprintf("%s: %s", e.Kind, e.Message)
		for _, p := range e.Problems {
			out += fmt.Sprintf("\n  %s: %s", p.Pointer, p.Detail)
		}
		return out
	}
	switch v := reply.Value.(type) {
	case PutJobResult:
		return fmt.Sprintf("job %s revision %d checks %s created=%v changed=%v", v.Job.Name, v.Revision.Number, jobs.CheckStateName(v.Revision.Checks), v.Created, v.Changed)
	case StartRunResult:
		if v.Archived {
			return fmt.Sprintf("run %s of %s in the archive repeat=%v", v.Run.ID, v.Run.Job, v.Repeat)
		}
		return fmt.Sprintf("run %s %s repeat=%v", v.Run.ID, jobs.RunStateName(v.Run.State), v.Repeat)
	case []string:
		return "forgot " + strings.Join(v, " ")
	case *proto.Run:
		return "run " + v.ID + " " + describeRun(v)
	case RegisterVersionResult:
		return fmt.Sprintf("version %s created=%v", v.Version.Version, v.Created)
	case *proto.ExecutorVersion:
		return "version " + v.Version
	case *proto.Rollout:
		return fmt.Sprintf("rollout %d of %s: %s: %s", v.Number, v.Channel, describeRollout(v), v.Reason)
	case *proto.Channel:
		return "channel " + v.Name + " -> " + v.Version
	case ForgottenFramework:
		return fmt.Sprintf("forgot %s %v", v.ID, v.Attempts)
	case DeleteJobResult:
		if len(v.ReadBy) > 0 {
			return "job " + v.Job.Name + " read by " + strings.Join(v.ReadBy, ", ")
		}
		return "job " + v.Job.Name
	case CheckKey:
		version, _, _ := strings.Cut(string(v), "/")
		return "check with " + version
	}
	return fmt.Sprintf("%T", reply.Value)
}

func (s *script) view(what string) string {
	v := s.core.View()
	var out strings.Builder
	switch what {
	case "jobs":
		for _, name := range sortedKeys(v.Jobs) {
			j := v.Jobs[name]
			for _, rev := range j.Revisions {
				fmt.Fprintf(&out, "%s/%d checks %s %v\n", name, rev.Number, jobs.CheckStateName(rev.Checks), rev.Problems)
			}
		}
	case "versions":
		for _, name := range sortedKeys(v.Versions) {
			out.WriteString(s.describeVersion(v.Versions[name]))
		}
	case "agents":
		for _, id := range sortedKeys(v.Agents) {
			fmt.Fprintf(&out, "%s %s tasks=%d", id, v.Agents[id].Host, v.Agents[id].Tasks)
			if until := v.Agents[id].BackOff; until.After(s.now) {
				fmt.Fprintf(&out, " back-off for %s", until.Sub(s.now).Round(time.Millisecond))
			}
			if m := v.Agents[id].Maintenance; m != nil {
				fmt.Fprintf(&out, " maintenance in %s", m.Start.Sub(s.now).Round(time.Millisecond))
				if !m.End.IsZero() {
					fmt.Fprintf(&out, " for %s", m.End.Sub(m.Start))
				}
			}
			out.WriteByte('\n')
		}
	case "checks":
		for _, key := range slices.Sorted(maps.Keys(v.Checks)) {
			ck := v.Checks[key]
			fmt.Fprintf(&out, "%s %s %v\n", ck.Version, jobs.CheckStateName(ck.State), ck.Problems)
		}
	case "rollouts":
		for _, name := range sortedKeys(v.Rollouts) {
			view := v.Rollouts[name]
			fmt.Fprintf(&out, "%s %d %s: %s\n", name, view.Rollout.Number, describeRollout(view.Rollout), view.Rollout.Reason)
			if view.Waiting != "" {
				fmt.Fprintf(&out, "  waits: %s\n", view.Waiting)
			}
			for _, t := range view.Tallies {
				fmt.Fprintf(&out, "  %s %s\n", t.Job, describeTally(t))
			}
			for _, earlier := range view.Earlier {
				fmt.Fprintf(&out, "  earlier: %d %s\n", earlier.Number, describeRollout(earlier))
			}
		}
	case "roles":
		return strings.Join(v.Roles, " ") + "\n"
	case "queue":
		fmt.Fprintf(&out, "pending=%d launched=%d leading=%v master=%q framework=%q\n", v.Queue.Pending, v.Queue.Launched, v.Leading, v.Master, v.Framework.ID)
		if len(v.Queue.Roles) > 1 {
			for _, q := range v.Queue.Roles {
				fmt.Fprintf(&out, "%s pending=%d launched=%d suppressed=%v\n", q.Role, q.Pending, q.Launched, q.Suppressed)
			}
		}
		if v.FrameworkProblem != "" {
			fmt.Fprintf(&out, "framework problem: %s\n", v.FrameworkProblem)
		}
		if !v.Queue.OldestPending.IsZero() {
			fmt.Fprintf(&out, "oldest waits for %s\n", s.now.Sub(v.Queue.OldestPending))
		}
	default:
		r := v.Runs[s.long(what)]
		if r == nil {
			return "no such run\n"
		}
		fmt.Fprintf(&out, "%s: %s progress=%.3f\n", what, describeRun(r.Run), r.Progress)
		for t := range r.Tasks() {
			fmt.Fprintf(&out, "  %s %s\n", t.Task.ID, s.describeTask(t.Task))
		}
		for _, w := range r.Waiting {
			fmt.Fprintf(&out, "  waiting %s ×%d: %s", w.Stage, w.Tasks, w.Reason)
			for _, reason := range w.Reasons {
				fmt.Fprintf(&out, "\n    %s", reason.Text)
			}
			out.WriteByte('\n')
		}
	}
	return s.short(out.String())
}

func (s *script) stored(kind string) string {
	var all []string
	for key := range s.store {
		if kind == "" || string(key.Kind) == kind {
			all = append(all, string(key.Kind)+" "+key.ID+"\n")
		}
	}
	slices.Sort(all)
	return s.short(strings.Join(all, ""))
}

func (s *script) describeVersion(v *VersionView) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s channels=%v rollouts=%v pinned=%v runs=%d tasks=%d executors=%d", v.Version.Version, v.Channels, v.Rollouts, v.Pinned, v.Runs, v.Tasks, v.Executors)
	if v.Use.First != nil {
		fmt.Fprintf(&out, " used from %s ago to %s ago", s.now.Sub(*v.Use.First).Round(time.Second), s.now.Sub(*v.Use.Last).Round(time.Second))
	}
	fmt.Fprintf(&out, " succeeded=%d failed=%d cancelled=%d\n", v.Use.Succeeded, v.Use.Failed, v.Use.Cancelled)
	for _, user := range v.KeptBy {
		fmt.Fprintf(&out, "  kept by %s\n", user)
	}
	return out.String()
}
