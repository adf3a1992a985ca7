package scheduler

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// How scripts spell events and commands.

func (s *script) event(name string, a args, input string) Event {
	switch name {
	case "subscribe":
		id := a.named["framework"]
		if id == "" {
			id = "fw"
		}
		return Subscribed{FrameworkID: id, Master: "http://master"}
	case "disconnect":
		return Disconnected{Reason: "closed"}
	case "offers":
		return s.parseOffers(input)
	case "update":
		return s.parseUpdate(a)
	case "message":
		return s.parseMessage(a)
	case "failure":
		return Failure{AgentID: a.named["agent"], ExecutorID: s.long(strings.ReplaceAll(a.named["executor"], " ", "_"))}
	case "rescind":
		return Rescind{OfferID: a.word(0)}
	case "call-failed":
		status, _ := strconv.Atoi(a.named["status"])
		return CallFailed{Call: s.lastCall(a.word(0), a.named["roles"]), Status: status, Reason: "refused"}
	case "inverse":
		return s.parseInverse(input)
	case "rescind-inverse":
		return RescindInverse{OfferID: a.word(0)}
	case "framework-updated":
		return FrameworkUpdated{Info: []byte(a.named["info"]), Refused: a.named["refused"]}
	case "step-down":
		return SteppedDown{}
	}
	body := s.command(name, a, input)
	if body == nil {
		return nil
	}
	s.ticket++
	return Command{Ticket: s.ticket, Body: body}
}

func (s *script) lastCall(name, roles string) Call {
	among := s.cfg.Roles
	if roles != "" {
		among = strings.Split(roles, ",")
	}
	switch name {
	case "accept":
		return *s.accept
	case "revive":
		return Revive{Roles: among}
	case "suppress":
		return Suppress{Roles: among}
	case "decline":
		if s.decline == nil {
			return Decline{OfferIDs: []string{"o9"}}
		}
		return *s.decline
	}
	s.t.Fatalf("call %q is not known", name)
	return nil
}

func (s *script) command(name string, a args, input string) CommandBody {
	switch name {
	case "register":
		return RegisterVersion{Artifact: parseArtifact(a)}
	case "unregister":
		return DeleteVersion{Version: a.word(0)}
	case "channel":
		return SetChannel{Name: a.word(0), Version: a.word(1), Rollout: parsePlan(a), By: a.named["by"],
			AllowIncompatible: slices.Contains(a.words, "allow-incompatible"), Again: slices.Contains(a.words, "again")}
	case "delete-channel":
		return DeleteChannel{Name: a.word(0), By: a.named["by"]}
	case "steer":
		number, _ := strconv.Atoi(a.named["number"])
		return SteerRollout{Channel: a.word(1), Action: RolloutAction(a.word(0)), Number: uint32(number), Reason: a.named["reason"], By: a.named["by"]}
	case "check-spec":
		return CheckSpec{Spec: []byte(input)}
	case "put-job":
		return PutJob{Spec: []byte(s.expand(input)), Create: a.word(0) == "create", Name: a.named["name"]}
	case "start":
		cmd := StartRun{Job: a.word(0), IdempotencyKey: a.named["key"], Params: map[string]string{}}
		for key, value := range a.named {
			if param, ok := strings.CutPrefix(key, "p."); ok {
				cmd.Params[param] = value
			}
		}
		return cmd
	case "cancel":
		return CancelRun{Run: s.long(a.word(0))}
	case "move":
		return MoveRun{Run: s.long(a.word(0)), Version: a.word(1), By: a.named["by"]}
	case "archive":
		var runs []string
		for _, run := range a.words {
			runs = append(runs, s.long(run))
		}
		return ArchiveRuns{Runs: runs}
	case "forget-framework":
		return ForgetFramework{}
	case "delete-job":
		return DeleteJob{Name: a.word(0)}
	}
	return nil
}

// parsePlan reads a rollout's plan; nil without steps.
func parsePlan(a args) *proto.RolloutPlan {
	if a.named["steps"] == "" {
		return nil
	}
	plan := &proto.RolloutPlan{}
	for _, step := range strings.Split(a.named["steps"], ",") {
		share, _ := strconv.Atoi(step)
		plan.Steps = append(plan.Steps, uint32(share))
	}
	plan.Interval, _ = time.ParseDuration(a.named["interval"])
	runs, _ := strconv.Atoi(a.named["runs"])
	plan.MinRuns = uint32(runs)
	plan.MaxDurationRatio, _ = strconv.ParseFloat(a.named["duration"], 64)
	if list := a.named["jobs"]; list != "" {
		plan.Jobs = strings.Split(list, ",")
	}
	return plan
}

func parseArtifact(a args) proto.Artifact {
	kinds := []string{"work"}
	if list := a.named["kinds"]; list != "" {
		kinds = strings.Split(list, ",")
	}
	orElse := func(key, value string) string {
		if v := a.named[key]; v != "" {
			return v
		}
		return value
	}
	var features []string
	if list := a.named["features"]; list != "" {
		features = strings.Split(list, ",")
	}
	least, _ := strconv.Atoi(orElse("min", "1"))
	most, _ := strconv.Atoi(orElse("max", "1"))
	arch := orElse("arch", "amd64")
	return proto.Artifact{
		OS: "linux", Arch: arch, SHA256: orElse("sha", "5ha-"+a.word(0)),
		Description: proto.Description{Version: a.word(0), OS: "linux", Arch: arch, Kinds: kinds, Features: features,
			ProtocolMin: uint32(least), ProtocolMax: uint32(most)},
	}
}

