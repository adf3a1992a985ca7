package executor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/executor/agent"
	"github.com/tidemill/tidemill/proto"
)

// link is the subscription with the agent.
type link struct {
	connecting bool                    // its goroutine runs
	hangUp     context.CancelFunc      // of that goroutine
	named      []mesosexec.Call_Update // in the SUBSCRIBE

	began time.Time // the last try

	up      bool      // SUBSCRIBED came
	ever    bool      // so it did at least once
	lost    time.Time // since when it is not up
	retry   time.Time // when to connect again
	problem string    // why not, as last logged
	refused int       // calls in a row that got no answer

	heard     time.Time     // the last event
	heartbeat time.Time     // the last HEARTBEAT
	interval  time.Duration // longest between two HEARTBEATs so far; 0: not known
}

// What the link's goroutine tells.
type (
	linkEvent struct{ event *mesosexec.Event }
	linkLost  struct{ err error } // its last word
)

const (
	subscribedTimeout = 20 * time.Second // from SUBSCRIBE to SUBSCRIBED
	missedHeartbeats  = 5                // an agent that misses so many hangs
	deadCalls         = 2                // so many calls in a row without an answer: it hangs, or it is gone and we were not told
	maxBackoff        = time.Second      // agents that were started again wait two seconds for their executors
)

// connect starts a subscription that names what is not acknowledged.
func (e *Executor) connect(ctx context.Context) {
	ctx, hangUp := context.WithCancel(ctx)
	tasks, updates := e.ledger.unacknowledged()
	e.link.connecting, e.link.hangUp, e.link.named = true, hangUp, updates
	e.link.began, e.link.interval, e.link.heartbeat = time.Now(), 0, time.Time{}
	e.others.Go(func() {
		defer hangUp()
		e.tell(linkLost{err: e.listen(ctx, tasks, updates)})
	})
}

// listen subscribes and passes events on until that ends.
func (e *Executor) listen(ctx context.Context, tasks []mesos.TaskInfo, updates []mesosexec.Call_Update) (err error) {
	subscription, err := e.client.Subscribe(ctx, tasks, updates)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, subscription.Close()) }()
	for {
		event, err := subscription.Next()
		if err != nil {
			return err
		}
		e.tell(linkEvent{event: event})
	}
}

// lost handles the end of a subscription, or of a try.
func (e *Executor) lost(err error) {
	now := time.Now()
	if e.link.up {
		e.link.lost = now
	}
	if text := fmt.Sprint(err); e.link.up || text != e.link.problem {
		e.log.Warn("not subscribed with the agent", "error", err)
		e.link.problem = text
	}
	e.link.up, e.link.connecting, e.link.refused = false, false, 0
	e.link.retry = now.Add(rand.N(min(e.config.Environment.SubscriptionBackoff, maxBackoff) + 1))
	if e.end != nil {
		return
	}
	patience := registrationTimeout
	if e.link.ever {
		patience = 0
		if e.config.Environment.Checkpoint {
			patience = e.config.Environment.RecoveryTimeout
		}
	}
	if now.Sub(e.link.lost) >= patience {
		e.giveUp(fmt.Errorf("%w for %s: %w", errAgentGone, now.Sub(e.link.lost).Round(time.Second), err))
	}
}

// watchLink connects again when that is due, and hangs up on an agent that has fallen silent.
func (e *Executor) watchLink(ctx context.Context, now time.Time) {
	if !e.link.connecting {
		if !now.Before(e.link.retry) && (e.end == nil || now.Before(e.end.deadline)) {
			e.connect(ctx)
		}
		return
	}
	silent := e.link.interval > 0 && now.Sub(e.link.heard) > missedHeartbeats*e.link.interval
	if !e.link.up {
		silent = now.Sub(e.link.began) > subscribedTimeout
	}
	if silent {
		e.log.Warn("the agent is silent, connecting again", "since", e.link.heard)
		e.link.hangUp()
	}
}

