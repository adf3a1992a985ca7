package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/tidemill/tidemill/cmd/internal/service"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/storage"
)

// setting is one key of the configuration. "mesos.master" in the file is TIDEMILL_MESOS_MASTER in the environment and
// --mesos-master as a flag.
type setting struct {
	key   string
	help  string                    // as in the flag's help: the name of the value stands in backquotes
	field func(*service.Config) any // a pointer to where the value goes
}

// settings are all keys, in the order of the reference file tidemill.yaml.
var settings = []setting{
	{"listen", "`address` of the API and dashboard; beyond loopback only with tokens", func(c *service.Config) any { return &c.Listen }},
	{"url", "`URL` under which people and Mesos reach this service; default http:// and the address", func(c *service.Config) any { return &c.URL }},
	{"peer-url", "`URL` under which the other schedulers reach this one; default http:// and the address", func(c *service.Config) any { return &c.PeerURL }},
	{"artifact-url", "`URL` under which agents fetch executors; default the url and /artifacts; it must stay the same", func(c *service.Config) any { return &c.ArtifactURL }},
	{"data-dir", "`directory` of what is kept on this machine", func(c *service.Config) any { return &c.DataDir }},
	{"store", "`URL` of records that several schedulers share: zk://[user:password@]host:port,host:port/path; default a file in the data-dir", func(c *service.Config) any { return &c.Store }},
	{"store-session-timeout", "`duration` of silence after which ZooKeeper lets another scheduler lead", func(c *service.Config) any { return &c.StoreSessionTimeout }},
	{"objects", "`URI` of executor files, ended runs and large records: s3://bucket/prefix or file:///directory; default the data-dir", func(c *service.Config) any { return &c.Objects }},
	{"objects-connection", "`name` of the connection that reaches them", func(c *service.Config) any { return &c.ObjectsConnection }},
	{"artifact-listen", "`address` of executor files alone, by plain HTTP, for agents that do not know the API's certificate", func(c *service.Config) any { return &c.ArtifactListen }},
	{"token-file", "`file` that holds an admin's bearer token; else TIDEMILL_TOKEN is used, if set", func(c *service.Config) any { return &c.TokenFile }},
	{"tokens-file", "`file` of hashed bearer tokens and their roles, mode 0600 or 0640; read again when it changes", func(c *service.Config) any { return &c.TokensFile }},
	{"audit-log", "`file` of who changed what, JSON lines; - for standard output; default audit.log in the data-dir", func(c *service.Config) any { return &c.AuditLog }},
	{"peer-ca-file", "`file` of authorities that sign certificates of the other schedulers, PEM; default those of the system", func(c *service.Config) any { return &c.PeerCAFile }},
	{"connections-file", "`file` of connections, mode 0600, for the objects and for reading uploaded logs back", func(c *service.Config) any { return &c.ConnectionsFile }},
	{"log.level", "least `level` that is logged: debug, info, warn or error", func(c *service.Config) any { return &c.LogLevel }},
	{"log.format", "`form` of log lines: text or json", func(c *service.Config) any { return &c.LogFormat }},

	{"tls.cert-file", "`file` of the API's certificate, and of those that lead to its authority, PEM; read again when it changes", func(c *service.Config) any { return &c.TLS.CertFile }},
	{"tls.key-file", "`file` of its key, PEM, mode 0600 or 0640; read again when it changes", func(c *service.Config) any { return &c.TLS.KeyFile }},

	{"submit.rate", "`number` of submissions (jobs and runs) a second that each token may send; 0: any", func(c *service.Config) any { return &c.Submit.Rate }},
	{"submit.burst", "`number` of them at once, after a pause", func(c *service.Config) any { return &c.Submit.Burst }},

	{"mesos.master", "`URL` of a Mesos master, several of them with commas between, or zk://[user:password@]host:port/path where they elect one", func(c *service.Config) any { return &c.Mesos.Master }},
	{"mesos.ca-file", "`file` of authorities that sign certificates of masters and agents, PEM; default those of the system; makes masters found by ZooKeeper https", func(c *service.Config) any { return &c.Mesos.CAFile }},
	{"mesos.name", "`name` of the framework, for people", func(c *service.Config) any { return &c.Mesos.Name }},
	{"mesos.user", "`user` as whom executors run on the agents; default this process' user; it must stay the same", func(c *service.Config) any { return &c.Mesos.User }},
	{"mesos.principal", "`principal` of the framework, if the master asks for one; it must stay the same", func(c *service.Config) any { return &c.Mesos.Principal }},
	{"mesos.secret-file", "`file` that holds the principal's secret; else TIDEMILL_MESOS_SECRET is used, if set", func(c *service.Config) any { return &c.Mesos.SecretFile }},
	{"mesos.agent-principal", "`principal` for reading sandboxes, if agents ask for one", func(c *service.Config) any { return &c.Mesos.AgentPrincipal }},
	{"mesos.agent-secret-file", "`file` that holds its secret; else TIDEMILL_MESOS_AGENT_SECRET is used, if set", func(c *service.Config) any { return &c.Mesos.AgentSecretFile }},
	{"mesos.roles", "`roles` under which Mesos offers resources, divided by commas; jobs that name none have the first one", func(c *service.Config) any { return &c.Mesos.Roles }},

	{"executor.cpus", "`number` of CPUs that each executor process has beside its tasks", func(c *service.Config) any { return &c.Executor.CPUs }},
	{"executor.memory", "`size` of the memory that each executor process has beside its tasks", func(c *service.Config) any { return (*size)(&c.Executor.Memory) }},
	{"executor.linger", "`duration` for which an executor stays after its last task", func(c *service.Config) any { return &c.Executor.Linger }},
	{"executor.kill-grace", "`duration` between the graceful and the hard kill of a task", func(c *service.Config) any { return &c.Executor.KillGrace }},
	{"executor.connections-file", "`file` of connections on the agents, mode 0600; none: the environment or the instance's role", func(c *service.Config) any { return &c.Executor.ConnectionsFile }},
	{"executor.keep", "`number` of executor versions, the newest, that stay however long they were not used", func(c *service.Config) any { return &c.Executor.Keep }},
	{"executor.keep-for", "`duration` after their last use for which other versions stay that nothing keeps; 0 for ever", func(c *service.Config) any { return &c.Executor.KeepFor }},
	{"executor.keys-file", "`file` of PEM public keys (Ed25519); executors that are registered must be signed with one of them; none: signatures are not looked at", func(c *service.Config) any { return &c.Executor.KeysFile }},

	{"scheduling.stall-after", "`duration` of an executor's silence after which its tasks are replaced", func(c *service.Config) any { return &c.Scheduling.StallAfter }},
	{"scheduling.launch-timeout", "`duration` after which a launched task that was never heard of is replaced", func(c *service.Config) any { return &c.Scheduling.LaunchTimeout }},
	{"scheduling.unreachable-wait", "`duration` for which a task on an unreachable agent may come back", func(c *service.Config) any { return &c.Scheduling.UnreachableWait }},
	{"scheduling.decline-for", "`duration` for which offers are declined while nothing fits", func(c *service.Config) any { return &c.Scheduling.DeclineFor }},
	{"scheduling.reconcile-every", "`duration` between two questions to Mesos for everything that it knows of", func(c *service.Config) any { return &c.Scheduling.ReconcileEvery }},
	{"scheduling.free-retries", "`number` of attempts that a task may lose through no fault of the job", func(c *service.Config) any { return &c.Scheduling.FreeRetries }},
	{"scheduling.second-attempts", "`true or false`: whether a task that lags far behind its siblings gets a second attempt on another agent", func(c *service.Config) any { return &c.Scheduling.SecondAttempts }},
	{"scheduling.keep-runs", "`number` of ended runs that stay in the store; older ones are read from the archive", func(c *service.Config) any { return &c.Scheduling.KeepRuns }},
}

