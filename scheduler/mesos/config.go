package mesos

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/tidemill/tidemill/storage"
)

// Config says which master to subscribe to, and as whom.
type Config struct {
	// Master is where to look for the leading master: http://host:port or https://host:port of a master, several of them
	// separated by commas, or zk://[user:password@]host:port,…/path, where masters announce themselves.
	Master    string
	MasterTLS bool   // masters that ZooKeeper names speak TLS; a CAFile says so, too
	CAFile    string // authorities that sign the masters' certificates, as PEM, instead of the system's; may be empty

	Name      string          // of the framework, in the Mesos UI
	User      string          // as whom executors run; cannot change for a living framework
	Principal string          // for authentication and authorisation, empty for none; cannot change either
	Secret    storage.Secret  // sent with Principal by HTTP Basic authentication; empty: none is sent
	Roles     func() []string // under which offers come, at least one; asked before each subscription, by Run's goroutine
	Hostname  string          // of this machine, for people; may be empty
	WebUIURL  string          // where people find the dashboard; may be empty

	// MayAct is asked directly before anything is written to a master: false means that this instance does not lead any
	// more. It must not block and is called from many goroutines. nil: always.
	MayAct func() bool

	Log *slog.Logger // nil: none
}

// Validate reports what is missing or wrong, naming the field. Passwords are never part of the error.
func (c Config) Validate() error {
	_, err := newDetector(c)
	errs := []error{err}
	for _, field := range []struct{ name, value string }{{"name", c.Name}, {"user", c.User}} {
		if field.value == "" {
			errs = append(errs, fmt.Errorf("mesos %s is empty", field.name))
		}
	}
	if c.Roles == nil {
		errs = append(errs, errors.New("mesos roles are missing"))
	}
	if !c.Secret.Empty() && c.Principal == "" {
		errs = append(errs, errors.New("mesos secret is set without a principal"))
	}
	return errors.Join(errs...)
}