// answered counts calls that got no answer.
func (e *Executor) answered(err error) {
	var status *agent.StatusError
	if err == nil || errors.As(err, &status) {
		e.link.refused = 0
		return
	}
	e.link.refused++
	if e.link.refused >= deadCalls && e.link.up {
		e.log.Warn("the agent does not answer, connecting again", "error", err)
		e.link.hangUp()
	}
}

// event handles what the agent says.
func (e *Executor) event(event *mesosexec.Event) {
	now := time.Now()
	e.link.heard = now
	switch event.Type {
	case mesosexec.Event_SUBSCRIBED:
		e.subscribed(event.Subscribed, now)
	case mesosexec.Event_LAUNCH:
		e.launch(event.Launch.Task)
	case mesosexec.Event_LAUNCH_GROUP:
		for _, task := range event.LaunchGroup.TaskGroup.Tasks {
			e.refuse(task, unsupported("task groups are not supported"))
		}
	case mesosexec.Event_KILL:
		e.kill(event.Kill)
	case mesosexec.Event_ACKNOWLEDGED:
		e.ledger.acknowledge(event.Acknowledged.TaskID.Value, event.Acknowledged.UUID)
	case mesosexec.Event_SHUTDOWN:
		e.log.Info("shutting down: the agent says so")
		e.shutDown()
	case mesosexec.Event_ERROR:
		e.log.Error("the agent reports an error, connecting again", "error", event.Error.Message)
		e.link.hangUp()
	case mesosexec.Event_HEARTBEAT:
		if !e.link.heartbeat.IsZero() {
			e.link.interval = max(e.link.interval, now.Sub(e.link.heartbeat), time.Second)
		}
		e.link.heartbeat = now
	case mesosexec.Event_MESSAGE:
		e.request(event.Message.Data)
	default:
		e.log.Warn("ignored an event of unknown type", "type", int32(event.Type))
	}
}

// subscribed begins or goes on.
func (e *Executor) subscribed(s *mesosexec.Event_Subscribed, now time.Time) {
	e.link.up, e.link.refused = true, 0
	e.ledger.subscribed(e.link.named, now)
	e.link.named = nil
	if e.link.ever {
		e.log.Info("subscribed again", "after", now.Sub(e.link.lost))
		return
	}
	e.link.ever = true
	e.idleSince = now
	e.killing = false
	for _, capability := range s.FrameworkInfo.Capabilities {
		e.killing = e.killing || capability.Type == mesos.FrameworkInfo_Capability_TASK_KILLING_STATE
	}
	e.configure(s.ExecutorInfo.Data)
	e.log.Info("subscribed", "agent", s.AgentInfo.GetID().GetValue(), "host", s.AgentInfo.Hostname)
}

// configure takes what the scheduler says to this executor.
func (e *Executor) configure(data []byte) {
	own := e.config.Description
	switch err := proto.Decode(data, &e.data); {
	case err != nil:
		e.refusal = "the executor's data cannot be read: " + err.Error()
	case e.data.Protocol < own.ProtocolMin || e.data.Protocol > own.ProtocolMax:
		e.refusal = fmt.Sprintf("the executor speaks protocol %d to %d, the scheduler chose %d",
			own.ProtocolMin, own.ProtocolMax, e.data.Protocol)
	case e.data.Version != own.Version:
		e.refusal = fmt.Sprintf("this is executor version %q, the scheduler wants %q", own.Version, e.data.Version)
	}
	if e.refusal != "" {
		e.log.Error("no task can be done", "error", e.refusal)
	}
	if e.data.KillGrace <= 0 {
		e.data.KillGrace = defaultKillGrace
	}
	if e.data.ProgressInterval <= 0 {
		e.data.ProgressInterval = defaultProgress
	}
	e.data.ProgressInterval = min(e.data.ProgressInterval, maxProgress)
	e.shared.connections, e.shared.uploader.file = e.data.ConnectionsFile, e.data.ConnectionsFile
	e.log = e.log.With("run", e.data.Owner)
	e.shared.log = e.log
}
