package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// Scheduler is what the API asks; scheduler/loop implements it.
type Scheduler interface {
	// Do gives a command to the core and blocks until its outcome is stored. Its error is a *scheduler.Error, or the
	// context's; after the latter the command may or may not have been carried out. A View taken after it shows it.
	Do(ctx context.Context, body scheduler.CommandBody) (any, error)
	// View is the newest picture. It does not block and is never nil.
	View() *scheduler.View
	// Wait blocks until there is a picture with a higher sequence than that, and returns it. Its error is the context's.
	Wait(ctx context.Context, sequence uint64) (*scheduler.View, error)
}

// Artifacts keeps executor files under their SHA-256. Its ServeHTTP answers GET and HEAD of /<sha256>/tidemill-executor.
// Errors that are the sender's fault (a wrong sum, a file that does not describe itself as that version and platform,
// one that is too large) are *scheduler.Error.
type Artifacts interface {
	http.Handler
	// Put reads body to its end and keeps it if its SHA-256 is sum and it describes itself as that version, os and arch.
	// It blocks as long as the body comes. May be repeated; after an error nothing is left behind.
	Put(ctx context.Context, version, os, arch, sum string, body io.Reader) (proto.Artifact, error)
	// Delete removes a file. One that is not there is no error.
	Delete(ctx context.Context, sum string) error
}

// Logs reads what tasks wrote; api/logs implements it.
type Logs interface {
	// Copy writes one stream ("stdout" or "stderr") of an attempt to w: from the agent's sandbox, or from the work area
	// when it is no longer there. attempt gives the attempt's newest state and is called often. With follow, Copy blocks
	// until the attempt has ended and all of its log is written, or ctx ends. Nothing has been written to w when
	// the error is a *scheduler.Error: NotFound when there is no log (any more), Unavailable when neither place answers.
	Copy(ctx context.Context, w io.Writer, attempt func() logs.Attempt, stream string, follow bool) error
}

// Config is what a Handler is made of.
type Config struct {
	Scheduler Scheduler
	Kinds     jobs.Kinds
	Artifacts Artifacts
	Logs      Logs
	Info      wire.Info                                                  // version, leader and, on the development platform, endpoints; the rest comes from the View
	Token     storage.Secret                                             // empty: none is needed
	Metrics   http.Handler                                               // GET /metrics; nil: there are none
	Observe   func(method, route string, status int, took time.Duration) // after each request; route is the pattern, "" if none fits; may be nil
	Logger    *slog.Logger                                               // nil: slog.Default()
	CheckWait time.Duration                                              // how long a submission waits for its checks; 0: 3 s
}

// Handler is the whole API. Make one with [New].
type Handler struct {
	cfg  Config
	mux  *http.ServeMux
	huma huma.API
}

// New makes the handler. It starts nothing.
func New(cfg Config) *Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.CheckWait == 0 {
		cfg.CheckWait = 3 * time.Second
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux()}
	h.huma = humago.New(h.mux, huma.DefaultConfig("tidemill", cfg.Info.Version))
	return h
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Server returns a server for the handler with the limits that it relies on. The caller gives it a listener; its
// Shutdown also ends event streams and followed logs.
func (h *Handler) Server() *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
}
