package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

// registry is what outlives a master's term, as in Mesos' own registry: which agents
// were admitted, which are gone, what operators have ordered. Tasks are not in it;
// agents tell them when they register again.
type registry struct {
	Leader   string                `json:"leader"` // whose it is
	Agents   map[string]*admission `json:"agents"` // by ID
	Gone     map[string]bool       `json:"gone"`
	Schedule link.Proto            `json:"schedule,omitempty"` // a maintenance.Schedule
	Down     []machine             `json:"down,omitempty"`
}

// admission is an agent that was admitted and is not gone.
type admission struct {
	Info        link.Proto  `json:"info"` // an AgentInfo
	Unreachable *time.Time  `json:"unreachable,omitempty"`
	Deactivated bool        `json:"deactivated,omitempty"`
	Drain       *link.Drain `json:"drain,omitempty"`
	Drained     bool        `json:"drained,omitempty"`
	DrainStart  time.Time   `json:"drain_start,omitzero"`
}

func newRegistry() *registry {
	return &registry{Agents: map[string]*admission{}, Gone: map[string]bool{}}
}

// loadRegistry reads what the last leader left; without a file there is nothing.
func (m *Master) loadRegistry() (*registry, error) {
	r := newRegistry()
	if m.cfg.Registry == "" {
		return r, nil
	}
	encoded, err := os.ReadFile(m.cfg.Registry)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(encoded, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read registry %q: %w", m.cfg.Registry, err)
	}
	return r, nil
}

// saveRegistry stores the registry, which is this master's from then on if it takes
// office just now. A failure is only logged: what is lost is what the next leader would
// have known.
func (m *Master) saveRegistry() {
	if m.cfg.Registry == "" {
		return
	}
	if err := m.writeRegistry(); err != nil {
		m.log.Error("registry was not written", "file", m.cfg.Registry, "error", err)
	}
}

// writeRegistry refuses to when another master has taken the registry over: this one has
// lost its lead and was not told yet.
func (m *Master) writeRegistry() error {
	current, err := m.loadRegistry()
	if err != nil {
		return err
	}
	if m.leads() && current.Leader != m.id {
		return fmt.Errorf("master %s has taken over", current.Leader)
	}
	m.registry.Leader = m.id
	encoded, err := json.Marshal(m.registry)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.cfg.Registry), 0o755); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%s", m.cfg.Registry, m.id)
	if err := os.WriteFile(temporary, encoded, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, m.cfg.Registry)
}

// recoverAgents takes up what the registry says: agents that were lost stay lost, the
// others are expected back.
func (m *Master) recoverAgents() error {
	for id, admitted := range m.registry.Agents {
		info := &v1.AgentInfo{}
		if err := admitted.Info.Decode(info); err != nil {
			return fmt.Errorf("recover agent %s: %w", id, err)
		}
		if admitted.Unreachable != nil {
			m.unreachable[id] = &agent{id: id, info: info, total: info.Resources, unreachableSince: *admitted.Unreachable}
			continue
		}
		m.recovered[id] = info
	}
	m.schedule = &maintenance.Schedule{}
	if err := m.registry.Schedule.Decode(m.schedule); err != nil {
		return fmt.Errorf("recover maintenance schedule: %w", err)
	}
	return nil
}

// admit notes a registered agent.
func (m *Master) admit(a *agent) *admission {
	delete(m.recovered, a.id)
	admitted := m.registry.Agents[a.id]
	if admitted == nil {
		admitted = &admission{}
		m.registry.Agents[a.id] = admitted
	}
	admitted.Info, admitted.Unreachable = link.Encode(a.info), nil
	m.saveRegistry()
	return admitted
}

// giveUpRecovered makes those agents unreachable that the last leader knew and that
// have not come back in time.
func (m *Master) giveUpRecovered(now time.Time) {
	if len(m.recovered) == 0 || now.Sub(m.elected) < m.cfg.AgentReregisterTimeout {
		return
	}
	for id, info := range m.recovered {
		m.log.Warn("agent did not come back", "agent", id)
		m.unreachable[id] = &agent{id: id, info: info, total: info.Resources, unreachableSince: now}
		m.registry.Agents[id].Unreachable = &now
		for _, f := range m.frameworks {
			f.send(agentFailure(id))
		}
	}
	clear(m.recovered)
	m.saveRegistry()
}
