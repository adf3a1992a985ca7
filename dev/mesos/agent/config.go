package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/election"
	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

// Config says how an agent behaves. Master and WorkDir must be set; zero elsewhere
// means Mesos' own values, except where said otherwise.
type Config struct {
	// Master is the master's URL, such as http://127.0.0.1:5050; several with commas
	// between them, of which one leads; or zk://host1,host2/path, where masters
	// announce themselves. It is not looked at if Election is set.
	Master string
	// Election, if not nil, tells which master leads.
	Election election.Watcher
	// CAFile is a file of PEM certificates that the master's is checked against; masters
	// that an election names are then reached over TLS. Executors are told of it in
	// LIBPROCESS_SSL_CA_FILE.
	CAFile string
	// Principal and Secret are the agent's credentials at the master; none if empty.
	Principal, Secret string
	// WorkDir holds sandboxes, the fetcher's cache and the agent's own state.
	WorkDir string
	// Listen is the address of the executor API and the files; 127.0.0.1:0 if empty.
	// With port 0 an agent that is started again takes the port that it had.
	Listen string
	// TLS, if not nil, is what the executor API and the files are served with; executors
	// are told so by LIBPROCESS_SSL_ENABLED.
	TLS *tls.Config
	// DomainSocket is a path where the executor API is served too, in plain HTTP; told
	// to executors in MESOS_DOMAIN_SOCKET. None if empty.
	DomainSocket string
	// ExecutorKey, if not empty, makes executors prove who they are, by a token that is
	// signed with it and given to them in MESOS_EXECUTOR_AUTHENTICATION_TOKEN.
	ExecutorKey []byte
	// Hostname is shown in offers; localhost if empty.
	Hostname string
	// Resources are those of the agent; "cpus:4;mem:4096;disk:10240;ports:[31000-31099]"
	// if empty.
	Resources string
	// Attributes are shown in offers, as in "zone:a;rack:r1".
	Attributes string
	// ExecutorEnvironment is given to each executor and command task besides the
	// MESOS_* variables and PATH; the agent's own environment is not.
	ExecutorEnvironment map[string]string

	// ExecutorRegistrationTimeout is how long an executor may take from its launch to
	// its SUBSCRIBE; 1 min.
	ExecutorRegistrationTimeout time.Duration
	// ExecutorReregistrationTimeout is how long the executors of an agent that was
	// started again may take to come back; 10 s (Mesos: 2 s).
	ExecutorReregistrationTimeout time.Duration
	// ShutdownGracePeriod is how long an executor may take to shut down if it does not
	// say itself; 5 s.
	ShutdownGracePeriod time.Duration
	// RecoveryTimeout is told to the executors: how long they wait for an agent to come
	// back; 15 min.
	RecoveryTimeout time.Duration
	// UpdateRetryInterval is when an update is sent again that nobody acknowledged, the
	// first time; it doubles up to 10 min; 10 s.
	UpdateRetryInterval time.Duration
	// MemoryPollInterval is the time between two looks at what the containers use;
	// 500 ms. Negative: memory is not limited.
	MemoryPollInterval time.Duration

	// GCDelay is how long a sandbox is kept once its executor has ended and all updates
	// are acknowledged, and a cached file that no sandbox holds once it was asked for
	// last; 1 h (Mesos: 1 week).
	GCDelay time.Duration
	// MaxEndedSandboxes is how many sandboxes of ended executors are kept at most, the
	// newest ones; 50 (Mesos goes by the room on the disk instead).
	MaxEndedSandboxes int

	// KeepExecutors lets the executors live when Run ends because of its context, for
	// the next agent on this work directory. Otherwise they are shut down and the agent
	// leaves its master for good.
	KeepExecutors bool

	// Hook judges each executor call and event; nil lets everything pass.
	Hook hook.Hook
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

const (
	defaultResources = "cpus:4;mem:4096;disk:10240;ports:[31000-31099]"
	maxUpdateRetry   = 10 * time.Minute
)

func (c Config) withDefaults() (Config, error) {
	if c.WorkDir == "" {
		return c, errors.New("configure agent: no work directory")
	}
	dir, err := filepath.Abs(c.WorkDir)
	if err != nil {
		return c, fmt.Errorf("configure agent: %w", err)
	}
	c.WorkDir = dir
	setDefault(&c.Listen, "127.0.0.1:0")
	setDefault(&c.Hostname, "localhost")
	setDefault(&c.Resources, defaultResources)
	setDefault(&c.ExecutorRegistrationTimeout, time.Minute)
	setDefault(&c.ExecutorReregistrationTimeout, 10*time.Second)
	setDefault(&c.ShutdownGracePeriod, 5*time.Second)
	setDefault(&c.RecoveryTimeout, 15*time.Minute)
	setDefault(&c.UpdateRetryInterval, 10*time.Second)
	setDefault(&c.MemoryPollInterval, 500*time.Millisecond)
	setDefault(&c.GCDelay, time.Hour)
	setDefault(&c.MaxEndedSandboxes, 50)
	if c.GCDelay < 0 || c.MaxEndedSandboxes < 0 {
		return c, fmt.Errorf("configure agent: keep %d sandboxes for %v: less than nothing", c.MaxEndedSandboxes, c.GCDelay)
	}
	setDefault(&c.Logger, slog.Default())
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// agentInfo is what the configuration says about the agent; ID and port are added
// when they are known.
func (c Config) agentInfo() (*v1.AgentInfo, error) {
	resources, err := resource.Parse(c.Resources)
	if err != nil {
		return nil, fmt.Errorf("configure agent: %w", err)
	}
	attributes, err := resource.ParseAttributes(c.Attributes)
	if err != nil {
		return nil, fmt.Errorf("configure agent: %w", err)
	}
	return &v1.AgentInfo{Hostname: c.Hostname, Resources: resources, Attributes: attributes}, nil
}
