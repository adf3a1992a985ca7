package hook

import (
	"time"

	"github.com/gogo/protobuf/proto"
)

// Point is where a message was met.
type Point string

// The four ways that messages take. Calls come from a scheduler or an executor,
// events go to them.
const (
	SchedulerCall  Point = "scheduler call"
	SchedulerEvent Point = "scheduler event"
	ExecutorCall   Point = "executor call"
	ExecutorEvent  Point = "executor event"
)

// Message is what a hook sees. IDs that a message does not name are empty.
type Message struct {
	Point     Point
	Type      string // as in the API: "ACCEPT", "UPDATE", …
	Framework string
	Agent     string
	Executor  string
	Task      string        // of messages about one task
	Body      proto.Message // a *scheduler.Call, *scheduler.Event, *executor.Call or *executor.Event, to be read only
}

// Action is what becomes of a message. The zero Action lets it pass.
type Action struct {
	// Drop loses the message: a call is answered 202 and not carried out, an event
	// is not written.
	Drop bool
	// Delay holds the message back. A delayed event holds up the later ones of its
	// stream, as a slow connection would; a delayed call holds up its own answer.
	Delay time.Duration
	// Repeat carries a call out, or writes an event, so many times more.
	Repeat int
	// Refuse answers a call with this HTTP status (400 to 599) and does not carry it
	// out. It means nothing for events.
	Refuse int
	// Disconnect ends the subscription in place of writing the event; a call is not
	// carried out and its connection is closed without an answer.
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
