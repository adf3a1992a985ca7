package master

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"

	"github.com/tidemill/tidemill/dev/mesos/internal/allocator"
)

// Version is the Mesos whose behaviour was recorded.
const Version = "1.12.0"

// Master is one Mesos master. All state is behind mu; what is sent under mu is only
// queued.
type Master struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	started  time.Time

	mu      sync.Mutex
	closing bool
	leader  *v1.MasterInfo // nil while nobody leads
	term                   // a new one each time that this master is elected
}

// term is all that a master knows while it leads.
type term struct {
	id      string    // a new master for each term, as one that lost is started again
	elected time.Time // zero while this master does not lead

	registry      *registry
	schedule      *maintenance.Schedule
	alloc         *allocator.Allocator
	agents        map[string]*agent
	recovered     map[string]*v1.AgentInfo // expected back
	unreachable   map[string]*agent
	frameworks    map[string]*framework
	completed     []*framework
	offers        map[string]*offer
	inverseOffers map[string]*inverseOffer
	nextAgent     int
	nextFramework int
	nextOffer     int
	counters      counters
}

func newTerm(cfg Config) term {
	return term{
		id:            uuid.NewString(),
		registry:      newRegistry(),
		schedule:      &maintenance.Schedule{},
		alloc:         allocator.New(cfg.AllocationInterval, rand.Shuffle),
		agents:        map[string]*agent{},
		recovered:     map[string]*v1.AgentInfo{},
		unreachable:   map[string]*agent{},
		frameworks:    map[string]*framework{},
		offers:        map[string]*offer{},
		inverseOffers: map[string]*inverseOffer{},
	}
}

// New makes a master and opens its port, so that URL can be told; Run serves it.
func New(cfg Config) (*Master, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("start master: %w", err)
	}
	return &Master{
		cfg:      cfg,
		log:      cfg.Logger.With("component", "mesos-master"),
		listener: listener,
		started:  time.Now(),
		term:     newTerm(cfg),
	}, nil
}

// URL is where the master answers, such as http://127.0.0.1:5050.
func (m *Master) URL() string {
	scheme := "http"
	if m.cfg.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + m.Address()
}

// Address is host and port of URL; an election.Group knows the master by it.
func (m *Master) Address() string { return m.listener.Addr().String() }

// Run serves until ctx ends; then all connections are closed and nothing that it
// started runs any more. It is called once.
func (m *Master) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           m.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}
	if m.cfg.Election == nil {
		m.follow(m.candidate())
	}
	var background sync.WaitGroup
	if m.cfg.Election != nil {
		background.Go(func() { m.cfg.Election.Contend(ctx, m.candidate, m.follow) })
	}
	background.Go(func() { m.allocateInRounds(ctx) })
	background.Go(func() { m.every(ctx, m.cfg.AgentTimeout/8, m.checkAgents) })
	background.Go(func() {
		<-ctx.Done()
		// Handlers end with ctx; those that do not within the second are cut off.
		deadline, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		if server.Shutdown(deadline) != nil {
			server.Close() //nolint:errcheck // nothing is left to be done
		}
	})
	m.log.Info("master serves", "url", m.URL())
	err := m.serve(server)
	cancel()
	background.Wait()
	m.stopTimers()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve master: %w", err)
}

func (m *Master) serve(server *http.Server) error {
	if m.cfg.TLS == nil {
		return server.Serve(m.listener)
	}
	server.TLSConfig = m.cfg.TLS.Clone()
	return server.ServeTLS(m.listener, "", "")
}

// every calls do under the lock, at each interval, while the master leads.
func (m *Master) every(ctx context.Context, interval time.Duration, do func(now time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.whileLeading(do)
		}
	}
}

func (m *Master) whileLeading(do func(now time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leads() {
		do(time.Now())
	}
}

func (m *Master) allocateInRounds(ctx context.Context) {
	if m.cfg.Rounds == nil {
		m.every(ctx, m.cfg.AllocationInterval, m.allocate)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.cfg.Rounds:
			m.whileLeading(m.allocate)
		}
	}
}

func (m *Master) stopTimers() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closing = true
	for _, f := range m.frameworks {
		f.stopFailover()
	}
}

func (m *Master) handler() http.Handler {
	mux := http.NewServeMux()
	for _, prefix := range []string{"", "/master"} {
		mux.HandleFunc(prefix+"/api/v1/scheduler", m.serveScheduler)
		mux.HandleFunc(prefix+"/api/v1", m.forOperators("readwrite", m.atLeader(m.serveOperator)))
		mux.HandleFunc("POST "+prefix+"/teardown", m.forOperators("readwrite", m.atLeader(m.serveTeardown)))
		m.handleViews(mux, prefix)
	}
	m.handleLink(mux)
	mux.HandleFunc("GET /{$}", m.forOperators("readonly", m.atLeader(m.servePage)))
	return mux
}

// info describes the master to schedulers.
func (m *Master) info() *v1.MasterInfo {
	address := m.listener.Addr().(*net.TCPAddr)
	port := uint32(address.Port)
	port32 := int32(address.Port)
	hostname, ip, version := "localhost", address.IP.String(), Version
	pid := "master@" + address.String()
	var packed uint32
	if v4 := address.IP.To4(); v4 != nil {
		packed = binary.LittleEndian.Uint32(v4) // network order in memory, as Mesos has it
	}
	const quotaV2 = v1.MasterInfo_Capability_Type(3) // mesos-go does not know it yet
	return &v1.MasterInfo{
		ID: m.id, IP: packed, Port: &port, PID: &pid, Hostname: &hostname, Version: &version,
		Address: &v1.Address{Hostname: &hostname, IP: &ip, Port: port32},
		Capabilities: []v1.MasterInfo_Capability{
			{Type: v1.MasterInfo_Capability_AGENT_UPDATE}, {Type: v1.MasterInfo_Capability_AGENT_DRAINING}, {Type: quotaV2},
		},
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
