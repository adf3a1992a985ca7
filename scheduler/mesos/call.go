package mesos

import (
	"fmt"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/tidemill/tidemill/scheduler"
)

// message makes the Mesos message of a call.
func message(call scheduler.Call, frameworkID string) (*sched.Call, error) {
	var out *sched.Call
	switch c := call.(type) {
	case scheduler.Accept:
		operation, err := launch(c, frameworkID)
		if err != nil {
			return nil, err
		}
		out = &sched.Call{Type: sched.Call_ACCEPT, Accept: &sched.Call_Accept{
			OfferIDs:   offerIDs(c.OfferIDs),
			Operations: []mesosgo.Offer_Operation{operation},
		}}
		calls.RefuseSeconds(c.Refuse)(out)
	case scheduler.Decline:
		out = calls.Decline(offerIDs(c.OfferIDs)...).With(calls.RefuseSeconds(c.Refuse))
	case scheduler.AcceptInverse:
		out = calls.AcceptInverseOffers(offerIDs(c.OfferIDs)...).With(calls.RefuseSeconds(c.Refuse))
	case scheduler.DeclineInverse:
		out = calls.DeclineInverseOffers(offerIDs(c.OfferIDs)...).With(calls.RefuseSeconds(c.Refuse))
	case scheduler.Kill:
		out = calls.Kill(c.MesosID, c.AgentID)
	case scheduler.Acknowledge:
		out = calls.Acknowledge(c.AgentID, c.MesosID, c.UUID)
	case scheduler.SendMessage:
		out = calls.Message(c.AgentID, c.ExecutorID, c.Data)
	case scheduler.Reconcile:
		out = &sched.Call{Type: sched.Call_RECONCILE, Reconcile: &sched.Call_Reconcile{}}
		for _, task := range c.Tasks {
			one := sched.Call_Reconcile_Task{TaskID: mesosgo.TaskID{Value: task.MesosID}}
			if task.AgentID != "" {
				one.AgentID = &mesosgo.AgentID{Value: task.AgentID}
			}
			out.Reconcile.Tasks = append(out.Reconcile.Tasks, one)
		}
	case scheduler.Suppress:
		out = calls.SuppressWith(c.Roles)
	case scheduler.Revive:
		out = calls.ReviveWith(c.Roles)
	default:
		return nil, fmt.Errorf("there is no Mesos call for %T", call)
	}
	out.FrameworkID = &mesosgo.FrameworkID{Value: frameworkID}
	return out, nil
}

// name is a call's name in Mesos, for logs.
func name(call scheduler.Call) string {
	switch call.(type) {
	case scheduler.Accept:
		return "ACCEPT"
	case scheduler.Decline:
		return "DECLINE"
	case scheduler.AcceptInverse:
		return "ACCEPT_INVERSE_OFFERS"
	case scheduler.DeclineInverse:
		return "DECLINE_INVERSE_OFFERS"
	case scheduler.Kill:
		return "KILL"
	case scheduler.Acknowledge:
		return "ACKNOWLEDGE"
	case scheduler.SendMessage:
		return "MESSAGE"
	case scheduler.Reconcile:
		return "RECONCILE"
	case scheduler.Suppress:
		return "SUPPRESS"
	case scheduler.Revive:
		return "REVIVE"
	}
	return fmt.Sprintf("%T", call)
}

func launch(c scheduler.Accept, frameworkID string) (mesosgo.Offer_Operation, error) {
	tasks := make([]mesosgo.TaskInfo, len(c.Launches))
	for i, l := range c.Launches {
		executor, err := decodeExecutor(l.ExecutorInfo)
		if err != nil {
			return mesosgo.Offer_Operation{}, fmt.Errorf("launch task %q: %w", l.MesosID, err)
		}
		tasks[i] = mesosgo.TaskInfo{
			Name:      l.Name,
			TaskID:    mesosgo.TaskID{Value: l.MesosID},
			AgentID:   mesosgo.AgentID{Value: c.AgentID},
			Resources: resources(l.Resources, l.Role),
			Executor:  executor,
			Data:      l.Data,
			Labels:    labels(l.Labels),
		}
	}
	return calls.OpLaunch(tasks...), nil
}

func labels(pairs [][2]string) *mesosgo.Labels {
	if len(pairs) == 0 {
		return nil
	}
	out := &mesosgo.Labels{Labels: make([]mesosgo.Label, len(pairs))}
	for i, pair := range pairs {
		out.Labels[i] = mesosgo.Label{Key: pair[0], Value: &pair[1]}
	}
	return out
}

func offerIDs(ids []string) []mesosgo.OfferID {
	out := make([]mesosgo.OfferID, len(ids))
	for i, id := range ids {
		out[i].Value = id
	}
	return out
}
