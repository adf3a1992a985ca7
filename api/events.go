package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// heartbeatInterval is how often a silent event stream gets a comment, so that proxies and clients know it lives.
const heartbeatInterval = 15 * time.Second

func (h *Handler) eventRoute(described huma.API) {
	op := operation("watch-run", http.MethodGet, "/v1/runs/{id}/events", "runs", "Follow a run as server-sent events", http.StatusNotFound)
	op.Description = "An event \"run\" with the run at once and after each change, \"done\" with the run when it has ended. Then the stream ends. Comments come in between as heartbeats."
	run := described.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[wire.Run](), true, "Run")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Events whose data is a run",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string", Extensions: map[string]any{"contentSchema": run}}}},
	}}
	huma.Register(described, op, func(ctx context.Context, in *runPath) (*huma.StreamResponse, error) {
		if _, err := h.find(ctx, in.ID); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			h.follow(w, r, in.ID)
		}}, nil
	})
}

// follow writes a run's events until it has ended, the client has gone away or the server is shut down.
func (h *Handler) follow(w http.ResponseWriter, r *http.Request, id string) {
	ctx, cancel := h.untilShutdown(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	stream := &eventStream{w: w, control: http.NewResponseController(w)}
	if r.Method == http.MethodHead {
		return
	}
	var last *scheduler.RunView
	var sent []byte
	for view := h.cfg.Scheduler.View(); ; {
		run := view.Runs[id]
		if run == nil {
			h.finish(ctx, stream, view.Sequence, id)
			return
		}
		if run != last { // views share what has not changed
			data, err := json.Marshal(showRun(view, run))
			if err != nil {
				h.cfg.Logger.ErrorContext(ctx, "show run", "run", id, "error", err)
				return
			}
			if !bytes.Equal(data, sent) && stream.event("run", view.Sequence, data) != nil {
				return
			}
			last, sent = run, data
		}
		if jobs.Terminal(run.Run.State) {
			_ = stream.event("done", view.Sequence, sent) // the last thing anyway
			return
		}
		for previous := view; view == previous; {
			waiting, stop := context.WithTimeout(ctx, heartbeatInterval)
			next, err := h.cfg.Scheduler.Wait(waiting, previous.Sequence)
			stop()
			switch {
			case err == nil:
				view = next
			case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || stream.comment("heartbeat") != nil:
				return
			}
		}
	}
}

// finish ends the stream of a run that has gone to the archive.
func (h *Handler) finish(ctx context.Context, stream *eventStream, sequence uint64, id string) {
	run, err := h.archived(ctx, id)
	if err != nil {
		return // the client asks again, and is told
	}
	data, err := json.Marshal(showArchived(h.cfg.Scheduler.View(), run))
	if err != nil {
		h.cfg.Logger.ErrorContext(ctx, "show run", "run", id, "error", err)
		return
	}
	if stream.event("run", sequence, data) == nil {
		_ = stream.event("done", sequence, data) // the last thing anyway
	}
}

// untilShutdown is ctx, ended too when the server is shut down.
func (h *Handler) untilShutdown(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-h.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); <-stopped }
}

// eventStream writes server-sent events. Each write has its own deadline, so that a client that reads nothing is dropped.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *eventStream) event(name string, id uint64, data []byte) error {
	return s.write(fmt.Appendf(nil, "event: %s\nid: %d\ndata: %s\n\n", name, id, data))
}

func (s *eventStream) comment(text string) error { return s.write([]byte(": " + text + "\n\n")) }

func (s *eventStream) write(text []byte) error {
	if err := deadlines(s.w, 0, answerTimeout); err != nil {
		return err
	}
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return s.control.Flush()
}
