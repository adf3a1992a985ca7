package hook

import (
	"time"

	"github.com/gogo/protobuf/proto"
)

// Point is where a message was met.
type Point string

// The ways that messages take. Calls come from a scheduler or an executor, events go to
// them. An agent reports to its master (REGISTER, UPDATE, EXITED, MESSAGE, LEAVING, and
// HEARTBEAT when there is nothing to say), which commands it (RUN, KILL, ACKNOWLEDGE,
// MESSAGE, SHUTDOWN, DRAIN, RESOURCES); both are seen by the agent's hook.
const (
	SchedulerCall  Point = "scheduler call"
	SchedulerEvent Point = "scheduler event"
	ExecutorCall   Point = "executor call"
	ExecutorEvent  Point = "executor event"
	AgentReport    Point = "agent report"
	AgentCommand   Point = "agent command"
)

// Message is what a hook sees. IDs that a message does not name are empty.
type Message struct {
	Point     Point
	Type      string // as in the API: "ACCEPT", "UPDATE", …
	Framework string
	Agent     string
	Executor  string
	Task      string // of messages about one task
	// Body is to be read only: a *scheduler.Call, *scheduler.Event, *executor.Call or
	// *executor.Event; the *mesos.TaskStatus of a report UPDATE, the *mesos.TaskInfo of a
	// command RUN; nil for other reports and commands.
	Body proto.Message
}

// Action is what becomes of a message. The zero Action lets it pass.
type Action struct {
	// Drop loses the message: a call is answered 202 and not carried out, an event
	// is not written, a report or command does not arrive. A lost REGISTER is tried
	// again.
	Drop bool
	// Delay holds the message back. A delayed event holds up the later ones of its
	// stream, as a slow connection would, and so do reports and commands; a delayed
	// call holds up its own answer.
	Delay time.Duration
	// Repeat carries a call out, or writes an event, so many times more.
	Repeat int
	// Refuse answers a call with this HTTP status (400 to 599) and does not carry it
	// out. It means nothing for the others.
	Refuse int
	// Disconnect ends the subscription in place of writing the event, or the agent's
	// connection with its master; a call is not carried out and its connection is closed
	// without an answer.
	Disconnect bool
}

// Hook judges messages. It is called from many goroutines and must not block for
// long: Action.Delay is for waiting.
type Hook func(Message) Action

// Judge asks the hook; a nil Hook lets everything pass.
func (h Hook) Judge(m Message) Action {
	if h == nil {
		return Action{}
	}
	return h(m)
}
