package mesos

import (
	"fmt"
	"strings"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// decode reads one record. mesos-go's generated decoder can panic on hostile bytes (CVE-2021-3121); this cannot.
func decode(record []byte) (event *sched.Event, err error) {
	defer func() {
		if r := recover(); r != nil {
			event, err = nil, fmt.Errorf("decode event of %d bytes: %v", len(record), r)
		}
	}()
	event = new(sched.Event)
	if err := event.Unmarshal(record); err != nil {
		return nil, fmt.Errorf("decode event of %d bytes: %w", len(record), err)
	}
	return event, nil
}

// translate makes the core's event of a Mesos event other than SUBSCRIBED and ERROR, which belong to the subscription.
// It returns nil for those that the core need not know: heartbeats, types newer than this code, and events whose body
// is missing.
func translate(e *sched.Event) scheduler.Event {
	switch {
	case e.Type == sched.Event_OFFERS && e.Offers != nil:
		return offers(e.Offers.Offers)
	case e.Type == sched.Event_RESCIND && e.Rescind != nil:
		return scheduler.Rescind{OfferID: e.Rescind.OfferID.Value}
	case e.Type == sched.Event_INVERSE_OFFERS && e.InverseOffers != nil:
		return inverseOffers(e.InverseOffers.InverseOffers)
	case e.Type == sched.Event_RESCIND_INVERSE_OFFER && e.RescindInverseOffer != nil:
		return scheduler.RescindInverse{OfferID: e.RescindInverseOffer.InverseOfferID.Value}
	case e.Type == sched.Event_UPDATE && e.Update != nil:
		return update(&e.Update.Status)
	case e.Type == sched.Event_MESSAGE && e.Message != nil:
		return scheduler.Message{
			AgentID:    e.Message.AgentID.Value,
			ExecutorID: e.Message.ExecutorID.Value,
			Data:       e.Message.Data,
		}
	case e.Type == sched.Event_FAILURE && e.Failure != nil:
		return scheduler.Failure{
			AgentID:    value(e.Failure.AgentID),
			ExecutorID: value(e.Failure.ExecutorID),
			Status:     e.Failure.Status,
		}
	}
	return nil
}

// update tells an enum that is missing from one whose value is 0: mesos-go's getters do not.
func update(s *mesosgo.TaskStatus) scheduler.Update {
	out := scheduler.Update{
		MesosID:    s.TaskID.Value,
		AgentID:    value(s.AgentID),
		ExecutorID: value(s.ExecutorID),
		Message:    s.GetMessage(),
		Data:       s.Data,
		UUID:       s.UUID,
	}
	if s.State != nil {
		out.State = enum("TASK", mesosgo.TaskState_name, int32(*s.State))
	}
	if s.Reason != nil {
		out.Reason = enum("REASON", mesosgo.TaskStatus_Reason_name, int32(*s.Reason))
	}
	if s.Source != nil {
		out.Source = enum("SOURCE", mesosgo.TaskStatus_Source_name, int32(*s.Source))
	}
	if s.Limitation != nil {
		var names []string
		for _, r := range s.Limitation.Resources {
			names = append(names, r.Name)
		}
		out.Limitation = strings.Join(names, ",")
	}
	return out
}

// enum names a value, also one that is newer than mesos-go.
func enum(kind string, names map[int32]string, n int32) string {
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprintf("%s_UNKNOWN_%d", kind, n)
}

// value is the text of an optional ID.
func value[ID interface{ GetValue() string }](id ID) string { return id.GetValue() }
