package master

import (
	"errors"
	"log/slog"
	"time"

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
	// BatchReleases lets the resources of an ended task wait for the next round, as
	// Mesos does; otherwise they are offered at once.
	BatchReleases bool
	// HeartbeatInterval is the time between two heartbeats to schedulers; 15 s if zero.
	HeartbeatInterval time.Duration
	// AgentTimeout is how long an agent may be silent before it is unreachable; 75 s
	// if zero.
	AgentTimeout time.Duration
	// Credentials are the principals that may use the scheduler API, with their
	// secrets; none means that everybody may.
	Credentials map[string]string
	// Hook judges each scheduler call and event; nil lets everything pass.
	Hook hook.Hook
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.AllocationInterval < 0 || c.HeartbeatInterval < 0 || c.AgentTimeout < 0 {
		return c, errors.New("configure master: a negative duration")
	}
	setDefault(&c.Listen, "127.0.0.1:0")
	setDefault(&c.AllocationInterval, time.Second)
	setDefault(&c.HeartbeatInterval, 15*time.Second)
	setDefault(&c.AgentTimeout, 75*time.Second)
	setDefault(&c.Logger, slog.Default())
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
