package master

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/queue"
)

// maxLinkBody bounds what an agent sends at once.
const maxLinkBody = 64 << 20

func (m *Master) handleLink(mux *http.ServeMux) {
	mux.HandleFunc("POST "+link.RegisterPath, m.serveRegister)
	mux.HandleFunc("POST "+link.ReportPath, m.serveReport)
}

func decodeLink(r *http.Request, into any) error {
	return json.NewDecoder(io.LimitReader(r.Body, maxLinkBody)).Decode(into)
}

// serveRegister is an agent's connection: it lasts as long as the answer.
func (m *Master) serveRegister(w http.ResponseWriter, r *http.Request) {
	registration := &link.Registration{}
	if err := decodeLink(r, registration); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, refusal := authenticate(r, m.cfg.AgentCredentials, "mesos-master-agents"); refusal != nil {
		refusal.Write(w)
		return
	}
	if why := m.unwanted(registration); why != "" {
		http.Error(w, why, http.StatusGone)
		return
	}
	stream := &agentStream{id: uuid.NewString(), commands: queue.New[link.Command]()}
	m.mu.Lock()
	if !m.leads() {
		m.mu.Unlock()
		http.Error(w, "this master does not lead", http.StatusServiceUnavailable)
		return
	}
	a, err := m.register(registration, stream)
	m.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.serveCommands(w, r, a, stream)
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.stream == stream {
		m.disconnectAgent(a)
	}
}

// unwanted says why a registering agent is sent away; empty if it is not.
func (m *Master) unwanted(registration *link.Registration) string {
	info := &v1.AgentInfo{}
	if registration.Agent.Decode(info) != nil {
		return "" // to be refused for that
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.registry.Gone[info.GetID().GetValue()]:
		return "Agent has been marked gone"
	case m.isDown(machineOnto(info.Hostname, registration.PID)):
		return "Machine is `DOWN`"
	}
	return ""
}

// serveCommands writes commands until the stream is closed or the agent is gone.
func (m *Master) serveCommands(w http.ResponseWriter, r *http.Request, a *agent, stream *agentStream) {
	w.Header().Set("Content-Type", "application/json")
	out := http.NewResponseController(w)
	encoder := json.NewEncoder(w)
	first := link.Command{Registered: &link.Registered{AgentID: a.id, StreamID: stream.id, Silence: m.cfg.AgentTimeout}}
	if encoder.Encode(first) != nil {
		return
	}
	for {
		commands, closed := stream.commands.Take()
		for _, command := range commands {
			if encoder.Encode(command) != nil {
				return
			}
		}
		if out.Flush() != nil || closed {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-stream.commands.Wake():
		}
	}
}

// serveReport takes what an agent has to say.
func (m *Master) serveReport(w http.ResponseWriter, r *http.Request) {
	report := &link.Report{}
	if err := decodeLink(r, report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agentOf(r.Header.Get(link.StreamHeader))
	if a == nil {
		http.Error(w, "not the stream of a registered agent", http.StatusConflict)
		return
	}
	a.lastSeen = time.Now()
	if err := m.takeReport(a, report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (m *Master) agentOf(streamID string) *agent {
	for _, a := range m.agents {
		if a.stream != nil && a.stream.id == streamID {
			return a
		}
	}
	return nil
}

func (m *Master) takeReport(a *agent, report *link.Report) error {
	switch {
	case report.Update != nil:
		return m.update(a, report.Update)
	case report.Exited != nil:
		m.exited(a, report.Exited)
	case report.Message != nil:
		m.messageScheduler(a, report.Message)
	case report.Leaving != nil:
		m.leave(a)
	}
	return nil
}
