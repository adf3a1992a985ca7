package agent

import (
	"context"
	"errors"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

var errBroken = errors.New("the hook breaks the connection")

// meddle asks the hook about a message between agent and master, and says how often it
// is to be passed on: 0 times if it is lost.
func (a *Agent) meddle(ctx context.Context, message hook.Message) (times int, err error) {
	if a.cfg.Hook == nil {
		return 1, nil
	}
	message.Agent = a.registeredID()
	action := a.cfg.Hook(message)
	if action.Delay > 0 {
		select {
		case <-time.After(action.Delay):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	switch {
	case action.Disconnect:
		return 0, errBroken
	case action.Drop:
		return 0, nil
	}
	return 1 + action.Repeat, nil
}

// describeReport shows a report to a hook.
func describeReport(report *link.Report) hook.Message {
	message := hook.Message{Point: hook.AgentReport, Type: "HEARTBEAT"}
	switch {
	case report.Update != nil:
		message.Type, message.Framework = "UPDATE", report.Update.Framework
		status := &v1.TaskStatus{}
		if report.Update.Status.Decode(status) == nil { // the agent has encoded it
			message.Task, message.Executor, message.Body = status.TaskID.Value, status.GetExecutorID().GetValue(), status
		}
	case report.Exited != nil:
		message.Type, message.Framework, message.Executor = "EXITED", report.Exited.Framework, report.Exited.Executor
	case report.Message != nil:
		message.Type, message.Framework, message.Executor = "MESSAGE", report.Message.Framework, report.Message.Executor
	case report.Leaving != nil:
		message.Type = "LEAVING"
	}
	return message
}

// describeCommand shows a command to a hook.
func describeCommand(command *link.Command) hook.Message {
	message := hook.Message{Point: hook.AgentCommand}
	switch {
	case command.Run != nil:
		message.Type = "RUN"
		info, framework := &v1.TaskInfo{}, &v1.FrameworkInfo{}
		if command.Run.Task.Decode(info) == nil && command.Run.Framework.Decode(framework) == nil { // else carrying it out says so
			message.Task, message.Executor, message.Body = info.TaskID.Value, info.GetExecutor().GetExecutorID().Value, info
			message.Framework = framework.GetID().GetValue()
		}
	case command.Kill != nil:
		message.Type, message.Framework, message.Task = "KILL", command.Kill.Framework, command.Kill.Task
	case command.Ack != nil:
		message.Type, message.Framework, message.Task = "ACKNOWLEDGE", command.Ack.Framework, command.Ack.Task
	case command.Message != nil:
		message.Type, message.Framework, message.Executor = "MESSAGE", command.Message.Framework, command.Message.Executor
	case command.Shutdown != nil:
		message.Type, message.Framework, message.Executor = "SHUTDOWN", command.Shutdown.Framework, command.Shutdown.Executor
	case command.Drain != nil:
		message.Type = "DRAIN"
	case command.Total != nil:
		message.Type = "RESOURCES"
	}
	return message
}