func (s *script) parseOffers(input string) Offers {
	var all Offers
	for _, line := range strings.Split(strings.TrimSpace(input), "\n") {
		agent, a := parseArgs(line)
		s.offers++
		o := Offer{
			ID: "o" + strconv.Itoa(s.offers), AgentID: agent, Host: agent + ".local", AgentURL: "http://" + agent, Role: s.cfg.Roles[0],
			Attributes: map[string]string{"hostname": agent + ".local"},
		}
		o.CPUs, _ = strconv.ParseFloat(a.named["cpus"], 64)
		o.Memory, _ = jobs.ParseSize(a.named["mem"])
		o.Disk, _ = jobs.ParseSize(a.named["disk"])
		o.Executors = s.executorsOn(agent)
		for key, value := range a.named {
			switch key {
			case "cpus", "mem", "disk":
			case "role":
				o.Role = value
			case "executors":
				o.Executors = nil
			case "maintenance":
				d, _ := time.ParseDuration(value)
				at := s.now.Add(d)
				o.Unavailable = &at
			case "lasts":
				o.UnavailableFor, _ = time.ParseDuration(value)
			default:
				o.Attributes[key] = value
			}
		}
		all.Offers = append(all.Offers, o)
	}
	return all
}

// parseInverse reads one inverse offer a line: AGENT ID starts=DURATION [lasts=DURATION]
func (s *script) parseInverse(input string) InverseOffers {
	var all InverseOffers
	for _, line := range strings.Split(strings.TrimSpace(input), "\n") {
		agent, a := parseArgs(line)
		starts, _ := time.ParseDuration(a.named["starts"])
		lasts, _ := time.ParseDuration(a.named["lasts"])
		all.Offers = append(all.Offers, InverseOffer{ID: a.word(0), AgentID: agent, Start: s.now.Add(starts), Duration: lasts})
	}
	return all
}

// executorsOn are those that the store says live on an agent.
func (s *script) executorsOn(agent string) []string {
	var all []string
	for key, value := range s.store {
		rec := &proto.Executor{}
		if key.Kind == KindExecutor && proto.Decode(value, rec) == nil && rec.AgentID == agent && !rec.Dead {
			all = append(all, rec.ID)
		}
	}
	slices.Sort(all)
	return all
}

func (s *script) parseUpdate(a args) Update {
	id := s.long(a.word(0))
	u := Update{MesosID: id, State: "TASK_" + a.word(1), Source: fromExecutor, UUID: []byte("uuid"), Message: a.named["message"]}
	if at := s.core.attempts[id]; at != nil {
		u.AgentID, u.ExecutorID = at.rec().AgentID, at.rec().ExecutorID
	}
	if reason := a.named["reason"]; reason != "" {
		u.Reason, u.Source = "REASON_"+strings.ReplaceAll(reason, " ", "_"), "SOURCE_AGENT"
	}
	if source := a.named["source"]; source != "" {
		u.Source = "SOURCE_" + source
	}
	if slices.Contains(a.words, "plain") {
		u.UUID, u.Source = nil, "SOURCE_MASTER"
		return u
	}
	if text := a.named["data"]; text != "" {
		u.Data = []byte(text)
		return u
	}
	if dir := a.named["dir"]; dir != "" {
		u.Data = proto.Encode(&proto.Started{Directory: dir})
		return u
	}
	result := &proto.TaskResult{Output: []byte(a.named["output"]), Counters: proto.Counters{Rows: 10}}
	if left := a.named["handed-over"]; left != "" {
		result.Output, result.HandedOver = []byte(left), true
	}
	if text := a.named["failure"]; text != "" {
		parts := strings.SplitN(text, ":", 4)
		class := map[string]proto.Class{"ours": proto.CLASS_OURS, "passing": proto.CLASS_PASSING, "final": proto.CLASS_FINAL}[parts[0]]
		result.Failure = &proto.Failure{Class: class, Kind: strings.ReplaceAll(parts[1], " ", "_"), Message: parts[2]}
		if len(parts) > 3 {
			result.Failure.Pointer = parts[3]
		}
	}
	if problem := a.named["problem"]; problem != "" {
		pointer, detail, _ := strings.Cut(problem, ":")
		result.Output = proto.Encode(&proto.CheckOutput{Problems: []proto.Problem{{Pointer: pointer, Detail: detail}}})
	}
	if uri := a.named["committed"]; uri != "" {
		result.Output = proto.Encode(&proto.CleanOutput{Committed: &proto.Output{URI: uri}})
	}
	u.Data = proto.Encode(result)
	return u
}

func (s *script) parseMessage(a args) Message {
	m := Message{ExecutorID: s.long(a.word(0))}
	if e := s.core.executors[m.ExecutorID]; e != nil {
		m.AgentID = e.rec.AgentID
	}
	progress := &proto.Progress{}
	var ids []string
	for id := range a.named {
		if !strings.HasPrefix(id, "peak.") && !strings.HasPrefix(id, "bytes.") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		p := proto.TaskProgress{MesosID: s.long(id)}
		p.Fraction, _ = strconv.ParseFloat(a.named[id], 64)
		p.Counters.Bytes, _ = jobs.ParseSize(a.named["bytes."+id])
		p.Counters.PeakMemory, _ = jobs.ParseSize(a.named["peak."+id])
		progress.Tasks = append(progress.Tasks, p)
	}
	m.Data = proto.Encode(progress)
	return m
}
