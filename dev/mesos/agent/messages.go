package agent

import (
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

func (e *executor) sendKill(t *task, policy *v1.KillPolicy) {
	e.send(&api.Event{Type: api.Event_KILL, Kill: &api.Event_Kill{TaskID: t.info.TaskID, KillPolicy: policy}})
}

// messageExecutor passes a scheduler's message on; it is lost if the executor is not
// there.
func (a *Agent) messageExecutor(message *link.Message) {
	if e := a.findExecutor(message.Framework, message.Executor); e != nil {
		e.send(&api.Event{Type: api.Event_MESSAGE, Message: &api.Event_Message{Data: message.Data}})
	}
}

// messageScheduler passes an executor's message on; it is lost without a connection
// to the master.
func (a *Agent) messageScheduler(e *executor, data []byte) {
	a.report(link.Report{Message: &link.Message{Framework: e.framework.id, Executor: e.id(), Data: data}})
}