// size is a number of bytes, written with a unit.
type size int64

func (s setting) flag() string { return strings.ReplaceAll(s.key, ".", "-") }

// addFlags gives each setting its flag. The flags' own defaults only show in the help.
func addFlags(flags *pflag.FlagSet) {
	defaults := service.Defaults()
	for _, s := range settings {
		flags.String(s.flag(), format(s.field(&defaults)), s.help)
	}
}

// readConfig gathers the configuration: defaults, then the file, then TIDEMILL_*, then flags.
func readConfig(flags *pflag.FlagSet, file string) (service.Config, error) {
	cfg := service.Defaults()
	v := viper.New()
	v.SetConfigType("yaml")
	if file != "" {
		v.SetConfigFile(file)
		if err := v.ReadInConfig(); err != nil {
			return cfg, fmt.Errorf("read configuration %q: %w", file, err)
		}
		if err := unknownKeys(v); err != nil {
			return cfg, fmt.Errorf("read configuration %q: %w", file, err)
		}
	}
	v.SetEnvPrefix("TIDEMILL")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_", "-", "_"))
	v.AutomaticEnv()
	for _, s := range settings {
		if err := v.BindPFlag(s.key, flags.Lookup(s.flag())); err != nil {
			return cfg, err
		}
		if err := parse(v.Get(s.key), s.field(&cfg)); err != nil {
			return cfg, fmt.Errorf("--%s: %w", s.flag(), err)
		}
	}
	if err := cfg.ReadSecrets(os.Getenv); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

// unknownKeys refuses keys of the file that are no settings. It is asked before environment and flags are added.
func unknownKeys(file *viper.Viper) error {
	known := make([]string, len(settings))
	for i, s := range settings {
		known[i] = s.key
	}
	for _, key := range file.AllKeys() {
		if slices.Contains(known, key) {
			continue
		}
		if near := jobs.Suggest(key, known); near != "" {
			return fmt.Errorf("unknown key %q; did you mean %q?", key, near)
		}
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

// parse writes a value, which may be a number or a text, to where field points.
func parse(value any, field any) error {
	var text string
	switch value := value.(type) {
	case nil:
	case string:
		text = value
	case int, float64, bool:
		text = fmt.Sprint(value)
	default:
		return fmt.Errorf("want a text or a number, got %v", value)
	}
	switch field := field.(type) {
	case *string:
		*field = text
	case *storage.Secret:
		*field = storage.NewSecret(text)
	case *[]string:
		*field = nil
		for item := range strings.SplitSeq(text, ",") {
			*field = append(*field, strings.TrimSpace(item))
		}
	case *slog.Level:
		if err := field.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%q is not debug, info, warn or error", text)
		}
	case *size:
		n, detail := jobs.ParseSize(text)
		if detail != "" {
			return fmt.Errorf("%q: %s", text, detail)
		}
		*field = size(n)
	case *time.Duration:
		d, detail := jobs.ParseDuration(text)
		if detail != "" {
			return fmt.Errorf("%q: %s", text, detail)
		}
		*field = d
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*field = n
	case *bool:
		switch text {
		case "true", "false":
			*field = text == "true"
		default:
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*field = n
	default:
		return fmt.Errorf("a setting of type %T cannot be read", field)
	}
	return nil
}

// format is the inverse of parse.
func format(field any) string {
	switch field := field.(type) {
	case *string:
		return *field
	case *storage.Secret:
		return "" // none has a default
	case *[]string:
		return strings.Join(*field, ",")
	case *slog.Level:
		return strings.ToLower(field.String())
	case *size:
		return jobs.FormatSize(int64(*field))
	case *time.Duration:
		return jobs.FormatDuration(*field)
	case *int:
		return strconv.Itoa(*field)
	case *bool:
		return strconv.FormatBool(*field)
	case *float64:
		return strconv.FormatFloat(*field, 'g', -1, 64)
	}
	return ""
}
