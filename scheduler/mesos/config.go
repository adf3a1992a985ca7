package mesos

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/storage"
)

// FailoverTimeout is how long Mesos keeps a framework's tasks while no scheduler is subscribed.
const FailoverTimeout = 14 * 24 * time.Hour

// Config says which master to subscribe to, and as whom.
type Config struct {
	Master string // http://host:port or https://host:port of a master; one that does not lead redirects to the one that does

	Name      string         // of the framework, in the Mesos UI
	User      string         // as whom executors run; cannot change for a living framework
	Principal string         // for authentication and authorisation, empty for none; cannot change either
	Secret    storage.Secret // sent with Principal by HTTP Basic authentication; empty: none is sent
	Role      string         // under which offers come
	Hostname  string         // of this machine, for people; may be empty
	WebUIURL  string         // where people find the dashboard; may be empty

	Log *slog.Logger // nil: none
}

// Validate reports what is missing or wrong, naming the field.
func (c Config) Validate() error {
	_, err := masterURL(c.Master)
	errs := []error{err}
	for _, field := range []struct{ name, value string }{{"name", c.Name}, {"user", c.User}, {"role", c.Role}} {
		if field.value == "" {
			errs = append(errs, fmt.Errorf("mesos %s is empty", field.name))
		}
	}
	if !c.Secret.Empty() && c.Principal == "" {
		errs = append(errs, errors.New("mesos secret is set without a principal"))
	}
	return errors.Join(errs...)
}

func masterURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("mesos master %q is not of the form http://host:port", text)
	}
	if u.User != nil {
		return nil, errors.New("mesos master holds credentials: give principal and secret by themselves")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}, nil
}

// capabilities of the framework. RESERVATION_REFINEMENT only decides in which format resources are written.
var capabilities = []mesosgo.FrameworkInfo_Capability_Type{
	mesosgo.FrameworkInfo_Capability_MULTI_ROLE,
	mesosgo.FrameworkInfo_Capability_PARTITION_AWARE,
	mesosgo.FrameworkInfo_Capability_TASK_KILLING_STATE,
	mesosgo.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
}

// framework is the FrameworkInfo to subscribe with; id is empty the very first time.
func (c Config) framework(id string) *mesosgo.FrameworkInfo {
	failover, checkpoint := FailoverTimeout.Seconds(), true
	info := &mesosgo.FrameworkInfo{
		User:            c.User,
		Name:            c.Name,
		FailoverTimeout: &failover,
		Checkpoint:      &checkpoint,
		Roles:           []string{c.Role},
		Hostname:        optional(c.Hostname),
		Principal:       optional(c.Principal),
		WebUiURL:        optional(c.WebUIURL),
	}
	for _, capability := range capabilities {
		info.Capabilities = append(info.Capabilities, mesosgo.FrameworkInfo_Capability{Type: capability})
	}
	if id != "" {
		info.ID = &mesosgo.FrameworkID{Value: id}
	}
	return info
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
