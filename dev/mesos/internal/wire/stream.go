package wire

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"

	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/internal/queue"
)

// Stream is the server's side of one subscription: messages queued by Send are
// written as RecordIO by Serve, in order. It may be used from many goroutines.
type Stream struct {
	media Media
	judge func(proto.Message) hook.Action
	queue *queue.Queue[proto.Message]
}

// NewStream makes a stream in one content type. judge is asked about each message
// right before it is written; nil lets everything through.
func NewStream(media Media, judge func(proto.Message) hook.Action) *Stream {
	return &Stream{media: media, judge: judge, queue: queue.New[proto.Message]()}
}

// Send queues a message; it never blocks. What is sent after Close is dropped.
// The message must not be changed afterwards.
func (s *Stream) Send(m proto.Message) { s.queue.Put(m) }

// Close ends the stream once everything queued has been written.
func (s *Stream) Close() { s.queue.Close() }

// Serve answers 200 and writes what is sent until Close, until the peer is gone or
// ctx ends. It is called once. heartbeat, if not nil, is written after each silent
// or busy interval alike, as Mesos does.
func (s *Stream) Serve(ctx context.Context, w http.ResponseWriter, interval time.Duration, heartbeat proto.Message) {
	defer s.Close()
	w.Header().Set("Content-Type", string(s.media))
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	var beat <-chan time.Time
	if heartbeat != nil && interval > 0 {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		beat = ticker.C
	}
	for {
		messages, closed := s.queue.Take()
		for _, m := range messages {
			if !s.write(ctx, w, m) {
				return
			}
		}
		if len(messages) > 0 && out.Flush() != nil || closed {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.queue.Wake():
		case <-beat:
			s.Send(heartbeat)
		}
	}
}

// write puts one message on the wire as the hook wants it; false ends the stream.
func (s *Stream) write(ctx context.Context, w http.ResponseWriter, m proto.Message) bool {
	var action hook.Action
	if s.judge != nil {
		action = s.judge(m)
	}
	if action.Delay > 0 {
		select {
		case <-time.After(action.Delay):
		case <-ctx.Done():
			return false
		}
	}
	if action.Disconnect {
		return false
	}
	if action.Drop {
		return true
	}
	body, err := Marshal(m, s.media)
	if err != nil {
		return false
	}
	var frame bytes.Buffer
	for range 1 + action.Repeat {
		if err := recordio.NewWriter(&frame).WriteFrame(body); err != nil {
			return false
		}
	}
	_, err = w.Write(frame.Bytes())
	return err == nil
}
