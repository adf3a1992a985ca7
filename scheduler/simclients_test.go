package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// simClients are people who use the API, and what they have been promised.
type simClients struct {
	tickets   uint64
	asked     map[uint64]CommandBody // commands without an answer
	accepted  []string               // runs
	keys      map[string]string      // run by job and idempotency key
	cancelled map[string]bool        // runs for which someone has asked that
	deleted   map[string]bool        // jobs likewise
	put       map[string]bool        // jobs
	refusing  map[string]bool        // jobs with an expression that a version refuses
	started   int
}

func newSimClients() simClients {
	return simClients{asked: map[uint64]CommandBody{}, keys: map[string]string{}, cancelled: map[string]bool{}, deleted: map[string]bool{}, put: map[string]bool{}, refusing: map[string]bool{}}
}

var simVersions = []string{"1.5.0", "1.6.0"}

// furnish registers what jobs need, and starts some runs.
func (s *simulation) furnish() {
	s.faults = false
	for _, version := range simVersions {
		s.command(RegisterVersion{Artifact: simArtifact(version)})
	}
	s.command(SetChannel{Name: "stable", Version: simVersions[0]})
	s.leader.subscribe()
	for range 1 + s.rng.IntN(6) {
		s.startJob()
	}
	for len(s.leader.inbox) > 0 || s.leader.turn != nil {
		s.leader.advance()
	}
	s.faults = true
}

func simArtifact(version string) proto.Artifact {
	artifact := parseArtifact(args{words: []string{version}})
	artifact.Description.Kinds = []string{"sim"}
	return artifact
}

// command sends a command to who leads, or to one that did.
func (s *simulation) command(body CommandBody) {
	to := s.leader
	if len(s.old) > 0 && s.rng.IntN(10) == 0 {
		to = s.old[s.rng.IntN(len(s.old))]
	}
	if to == nil {
		return
	}
	switch body := body.(type) {
	case CancelRun:
		s.cancelled[body.Run] = true
	case DeleteJob:
		s.deleted[body.Name] = true
	}
	s.tickets++
	s.asked[s.tickets] = body
	to.inbox = append(to.inbox, Command{Ticket: s.tickets, Body: body})
}

// replied is an answer that a client gets: from here on it counts on it.
func (s *simulation) replied(reply Reply) {
	body := s.asked[reply.Ticket]
	delete(s.asked, reply.Ticket)
	if reply.Err != nil {
		return
	}
	started, ok := reply.Value.(StartRunResult)
	if !ok {
		return
	}
	id := started.Run.ID
	if !started.Repeat {
		s.accepted = append(s.accepted, id)
	}
	if start := body.(StartRun); start.IdempotencyKey != "" {
		key := start.Job + "/" + start.IdempotencyKey
		if first := s.keys[key]; first != "" && first != id {
			s.breach(runsEnd, "idempotency key %s was answered with run %s, and now with %s", key, first, id)
		}
		s.keys[key] = id
		if !slices.Contains(s.accepted, id) {
			s.accepted = append(s.accepted, id)
		}
	}
}

// simStages are the stages of jobs; the last one is the task that commits.
var simStages = []string{"[1]", "[2, 1]", "[1, 3, 1]", "[1, 0, 4, 1]", "[6, 1]"}

// api is someone who wants something.
func (s *simulation) api() {
	switch n := s.rng.IntN(22); {
	case n < 10:
		if s.started < 12 {
			s.startJob()
		}
	case n < 11 && len(s.accepted) > 0:
		s.command(CancelRun{Run: s.accepted[s.rng.IntN(len(s.accepted))]})
	case n < 13:
		s.moveChannel()
	case n < 14 && s.rng.IntN(6) == 0:
		s.command(DeleteJob{Name: s.anyJob()})
	case n < 15:
		s.command(DeleteVersion{Version: simVersions[s.rng.IntN(2)]})
	case n < 17:
		s.command(RegisterVersion{Artifact: simArtifact(simVersions[s.rng.IntN(2)])})
	case n < 18:
		s.command(ArchiveRuns{Runs: s.settled()})
	case n < 20:
		s.moveChannel()
	default:
		s.command(StartRun{Job: s.anyJob(), IdempotencyKey: s.anyKey()})
	}
}

// settled are runs that an archiver may have written away: the core trusts it in that.
func (s *simulation) settled() []string {
	return slices.DeleteFunc(slices.Clone(s.accepted), func(id string) bool {
		rec := s.store.runs[id]
		return rec == nil || !jobs.Terminal(rec.State) || rec.CleanUp == proto.CLEAN_UP_PENDING
	})
}

func (s *simulation) anyJob() string { return fmt.Sprintf("job-%d", s.rng.IntN(3)) }

func (s *simulation) anyKey() string { return fmt.Sprintf("key-%d", s.rng.IntN(2)) }

// startJob puts a job, perhaps with another spec than before, and starts a run.
func (s *simulation) startJob() {
	s.started++
	name := s.anyJob()
	key := ""
	if s.rng.IntN(3) == 0 {
		key = s.anyKey()
	}
	if s.put[name] && s.rng.IntN(4) > 0 {
		s.command(StartRun{Job: name, IdempotencyKey: key})
		return
	}
	s.put[name] = true
	check, more := "", ""
	if s.rng.IntN(3) == 0 {
		check = fmt.Sprintf(`, "check": [%q]`, []string{"a", "b", simOld, simUnsound}[s.rng.IntN(4)])
		if strings.Contains(check, simOld) || strings.Contains(check, simUnsound) {
			s.refusing[name] = true // from now on, for earlier revisions may run
		}
	}
	if s.rng.IntN(3) == 0 {
		more = `, "role": "data/batch"`
	}
	if s.rng.IntN(4) > 0 {
		more += fmt.Sprintf(`, "timeout": "%ds"`, 60+s.rng.IntN(60))
	}
	if s.rng.IntN(5) == 0 {
		more += `, "constraints": [{"attribute": "hostname", "operator": "is_not", "value": "host-1"}]`
	}
	s.command(PutJob{Spec: fmt.Appendf(nil, `{"name": %q, "kind": "sim", "parallelism": %d, "retries": {"max": 1, "backoff": "1s"},
		"resources": {"cpus": 0.5, "memory": "%dMiB"}%s, "sim": {"stages": %s%s}}`,
		name, 1+s.rng.IntN(4), 256*(1+s.rng.IntN(3)), more, simStages[s.rng.IntN(len(simStages))], check)})
	s.command(StartRun{Job: name, IdempotencyKey: key})
}
