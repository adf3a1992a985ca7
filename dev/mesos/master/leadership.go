package master

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// leads says whether this master acts. It is called under the lock.
func (m *Master) leads() bool { return !m.elected.IsZero() }

// Leads says whether this master is the leader now.
func (m *Master) Leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leads()
}

// ConnectedAgents is how many agents are registered and connected; none at a master that
// does not lead.
func (m *Master) ConnectedAgents() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.connectedAgents()
}

func (m *Master) candidate() *v1.MasterInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info()
}

// follow takes the outcome of an election: nil when nobody leads.
func (m *Master) follow(leader *v1.MasterInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader = leader
	switch leads := leader.GetID() == m.id; {
	case leads && !m.leads():
		m.takeOffice()
	case !leads && m.leads():
		m.stepDown()
	}
}

// takeOffice begins a term with what the last leader left in the registry.
func (m *Master) takeOffice() {
	r, err := m.loadRegistry()
	if err == nil {
		m.registry = r
		err = m.recoverAgents()
	}
	if err != nil {
		m.log.Error("registry is not readable: nothing is recovered", "error", err)
		m.registry = newRegistry()
	}
	m.saveRegistry()
	m.elected = time.Now()
	m.log.Info("master is elected", "master", m.id, "agents_expected", len(m.recovered))
}

// stepDown forgets everything and cuts all connections. A real master ends here and is
// started again; so this one is another in its next term.
func (m *Master) stepDown() {
	m.log.Warn("master has lost its leadership", "master", m.id)
	old := m.term
	m.term = newTerm(m.cfg)
	for _, f := range old.frameworks {
		f.stopFailover()
		if f.subscription != nil {
			f.subscription.stream.Close()
		}
	}
	for _, a := range old.agents {
		if a.stream != nil {
			a.stream.commands.Close()
		}
	}
}

// atLeader lets a handler answer at the leader only; others say where that is.
func (m *Master) atLeader(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if m.Leads() {
			serve(w, r)
			return
		}
		m.redirect(w, r.URL.Path)
	}
}

// redirect sends the caller to the leader.
func (m *Master) redirect(w http.ResponseWriter, path string) {
	m.mu.Lock()
	leader := m.leader
	m.mu.Unlock()
	if leader == nil {
		wire.Refuse(http.StatusServiceUnavailable, "No leader elected").Write(w)
		return
	}
	if path != "" {
		path = "/master" + strings.TrimPrefix(path, "/master")
	}
	// Without a scheme, as in Mesos.
	w.Header()["Location"] = []string{fmt.Sprintf("//%s:%d%s", leader.GetHostname(), leader.GetPort(), path)}
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// serveRedirect tells where the leader is, at the leader too.
func (m *Master) serveRedirect(w http.ResponseWriter, _ *http.Request) { m.redirect(w, "") }

// forOperators asks for operators' credentials, if there are any.
func (m *Master) forOperators(realm string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, refusal := authenticate(r, m.cfg.OperatorCredentials, "mesos-master-"+realm); refusal != nil {
			refusal.Write(w)
			return
		}
		serve(w, r)
	}
}

// authenticate finds out who calls; without credentials it is nobody in particular.
func authenticate(r *http.Request, credentials map[string]string, realm string) (principal string, refusal *wire.Refusal) {
	if len(credentials) == 0 {
		return "", nil
	}
	principal, secret, _ := r.BasicAuth()
	want, known := credentials[principal]
	if !known || subtle.ConstantTimeCompare([]byte(secret), []byte(want)) != 1 {
		refusal := wire.Refuse(http.StatusUnauthorized, "401 Unauthorized.")
		refusal.Header = http.Header{"Www-Authenticate": {fmt.Sprintf("Basic realm=%q", realm)}}
		return "", refusal
	}
	return principal, nil
}
