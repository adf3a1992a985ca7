package agent

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// ErrNotStarted means that the MESOS_* variables are missing: the process was not started by an agent.
var ErrNotStarted = errors.New("not started by a Mesos agent")

// Environment is what an agent tells its executor in MESOS_* and LIBPROCESS_SSL_* variables.
type Environment struct {
	Endpoint     string // host:port of the agent
	DomainSocket string // path; used instead of Endpoint if set
	FrameworkID  string
	ExecutorID   string
	AgentID      string
	Sandbox      string // the sandbox as this process sees it
	Directory    string // the sandbox as the agent sees it

	Checkpoint          bool          // whether the executor shall outlive its agent
	RecoveryTimeout     time.Duration // how long it may do so
	SubscriptionBackoff time.Duration // longest wait before another try to subscribe
	ShutdownGrace       time.Duration // from SHUTDOWN until the agent kills

	Token storage.Secret // for the Authorization header; may be empty

	TLS         bool           // the agent's endpoint speaks TLS; its domain socket never does
	Authorities *x509.CertPool // that sign the agent's certificate; nil: the system's
}

// TokenVariable holds a secret: processes that an executor starts must not get it.
const TokenVariable = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"

// ReadEnvironment reads the variables through getenv, which is os.Getenv, and the file of authorities if they name one.
// Durations that are missing get Mesos' defaults.
func ReadEnvironment(getenv func(string) string) (Environment, error) {
	e := Environment{
		Endpoint:     getenv("MESOS_AGENT_ENDPOINT"),
		DomainSocket: getenv("MESOS_DOMAIN_SOCKET"),
		FrameworkID:  getenv("MESOS_FRAMEWORK_ID"),
		ExecutorID:   getenv("MESOS_EXECUTOR_ID"),
		AgentID:      getenv("MESOS_SLAVE_ID"),
		Sandbox:      getenv("MESOS_SANDBOX"),
		Directory:    getenv("MESOS_DIRECTORY"),
		Checkpoint:   getenv("MESOS_CHECKPOINT") == "1",
		Token:        storage.NewSecret(getenv(TokenVariable)),
	}
	if e.FrameworkID == "" && e.ExecutorID == "" && e.Endpoint == "" {
		return Environment{}, ErrNotStarted
	}
	for name, value := range map[string]string{
		"MESOS_AGENT_ENDPOINT": e.Endpoint + e.DomainSocket,
		"MESOS_FRAMEWORK_ID":   e.FrameworkID,
		"MESOS_EXECUTOR_ID":    e.ExecutorID,
		"MESOS_DIRECTORY":      e.Directory,
	} {
		if value == "" {
			return Environment{}, fmt.Errorf("read environment: %s is not set", name)
		}
	}
	if e.Sandbox == "" {
		e.Sandbox = e.Directory
	}
	for _, d := range []struct {
		name   string
		value  *time.Duration
		absent time.Duration
	}{
		{"MESOS_RECOVERY_TIMEOUT", &e.RecoveryTimeout, 15 * time.Minute},
		{"MESOS_SUBSCRIPTION_BACKOFF_MAX", &e.SubscriptionBackoff, 2 * time.Second},
		{"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", &e.ShutdownGrace, 5 * time.Second},
	} {
		*d.value = d.absent
		text := getenv(d.name)
		if text == "" {
			continue
		}
		parsed, err := ParseDuration(text)
		if err != nil {
			return Environment{}, fmt.Errorf("read environment: %s: %w", d.name, err)
		}
		*d.value = parsed
	}
	return e, e.readSecurity(getenv)
}

// durationUnits are those that Mesos writes.
var durationUnits = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "ms": time.Millisecond, "secs": time.Second, "mins": time.Minute,
	"hrs": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// ParseDuration reads a duration as Mesos writes it, such as 15mins, 5secs or 1.5hrs. Negative ones are refused.
func ParseDuration(text string) (time.Duration, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	unit, ok := durationUnits[text[len(digits):]]
	if !ok {
		return 0, fmt.Errorf("parse duration %q: want a number and one of ns, us, ms, secs, mins, hrs, days, weeks", text)
	}
	number, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(number) || number < 0 {
		return 0, fmt.Errorf("parse duration %q: %q is no number from 0 on", text, digits)
	}
	if number*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("parse duration %q: longer than 292 years", text)
	}
	return time.Duration(number * float64(unit)), nil
}
