package service

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// Config is everything that the service is told. Begin with [Defaults].
type Config struct {
	Listen          string         // host:port of the API; beyond loopback only with a token
	URL             string         // under which people reach the API; empty: http:// and the address that it listens on
	PeerURL         string         // under which the other instances reach this one; empty: http:// and the address that it listens on
	ArtifactURL     string         // under which agents fetch executors; empty: URL and /artifacts
	DataDir         string         // what is kept on this machine: records, and executor files unless Objects says otherwise
	Store           storage.Secret // of the records: zk://[user:password@]host:port,…/path; empty: a file in DataDir
	Objects         string         // URI of the scheduler's own objects: executor files, ended runs, large records; empty: DataDir
	TokenFile       string         // holds an admin's bearer token; empty: TIDEMILL_TOKEN
	TokensFile      string         // holds hashed bearer tokens with their roles, as api/access reads them; empty: there are none
	AuditLog        string         // file of who changed what; "-": standard output; empty: audit.log in DataDir
	ArtifactListen  string         // host:port of executor files alone, by plain HTTP; empty: they are at Listen only
	PeerCAFile      string         // authorities that sign certificates of the other instances; empty: those of the system
	ConnectionsFile string         // keys for Objects and for reading uploaded logs back; empty: the default chain of AWS
	LogLevel        slog.Level
	LogFormat       string // "text" or "json"

	ObjectsConnection   string        // the connection that reaches Objects; one of ConnectionsFile
	StoreSessionTimeout time.Duration // after which a leader that is silent has lost ZooKeeper's session

	TLS        TLS
	Submit     Submit
	Mesos      Mesos
	Executor   Executor
	Scheduling Scheduling

	// What no file or flag says.

	Token  storage.Secret   // of an admin; empty: none is needed unless TokensFile says so
	Logger *slog.Logger     // instead of one made from LogLevel and LogFormat
	Ready  func(url string) // called once when the API answers
	Info   wire.Info        // more for /v1/info, on the development platform
}

// TLS has the certificate of the API, both files or none. They are read again when they change.
type TLS struct {
	CertFile string // the certificate and those that lead to its authority, PEM
	KeyFile  string // its key, PEM, not readable by everybody
}

// Submit limits how often jobs are submitted and runs started, by each token.
type Submit struct {
	Rate  float64 // a second; 0: as often as one likes
	Burst int     // at once, after a pause
}

// Mesos says how to present the framework to which master.
type Mesos struct {
	Master     string // URL, several URLs, or zk://[user:password@]host:port,…/path
	CAFile     string // authorities that sign certificates of masters and agents; empty: those of the system
	Name       string
	User       string // empty: the user of this process
	Principal  string
	SecretFile string   // holds the principal's secret; empty: TIDEMILL_MESOS_SECRET
	Roles      []string // the first is that of jobs that name none

	AgentPrincipal  string // for reading sandboxes, if agents ask for it
	AgentSecretFile string // holds its secret; empty: TIDEMILL_MESOS_AGENT_SECRET

	Secret, AgentSecret storage.Secret
}

// Executor says how executor processes are started.
type Executor struct {
	CPUs            float64 // its own, beside its tasks'
	Memory          int64   // bytes
	Linger          time.Duration
	KillGrace       time.Duration
	Keep            int           // so many versions, the newest, stay however long they were not used
	KeepFor         time.Duration // others go so long after their last use; 0: none goes
	ConnectionsFile string        // on the agents
	KeysFile        string        // of those who may sign executors; empty: nobody has to
}

// Scheduling has the limits of waiting and trying.
type Scheduling struct {
	StallAfter      time.Duration
	LaunchTimeout   time.Duration
	UnreachableWait time.Duration
	DeclineFor      time.Duration
	ReconcileEvery  time.Duration
	FreeRetries     int
	SecondAttempts  bool
	KeepRuns        int
}

// Defaults are the values that a configuration begins with.
func Defaults() Config {
	core := scheduler.Defaults()
	return Config{
		Listen:  "127.0.0.1:8080",
		DataDir: "tidemill-data",

		ObjectsConnection:   connections.DefaultName,
		StoreSessionTimeout: 10 * time.Second,

		LogLevel:  slog.LevelInfo,
		LogFormat: "text",
		Submit:    Submit{Rate: 100, Burst: 1000},
		Mesos:     Mesos{Master: "http://127.0.0.1:5050", Name: "tidemill", Roles: core.Roles},
		Executor: Executor{
			CPUs:      core.ExecutorCPUs,
			Memory:    core.ExecutorMemory,
			Linger:    core.Linger,
			KillGrace: core.KillGrace,
			Keep:      core.KeepVersions,
			KeepFor:   core.KeepVersionsFor,
		},
		Scheduling: Scheduling{
			StallAfter:      core.StallAfter,
			LaunchTimeout:   core.LaunchTimeout,
			UnreachableWait: core.UnreachableWait,
			DeclineFor:      core.Refuse,
			ReconcileEvery:  core.ReconcileEvery,
			FreeRetries:     core.FreeRetries,
			SecondAttempts:  core.SecondAttempts,
			KeepRuns:        100,
		},
	}
}

