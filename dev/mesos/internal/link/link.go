package link

import (
	"fmt"
	"time"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// Paths at the master, and the header that carries the stream's ID.
const (
	RegisterPath = "/link/v1/register"
	ReportPath   = "/link/v1/report"
	StreamHeader = "Link-Stream-Id"
)

// Proto is an encoded message of Mesos.
type Proto []byte

// Encode packs a message; it cannot fail for messages that were decoded before or
// were made by dev/mesos.
func Encode(m proto.Message) Proto {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("link: encode %T: %v", m, err))
	}
	return body
}

// EncodeResources packs a list of resources.
func EncodeResources(rs []v1.Resource) []Proto {
	encoded := make([]Proto, len(rs))
	for i := range rs {
		encoded[i] = Encode(&rs[i])
	}
	return encoded
}

// DecodeResources unpacks a list of resources.
func DecodeResources(encoded []Proto) (v1.Resources, error) {
	rs := make(v1.Resources, len(encoded))
	for i, one := range encoded {
		if err := one.Decode(&rs[i]); err != nil {
			return nil, fmt.Errorf("decode resource %d: %w", i, err)
		}
	}
	return rs, nil
}

// Decode unpacks a message.
func (p Proto) Decode(m proto.Message) error { return wire.UnmarshalProtobuf(p, m) }

// Registration is how an agent introduces itself, for the first time or again.
type Registration struct {
	Agent     Proto            `json:"agent"`           // an AgentInfo, with its ID if it had one
	PID       string           `json:"pid"`             // as in "slave(1)@127.0.0.1:5051"
	TLS       bool             `json:"tls,omitempty"`   // the agent answers over TLS
	Total     []Proto          `json:"total,omitempty"` // what a Total command said last
	Executors []KnownExecutor  `json:"executors,omitempty"`
	Tasks     []KnownTask      `json:"tasks,omitempty"`
	Infos     map[string]Proto `json:"frameworks,omitempty"` // FrameworkInfo by ID
}

// KnownExecutor is an executor that lives on the agent.
type KnownExecutor struct {
	Framework string `json:"framework"`
	Info      Proto  `json:"info"` // an ExecutorInfo
	Command   bool   `json:"command,omitempty"`
}

// KnownTask is a task that the agent still answers for: it lives, or its last
// update is not acknowledged yet.
type KnownTask struct {
	Framework string `json:"framework"`
	Executor  string `json:"executor"`
	Info      Proto  `json:"info"`   // a TaskInfo
	Latest    Proto  `json:"latest"` // its latest TaskStatus
}

// Command is what a master tells an agent: exactly one field is set.
type Command struct {
	Registered *Registered `json:"registered,omitempty"`
	Run        *Run        `json:"run,omitempty"`
	Kill       *Kill       `json:"kill,omitempty"`
	Ack        *Ack        `json:"ack,omitempty"`
	Message    *Message    `json:"message,omitempty"`
	Shutdown   *Shutdown   `json:"shutdown,omitempty"`
	Drain      *Drain      `json:"drain,omitempty"`
	Total      *Total      `json:"total,omitempty"`
}

// Registered is the first command on each stream.
type Registered struct {
	AgentID  string        `json:"agent_id"`
	StreamID string        `json:"stream_id"`
	Silence  time.Duration `json:"silence"` // how long the agent may be silent before it is unreachable
}

// TaskRef names a task.
type TaskRef struct {
	Framework string `json:"framework"`
	Task      string `json:"task"`
}

// Run launches a task, and its executor if that does not run yet.
type Run struct {
	Framework Proto `json:"framework"` // a FrameworkInfo with its ID
	Task      Proto `json:"task"`      // a TaskInfo whose ExecutorInfo names the framework
}

// Kill asks for the end of a task; Policy is a KillPolicy that overrides the task's.
type Kill struct {
	TaskRef
	Policy Proto `json:"policy,omitempty"`
}

// Ack acknowledges an update.
type Ack struct {
	TaskRef
	UUID []byte `json:"uuid"`
}

// Message goes to an executor.
type Message struct {
	Framework string `json:"framework"`
	Executor  string `json:"executor"`
	Data      []byte `json:"data"`
}

// Shutdown ends one executor; all of a framework's without an executor; everything
// and the agent itself without a framework.
type Shutdown struct {
	Framework string `json:"framework,omitempty"`
	Executor  string `json:"executor,omitempty"`
}

// Drain kills all tasks that the agent has; what comes later is not touched. A master
// repeats it when a draining agent registers again.
type Drain struct {
	MaxGrace *time.Duration `json:"max_grace,omitempty"` // bounds the tasks' own grace periods
	MarkGone bool           `json:"mark_gone,omitempty"` // the tasks' end is reported as GONE_BY_OPERATOR
}

// Total replaces what the agent has in all, reservations and volumes included; the
// agent stores it and tells it with its next registration.
type Total struct {
	Resources []Proto `json:"resources"` // a Resource each
}

// Report is what an agent tells the master: at most one field is set; an empty one
// only shows that the agent lives.
type Report struct {
	Update  *Update  `json:"update,omitempty"`
	Exited  *Exited  `json:"exited,omitempty"`
	Message *Message `json:"message,omitempty"`
	Leaving *Leaving `json:"leaving,omitempty"`
}

// Update forwards a status; Latest is the task's newest state, which may be ahead of
// what is being delivered.
type Update struct {
	Framework string `json:"framework"`
	Status    Proto  `json:"status"` // a TaskStatus
	Latest    int32  `json:"latest"` // a TaskState
}

// Exited says that an executor is gone. Command executors count too, but schedulers
// do not hear of them.
type Exited struct {
	Framework string `json:"framework"`
	Executor  string `json:"executor"`
	Status    int32  `json:"status"` // as of wait(2): exit code << 8, or the signal
}

// Leaving says that the agent shuts down for good.
type Leaving struct{}
