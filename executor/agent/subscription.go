package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mesos/mesos-go/api/v1/lib/encoding/framing"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
)

// maxRecord bounds an event: a LAUNCH carries a job's spec, which is far smaller.
const maxRecord = 8 << 20

// Subscription is an open event stream. Next is for one goroutine.
type Subscription struct {
	body    io.ReadCloser
	records framing.Reader
	cancel  context.CancelFunc
}

func newSubscription(body io.ReadCloser, cancel context.CancelFunc) *Subscription {
	return &Subscription{body: body, cancel: cancel, records: recordio.NewReader(body, recordio.MaxMessageSize(maxRecord))}
}

// Next blocks until the next event. Every error ends the subscription: io.EOF if the agent closed it in order.
func (s *Subscription) Next() (*mesosexec.Event, error) {
	record, err := readRecord(s.records)
	if err != nil {
		return nil, err
	}
	return decodeEvent(record)
}

// Close ends a Next that blocks. It may be called more than once and from any goroutine.
func (s *Subscription) Close() error {
	s.cancel()
	return s.body.Close()
}

// readRecord recovers because RecordIO's reader panics on some lengths.
func readRecord(records framing.Reader) (record []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read record: %v", r)
		}
	}()
	record, err = records.ReadFrame()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read record: %w", err)
	}
	return record, err
}

// decodeEvent recovers because mesos-go's decoder panics on some input (CVE-2021-3121). An event without the part that
// its type promises is an error, so that callers need not look.
func decodeEvent(record []byte) (event *mesosexec.Event, err error) {
	defer func() {
		if r := recover(); r != nil {
			event, err = nil, fmt.Errorf("decode event: %v", r)
		}
	}()
	event = new(mesosexec.Event)
	if err := event.Unmarshal(record); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	if !whole(event) {
		return nil, fmt.Errorf("decode event: %s without its content", event.Type)
	}
	return event, nil
}

func whole(event *mesosexec.Event) bool {
	switch event.Type {
	case mesosexec.Event_SUBSCRIBED:
		return event.Subscribed != nil
	case mesosexec.Event_LAUNCH:
		return event.Launch != nil
	case mesosexec.Event_LAUNCH_GROUP:
		return event.LaunchGroup != nil
	case mesosexec.Event_KILL:
		return event.Kill != nil
	case mesosexec.Event_ACKNOWLEDGED:
		return event.Acknowledged != nil
	case mesosexec.Event_MESSAGE:
		return event.Message != nil
	case mesosexec.Event_ERROR:
		return event.Error != nil
	}
	return true // HEARTBEAT and SHUTDOWN have none; unknown ones are passed on
}