// Validate reports everything that is wrong, naming the flag. It looks at nothing outside.
func (c Config) Validate() error {
	var errs []error
	check := func(good bool, flag, format string, args ...any) {
		if !good {
			errs = append(errs, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
		}
	}
	atLeast := func(value, least time.Duration, flag string) {
		check(value >= least, flag, "%v is too short: at least %v", value, least)
	}
	host, _, err := net.SplitHostPort(c.Listen)
	check(err == nil, "listen", "%q is not host:port", c.Listen)
	check(err != nil || loopback(host) || !c.Token.Empty() || c.TokensFile != "", "listen",
		"%s can be reached from other machines: a token is needed (--tokens-file, --token-file or TIDEMILL_TOKEN)", c.Listen)
	if c.ArtifactListen != "" {
		_, _, err := net.SplitHostPort(c.ArtifactListen)
		check(err == nil, "artifact-listen", "%q is not host:port", c.ArtifactListen)
	}
	check((c.TLS.CertFile == "") == (c.TLS.KeyFile == ""), "tls-cert-file", "a certificate and its key are needed, both (--tls-key-file)")
	check(c.Submit.Rate >= 0 && c.Submit.Rate <= 1e6, "submit-rate", "%v is not between 0 and a million", c.Submit.Rate)
	check(c.Submit.Burst >= 1, "submit-burst", "%d is too little: at least 1", c.Submit.Burst)
	check(c.URL == "" || httpURL(c.URL), "url", "%q is not of the form http://host:port", c.URL)
	check(c.PeerURL == "" || httpURL(c.PeerURL), "peer-url", "%q is not of the form http://host:port", c.PeerURL)
	check(c.ArtifactURL == "" || httpURL(c.ArtifactURL), "artifact-url", "%q is not of the form http://host:port/path", c.ArtifactURL)
	check(c.DataDir != "", "data-dir", "it is empty")
	if _, err := storage.ParseURI(c.Objects); c.Objects != "" && err != nil {
		check(false, "objects", "%v", err)
	}
	if !c.Store.Empty() {
		_, err := zookeeper.ParseURL(c.Store.Reveal())
		check(err == nil, "store", "%v", err)
		check(c.Objects != "", "objects", "it is empty: schedulers that share a store need a place for objects that they share, too")
	}
	atLeast(c.StoreSessionTimeout, time.Second, "store-session-timeout")
	check(c.ObjectsConnection != "", "objects-connection", "it is empty")
	check(c.LogFormat == "text" || c.LogFormat == "json", "log-format", "%q is neither text nor json", c.LogFormat)
	check(!strings.ContainsAny(c.Token.Reveal(), " \t\r\n"), "token-file", "the token contains white space")

	if err := checkMaster(c.Mesos.Master); err != nil {
		check(false, "mesos-master", "%v", err)
	}
	check(c.Mesos.Name != "", "mesos-name", "it is empty")
	check(len(c.Mesos.Roles) > 0, "mesos-roles", "at least one is needed")
	for i, role := range c.Mesos.Roles {
		err := jobs.CheckRole(role)
		check(err == nil, "mesos-roles", "%q: %v", role, err)
		check(!slices.Contains(c.Mesos.Roles[:i], role), "mesos-roles", "%q is named twice", role)
	}
	check(c.Mesos.Secret.Empty() || c.Mesos.Principal != "", "mesos-principal", "there is a secret, but no principal")
	check(c.Mesos.AgentSecret.Empty() || c.Mesos.AgentPrincipal != "", "mesos-agent-principal", "there is a secret, but no principal")

	check(c.Executor.CPUs >= 0.01 && c.Executor.CPUs <= 64, "executor-cpus", "%v is not between 0.01 and 64", c.Executor.CPUs)
	check(c.Executor.Memory >= 32<<20, "executor-memory", "%d bytes are too little: at least 32MiB", c.Executor.Memory)
	atLeast(c.Executor.Linger, 0, "executor-linger")
	atLeast(c.Executor.KillGrace, 100*time.Millisecond, "executor-kill-grace")
	check(c.Executor.Keep >= 0, "executor-keep", "%d is negative", c.Executor.Keep)
	check(c.Executor.KeepFor == 0 || c.Executor.KeepFor >= time.Minute, "executor-keep-for", "%v is too short: at least 1m, or 0 for ever", c.Executor.KeepFor)
	atLeast(c.Scheduling.StallAfter, 5*time.Second, "scheduling-stall-after")
	atLeast(c.Scheduling.LaunchTimeout, time.Second, "scheduling-launch-timeout")
	atLeast(c.Scheduling.UnreachableWait, 0, "scheduling-unreachable-wait")
	atLeast(c.Scheduling.DeclineFor, time.Second, "scheduling-decline-for")
	atLeast(c.Scheduling.ReconcileEvery, time.Minute, "scheduling-reconcile-every")
	check(c.Scheduling.FreeRetries >= 0, "scheduling-free-retries", "%d is negative", c.Scheduling.FreeRetries)
	check(c.Scheduling.KeepRuns >= 1, "scheduling-keep-runs", "%d is too little: at least 1", c.Scheduling.KeepRuns)
	return errors.Join(errs...)
}

// loopback says whether only this machine can connect to an address on that host. An empty host is every address.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func httpURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// checkMaster finds what is wrong with the master's address. Its errors do not show a password.
func checkMaster(text string) error {
	if strings.HasPrefix(text, "zk://") {
		_, err := zookeeper.ParseURL(text)
		return err
	}
	for one := range strings.SplitSeq(text, ",") {
		switch {
		case httpURL(strings.TrimSpace(one)):
		case strings.Contains(one, "@"):
			return errors.New("it holds credentials: give principal and secret by themselves")
		default:
			return fmt.Errorf("%q is not of the form http://host:port or zk://host:port/mesos", one)
		}
	}
	return nil
}

// shownMaster is the master's address without a password.
func shownMaster(text string) string {
	if url, err := zookeeper.ParseURL(text); err == nil {
		return url.String()
	}
	return text
}

// mesosUser is the configured user, or this process' own.
func (c Config) mesosUser() (string, error) {
	if c.Mesos.User != "" {
		return c.Mesos.User, nil
	}
	own, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("--mesos-user: this process' user has no name: say as whom executors are to run: %w", err)
	}
	return own.Username, nil
}
