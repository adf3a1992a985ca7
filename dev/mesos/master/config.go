package master

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/dev/mesos/election"
	"github.com/tidemill/tidemill/dev/mesos/hook"
)

// Config says how a master behaves. The zero value is a master on a free loopback
// port with Mesos' own timing, except for BatchReleases.
type Config struct {
	// Listen is the address of API, page and agents' link; 127.0.0.1:0 if empty.
	Listen string
	// AllocationInterval is the time between two rounds of offers; 1 s if zero.
	// Subscribing, reviving and a new agent bring offers at once.
	AllocationInterval time.Duration
	// Rounds, if not nil, brings a round of offers with each value received, in place of
	// one in each interval: for tests that must not be overtaken by one.
	Rounds <-chan struct{}
	// BatchReleases lets the resources of an ended task wait for the next round, as
	// Mesos does; otherwise they are offered at once.
	BatchReleases bool
	// HeartbeatInterval is the time between two heartbeats to schedulers; 15 s if zero.
	HeartbeatInterval time.Duration
	// AgentTimeout is how long an agent may be silent before it is unreachable; 75 s
	// if zero.
	AgentTimeout time.Duration
	// AgentReregisterTimeout is how long the agents that the last leader knew may take
	// to come back, before they are unreachable; 10 min if zero. It means nothing
	// without a Registry.
	AgentReregisterTimeout time.Duration
	// Election decides when this master leads, and who else does: a *election.ZooKeeper
	// or a *election.Group. Nil: it always leads.
	Election election.Election
	// Registry is the file that keeps, from one leader to the next, which agents there
	// are and what operators ordered; the masters of one election share it. Empty:
	// nothing is kept, and each agent that registers is taken as it is.
	Registry string
	// TLS, if not nil, is what the master serves with: URL is https then.
	TLS *tls.Config
	// Credentials are the principals that may use the scheduler API, with their
	// secrets; none means that everybody may.
	Credentials map[string]string
	// AgentCredentials are the same for agents.
	AgentCredentials map[string]string
	// OperatorCredentials are the same for the operator API, the views and the page;
	// health, version and metrics are for everybody, as /redirect is.
	OperatorCredentials map[string]string
	// Hook judges each scheduler call and event; nil lets everything pass.
	Hook hook.Hook
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.AllocationInterval < 0 || c.HeartbeatInterval < 0 || c.AgentTimeout < 0 || c.AgentReregisterTimeout < 0 {
		return c, errors.New("configure master: a negative duration")
	}
	setDefault(&c.Listen, "127.0.0.1:0")
	setDefault(&c.AllocationInterval, time.Second)
	setDefault(&c.HeartbeatInterval, 15*time.Second)
	setDefault(&c.AgentTimeout, 75*time.Second)
	setDefault(&c.AgentReregisterTimeout, 10*time.Minute)
	setDefault(&c.Logger, slog.Default())
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
