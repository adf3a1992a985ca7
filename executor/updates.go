package executor

import (
	"context"
	"crypto/rand"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/proto"
)

// What calls on their way tell.
type (
	updateSent struct {
		uuid []byte
		err  error
	}
	messageSent struct{ err error }
)

// holdBack is how long an update waits after it was not taken.
const holdBack = time.Second

// update takes a new state of a task on. It is sent as soon as those before it were.
func (e *Executor) update(id string, state mesos.TaskState, message string, data []byte) {
	source := mesos.SOURCE_EXECUTOR
	timestamp := float64(time.Now().UnixMicro()) / 1e6
	status := mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: id}, State: &state, Source: &source, Timestamp: &timestamp,
		ExecutorID: &mesos.ExecutorID{Value: e.config.Environment.ExecutorID},
		UUID:       newUUID(), Data: data,
	}
	if message != "" {
		status.Message = &message
	}
	e.ledger.add(status)
}

// newUUID is a random UUID (RFC 9562, version 4), as agents ask for.
func newUUID() []byte {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// flush sends the next update, if there is one and none is on its way: so they stay in order.
func (e *Executor) flush(ctx context.Context) {
	now := time.Now()
	if e.sending || !e.link.up {
		return
	}
	next := e.ledger.next(now, resendAfter)
	if next == nil {
		return
	}
	e.sending = true
	status := *next
	e.others.Go(func() {
		e.tell(updateSent{uuid: status.UUID, err: e.client.Update(ctx, status)})
	})
}

func (e *Executor) updateSent(sent updateSent) {
	e.sending = false
	e.answered(sent.err)
	if sent.err == nil {
		e.ledger.sent(sent.uuid, time.Now())
		return
	}
	e.log.Warn("an update was not taken, it will be sent again", "error", sent.err)
	e.ledger.failed(sent.uuid, time.Now().Add(holdBack))
}

// sendProgress gathers the progress of all tasks into one message. It is a sign of life, too, when there is nothing new.
func (e *Executor) sendProgress(ctx context.Context, now time.Time) {
	if now.Before(e.progress) || len(e.attempts) == 0 || !e.link.up || e.messaging {
		return
	}
	e.progress = now.Add(e.data.ProgressInterval)
	var all proto.Progress
	for _, a := range e.attempts {
		all.Tasks = append(all.Tasks, a.progress)
	}
	e.messaging = true
	data := proto.Encode(&all)
	e.others.Go(func() { e.tell(messageSent{err: e.client.Message(ctx, data)}) })
}
