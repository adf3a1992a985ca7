package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/proto"
)

// runs starts runs one after another and lets each end at once: those on versions other than a channel's own fail, as
// long as some are to.
func (s *script) runs(a args) string {
	n, _ := strconv.Atoi(a.word(1))
	fail, _ := strconv.Atoi(a.named["fail"])
	went := map[string]int{}
	for range n {
		version, took := s.oneRun(a.word(0), &fail)
		if version == "" {
			return took
		}
		went[version]++
	}
	var out strings.Builder
	for _, version := range sortedKeys(went) {
		fmt.Fprintf(&out, "%d on %s\n", went[version], version)
	}
	return out.String()
}

func (s *script) oneRun(job string, fail *int) (version, problem string) {
	s.ticket++
	out := s.step(Command{Ticket: s.ticket, Body: StartRun{Job: job}})
	result, ok := s.last.Replies[0].Value.(StartRunResult)
	if !ok {
		return "", out
	}
	s.step(s.parseOffers("fast cpus=8 mem=8GiB disk=8GiB"))
	version = s.core.runs[result.Run.ID].rec.ExecutorVersion
	isOld := slices.ContainsFunc(sortedKeys(s.core.channels), func(name string) bool { return s.core.channels[name].rec.Version == version })
	for id, at := range s.core.attempts {
		if at.task.run == nil || at.task.run.rec.ID != result.Run.ID {
			continue
		}
		end := &proto.TaskResult{Counters: proto.Counters{Rows: 10}}
		state := "TASK_FINISHED"
		if *fail > 0 && !isOld {
			*fail--
			state, end.Failure = "TASK_FAILED", &proto.Failure{Class: proto.CLASS_FINAL, Kind: "internal", Message: "made to fail"}
		}
		s.step(Update{MesosID: id, AgentID: "fast", ExecutorID: at.rec().ExecutorID, State: state, Source: fromExecutor, UUID: []byte("u"), Data: proto.Encode(end)})
		break
	}
	return version, ""
}
