package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/process"
)

// agentRecord is what an agent keeps about itself.
type agentRecord struct {
	ID     string       `json:"id"`
	Listen string       `json:"listen"`          // executors come back to this address
	Total  []link.Proto `json:"total,omitempty"` // a Resource each
}

// executorRecord is what an agent keeps about a container. Records are written whole,
// beside the old one, and renamed over it.
type executorRecord struct {
	Framework link.Proto       `json:"framework"`
	Executor  link.Proto       `json:"executor"`
	Command   bool             `json:"command,omitempty"`
	Container string           `json:"container"`
	Process   process.Identity `json:"process"`
	Memory    float64          `json:"memory"`
	Ended     bool             `json:"ended,omitempty"`
	Tasks     []taskRecord     `json:"tasks"`
}

type taskRecord struct {
	Info     link.Proto   `json:"info"`
	Sent     bool         `json:"sent,omitempty"`
	Killed   bool         `json:"killed,omitempty"`
	State    int32        `json:"state"`
	Statuses []link.Proto `json:"statuses,omitempty"`
	Pending  int          `json:"pending,omitempty"` // how many of the last statuses
	Seen     [][]byte     `json:"seen,omitempty"`
	Drained  *link.Drain  `json:"drained,omitempty"`
}

func (a *Agent) metaDir() string { return filepath.Join(a.cfg.WorkDir, "meta") }

func (a *Agent) agentFile() string { return filepath.Join(a.metaDir(), "agent.json") }

func (a *Agent) recordFile(e *executor) string {
	return filepath.Join(a.metaDir(), "containers", e.container+".json")
}

func writeRecord(file string, record any) error {
	encoded, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", encoded, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func (a *Agent) checkpointAgent() error {
	if err := writeRecord(a.agentFile(), agentRecord{ID: a.id(), Listen: a.endpoint(), Total: a.total}); err != nil {
		return fmt.Errorf("checkpoint agent: %w", err)
	}
	return nil
}

// checkpoint stores a container. A failure is only logged: the container goes on, and
// what is lost is what a restart would find.
func (a *Agent) checkpoint(e *executor) {
	record := executorRecord{
		Framework: link.Encode(e.framework.info), Executor: link.Encode(e.info), Command: e.command,
		Container: e.container, Process: e.process, Memory: e.memory, Ended: e.phase == terminated,
	}
	for _, t := range e.order {
		record.Tasks = append(record.Tasks, t.record())
	}
	if err := writeRecord(a.recordFile(e), record); err != nil {
		a.log.Error("checkpoint failed", "executor", e.id(), "error", err)
	}
}

func (t *task) record() taskRecord {
	record := taskRecord{
		Info: link.Encode(t.info), Sent: t.sent, Killed: t.killed,
		State: int32(t.state), Pending: len(t.pending), Drained: t.drained,
	}
	for i := range t.statuses {
		record.Statuses = append(record.Statuses, link.Encode(&t.statuses[i]))
	}
	for id := range t.seen {
		record.Seen = append(record.Seen, []byte(id))
	}
	return record
}

func (a *Agent) dropCheckpoint(e *executor) {
	if err := os.Remove(a.recordFile(e)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("checkpoint was not removed", "executor", e.id(), "error", err)
	}
}

// forget makes the next agent on this work directory a new one.
func (a *Agent) forget() error {
	if err := os.RemoveAll(a.metaDir()); err != nil {
		return fmt.Errorf("forget agent: %w", err)
	}
	return nil
}

