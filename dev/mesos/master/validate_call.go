package master

import (
	"net/http"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// validateCall judges a call before anything is looked up, in Mesos' own words.
func validateCall(call *scheduler.Call, principal string) *wire.Refusal {
	if problem := callProblem(call, principal); problem != "" {
		return wire.Refuse(http.StatusBadRequest, "Failed to validate scheduler::Call: %s", problem)
	}
	return nil
}

func callProblem(call *scheduler.Call, principal string) string {
	if call.Type == scheduler.Call_UNKNOWN {
		return "Expecting 'type' to be present"
	}
	if call.Type == scheduler.Call_SUBSCRIBE {
		return subscribeProblem(call, principal)
	}
	if call.FrameworkID == nil {
		return "Expecting 'framework_id' to be present"
	}
	if missing := missingBody(call); missing != "" {
		return "Expecting '" + missing + "' to be present"
	}
	if call.Type == scheduler.Call_UPDATE_FRAMEWORK && call.FrameworkID.Value != call.UpdateFramework.FrameworkInfo.GetID().GetValue() {
		return "'framework_id' differs from 'update_framework.framework_info.id'"
	}
	if call.Type == scheduler.Call_ACKNOWLEDGE && len(call.Acknowledge.UUID) != 16 {
		return "Not a valid UUID"
	}
	return ""
}

func subscribeProblem(call *scheduler.Call, principal string) string {
	info := call.GetSubscribe().GetFrameworkInfo()
	if info == nil {
		return "Expecting 'subscribe' to be present"
	}
	if call.GetFrameworkID().GetValue() != info.GetID().GetValue() {
		return "'framework_id' differs from 'subscribe.framework_info.id'"
	}
	if principal != "" && info.Principal != nil && info.GetPrincipal() != principal {
		return "Authenticated principal '" + principal + "' does not match principal '" +
			info.GetPrincipal() + "' set in `FrameworkInfo`"
	}
	return ""
}

// missingBody names the part that a call of its type must have and has not.
func missingBody(call *scheduler.Call) string {
	var name string
	var there bool
	switch call.Type {
	case scheduler.Call_ACCEPT:
		name, there = "accept", call.Accept != nil
	case scheduler.Call_DECLINE:
		name, there = "decline", call.Decline != nil
	case scheduler.Call_ACCEPT_INVERSE_OFFERS:
		name, there = "accept_inverse_offers", call.AcceptInverseOffers != nil
	case scheduler.Call_DECLINE_INVERSE_OFFERS:
		name, there = "decline_inverse_offers", call.DeclineInverseOffers != nil
	case scheduler.Call_KILL:
		name, there = "kill", call.Kill != nil
	case scheduler.Call_SHUTDOWN:
		name, there = "shutdown", call.Shutdown != nil
	case scheduler.Call_ACKNOWLEDGE:
		name, there = "acknowledge", call.Acknowledge != nil
	case scheduler.Call_RECONCILE:
		name, there = "reconcile", call.Reconcile != nil
	case scheduler.Call_MESSAGE:
		name, there = "message", call.Message != nil
	case scheduler.Call_REQUEST:
		name, there = "request", call.Request != nil
	case scheduler.Call_UPDATE_FRAMEWORK:
		name, there = "update_framework", call.UpdateFramework != nil
	default:
		there = true
	}
	if there {
		return ""
	}
	return name
}
