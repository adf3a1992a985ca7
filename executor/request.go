package executor

import "github.com/tidemill/tidemill/proto"

// requestsFrom is the protocol version from which on the scheduler's messages have a meaning.
const requestsFrom = 2

// request does what a message of the scheduler asks for. It may come twice, and for a task that never came or has ended:
// one that is about to come is asked for again.
func (e *Executor) request(data []byte) {
	if e.data.Protocol < requestsFrom {
		e.log.Debug("ignored a message: none has a meaning in this protocol", "bytes", len(data), "protocol", e.data.Protocol)
		return
	}
	var request proto.Request
	if err := proto.Decode(data, &request); err != nil {
		e.log.Warn("ignored a message that cannot be read", "error", err)
		return
	}
	for _, id := range request.HandOver {
		if a := e.attempts[id]; a != nil && !a.leaving {
			e.log.Info("task is to hand over", "task", id)
			a.leaving = true
			close(a.handOver)
		}
	}
}
