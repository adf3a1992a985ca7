package mesos

import (
	"errors"
	"fmt"
	"slices"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
)

// FailoverTimeout is how long Mesos keeps a framework's tasks while no scheduler is subscribed.
const FailoverTimeout = 14 * 24 * time.Hour

// capabilities of the framework. RESERVATION_REFINEMENT only decides in which format resources are written.
var capabilities = []mesosgo.FrameworkInfo_Capability_Type{
	mesosgo.FrameworkInfo_Capability_MULTI_ROLE,
	mesosgo.FrameworkInfo_Capability_PARTITION_AWARE,
	mesosgo.FrameworkInfo_Capability_TASK_KILLING_STATE,
	mesosgo.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
}

// framework is the FrameworkInfo that the configuration asks for, marshalled, without an ID. The same configuration
// gives the same bytes.
func (c Config) framework() ([]byte, error) {
	failover, checkpoint := FailoverTimeout.Seconds(), true
	roles := slices.Clone(c.Roles())
	if len(roles) == 0 {
		return nil, errors.New("present framework: it has no roles")
	}
	slices.Sort(roles)
	info := &mesosgo.FrameworkInfo{
		User:            c.User,
		Name:            c.Name,
		FailoverTimeout: &failover,
		Checkpoint:      &checkpoint,
		Roles:           slices.Compact(roles),
		Hostname:        optional(c.Hostname),
		Principal:       optional(c.Principal),
		WebUiURL:        optional(c.WebUIURL),
	}
	for _, capability := range capabilities {
		info.Capabilities = append(info.Capabilities, mesosgo.FrameworkInfo_Capability{Type: capability})
	}
	data, err := info.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode framework info: %w", err)
	}
	return data, nil
}

// decodeFramework reads what framework wrote and gives it that ID; id is empty the very first time.
func decodeFramework(data []byte, id string) (info *mesosgo.FrameworkInfo, err error) {
	defer func() {
		if r := recover(); r != nil {
			info, err = nil, fmt.Errorf("decode framework info: %v", r)
		}
	}()
	info = new(mesosgo.FrameworkInfo)
	if err := info.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("decode framework info: %w", err)
	}
	if info.ID = nil; id != "" {
		info.ID = &mesosgo.FrameworkID{Value: id}
	}
	return info, nil
}

// immutable is an ErrImmutable if the configuration differs from the registered FrameworkInfo in what Mesos never
// changes for a framework that lives. Nothing registered is no difference.
func (c Config) immutable(id string, registered []byte) error {
	if len(registered) == 0 {
		return nil
	}
	info, err := decodeFramework(registered, id)
	if err != nil {
		return err
	}
	for _, field := range []struct{ flag, old, wanted string }{
		{"--mesos-user", info.User, c.User},
		{"--mesos-principal", info.GetPrincipal(), c.Principal},
		{"checkpointing of executors", fmt.Sprint(info.GetCheckpoint()), "true"},
	} {
		if field.old != field.wanted {
			return fmt.Errorf("%w: %s is %q now, but framework %s is registered with %q: set it back, or end this framework "+
				"and all its tasks with `tidemill teardown`, after which the next start registers a new one",
				ErrImmutable, field.flag, field.wanted, id, field.old)
		}
	}
	return nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