// recover reads what an earlier agent left.
func (a *Agent) recover() error {
	record := agentRecord{}
	encoded, err := os.ReadFile(a.agentFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(encoded, &record)
	}
	if err != nil {
		return fmt.Errorf("recover agent: %w", err)
	}
	a.info.ID = &v1.AgentID{Value: record.ID}
	a.total = record.Total
	if _, port, err := net.SplitHostPort(a.cfg.Listen); err == nil && port == "0" {
		a.cfg.Listen = record.Listen
	}
	files, err := filepath.Glob(filepath.Join(a.metaDir(), "containers", "*.json"))
	if err != nil {
		return fmt.Errorf("recover agent: %w", err)
	}
	sort.Strings(files)
	for _, file := range files {
		if err := a.recoverExecutor(file); err != nil {
			return fmt.Errorf("recover container %q: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func (a *Agent) recoverExecutor(file string) error {
	encoded, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	record := executorRecord{}
	if err := json.Unmarshal(encoded, &record); err != nil {
		return err
	}
	frameworkInfo, info := &v1.FrameworkInfo{}, &v1.ExecutorInfo{}
	if err := errors.Join(record.Framework.Decode(frameworkInfo), record.Executor.Decode(info)); err != nil {
		return err
	}
	f := a.frameworks[frameworkInfo.ID.Value]
	if f == nil {
		f = &framework{id: frameworkInfo.ID.Value, info: frameworkInfo, executors: map[string]*executor{}}
		a.frameworks[f.id] = f
	}
	e := &executor{
		framework: f, info: info, command: record.Command, container: record.Container,
		process: record.Process, memory: record.Memory, phase: registering,
		tasks: map[string]*task{},
	}
	e.sandbox = a.sandboxOf(f.id, e.id(), e.container)
	switch {
	case record.Ended:
		e.phase = terminated
	case e.command:
		e.phase = running
	}
	for _, t := range record.Tasks {
		if err := e.recoverTask(t); err != nil {
			return err
		}
	}
	f.executors[e.id()] = e
	return nil
}

func (e *executor) recoverTask(record taskRecord) error {
	info := &v1.TaskInfo{}
	if err := record.Info.Decode(info); err != nil {
		return err
	}
	t := e.addTask(info)
	t.sent, t.killed, t.state = record.Sent, record.Killed, v1.TaskState(record.State)
	t.drained = record.Drained
	for _, id := range record.Seen {
		t.seen[string(id)] = true
	}
	for _, encoded := range record.Statuses {
		status := &v1.TaskStatus{}
		if err := encoded.Decode(status); err != nil {
			return err
		}
		t.statuses = append(t.statuses, *status)
		t.latest = status
	}
	if record.Pending > len(t.statuses) {
		return errors.New("more pending updates than updates")
	}
	for i := len(t.statuses) - record.Pending; i < len(t.statuses); i++ {
		t.pending = append(t.pending, proto.Clone(&t.statuses[i]).(*v1.TaskStatus))
	}
	return nil
}

// resumeExecutors takes up the recovered containers: those that live are waited for,
// those that are gone or not to be recovered are cleared up.
func (a *Agent) resumeExecutors() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			if e.phase == terminated {
				continue
			}
			lives := e.process.PID != 0 && e.process.Alive() && f.info.GetCheckpoint()
			if lives && !e.command {
				a.reregistered[e] = true
			}
			a.background.Go(func() {
				if !lives {
					a.ended(e, unknownStatus)
					return
				}
				a.await(e)
			})
		}
	}
	if len(a.reregistered) == 0 {
		close(a.recovered)
	}
}

// cameBack notes that a recovered executor is connected again, or gone; with the
// last one the recovery is over and the agent registers.
func (a *Agent) cameBack(e *executor) {
	if !a.reregistered[e] {
		return
	}
	delete(a.reregistered, e)
	if len(a.reregistered) == 0 {
		close(a.recovered)
	}
}

// awaitRecovery ends the executors that did not come back in time.
func (a *Agent) awaitRecovery() {
	timeout := time.NewTimer(a.cfg.ExecutorReregistrationTimeout)
	defer timeout.Stop()
	select {
	case <-a.ctx.Done():
		return
	case <-a.recovered:
		return
	case <-timeout.C:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for e := range a.reregistered {
		a.log.Warn("executor did not come back", "executor", e.id(), "framework", e.framework.id)
		a.kill(e, &termination{
			reason:  v1.REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
			message: "Executor did not reregister within " + duration(a.cfg.ExecutorReregistrationTimeout),
		})
		a.cameBack(e)
	}
}
