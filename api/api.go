package api

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/api/audit"
	"github.com/tidemill/tidemill/api/dashboard"
	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
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
	// Delete removes a file, unless somebody holds it or needed says that a version has it, which is asked when nobody can
	// hold it any more. One that is not there is no error.
	Delete(ctx context.Context, sum string, needed func() bool) error
	// Hold keeps a file from being deleted until release is called: from before Put until its version is registered. It
	// blocks while the file is being deleted.
	Hold(sum string) (release func())
	// MaxSize is how many bytes a file may have.
	MaxSize() int64
}

// Signatures says who vouches for executor files; scheduler/artifacts implements it.
type Signatures interface {
	// Verify gives the name of the key that the signature of a file with that SHA-256 (lower-case hex) is of. Its error is
	// why there is none, for whoever sent it.
	Verify(sum string, signature []byte) (signedBy string, err error)
}

// Logs reads what tasks wrote; api/logs implements it.
type Logs interface {
	// Copy writes one stream ("stdout" or "stderr") of an attempt to w. attempt gives the attempt's newest state and is
	// called often. w is written to, be it with no bytes, as soon as it is known that there is a log. With follow, Copy
	// blocks until the attempt has ended and all of its log is written, or ctx ends. Nothing has been written to w when
	// the error is a *scheduler.Error: NotFound when there is no log (any more), Unavailable when its place does not answer.
	Copy(ctx context.Context, w io.Writer, attempt func() logs.Attempt, stream string, follow bool) error
}

// Config is what a Handler is made of.
type Config struct {
	Scheduler Scheduler
	// Peers are the instances that share the scheduler's store. Nil: this one is alone.
	Peers     Peers
	Kinds     jobs.Kinds
	Artifacts Artifacts
	// Signatures must be good for each file that is registered. Nil: none are asked for.
	Signatures Signatures
	Logs       Logs
	// Archive has the ended runs that the scheduler no longer keeps. Nil: there is none.
	Archive Archive
	// Info has version, leader and, on the development platform, endpoints; the rest of it comes from the View and the
	// peers.
	Info wire.Info
	// Access knows who may do what. If it needs no token only loopback names are answered. Nil: it needs none.
	Access *access.Access
	// Audit takes what requests change, before and after they do. Nil: nothing does.
	Audit *audit.Log
	// MesosRole is that of jobs whose spec names none.
	MesosRole string
	// PeerAuthorities sign the certificates of the other instances. Nil: those of the system.
	PeerAuthorities *x509.CertPool
	// Metrics answers GET /metrics.
	Metrics http.Handler
	// Observe is told of each request after it. The route is its pattern ("GET /v1/runs/{id}"), or empty if none fits. May be nil.
	Observe func(method, route string, status int, took time.Duration)
	// Export writes all records as one commit left them, as store.Import reads them. Nothing is written when it fails
	// before that. Nil: there is no export.
	Export func(ctx context.Context, w io.Writer) error
	// Forwarded is told of each request that was passed on to the leader, with the status of its answer; 0: there was
	// none. May be nil.
	Forwarded func(status int)
	Logger    *slog.Logger // nil: slog.Default()
	// CheckWait is how long a submission waits for its checks; 0: 3 s.
	CheckWait time.Duration
	// Uploads is how many executors are received at one time, each of which takes room on the disk; 0: 4.
	Uploads int
}

// Handler is the whole API. Make one with [New].
type Handler struct {
	cfg         Config
	mux         *http.ServeMux
	crossOrigin *http.CrossOriginProtection
	leader      *http.Transport // to the instance that leads
	description []byte          // openapi.json
	duties      map[string]duty // by route, of what is described

	refusals *rate.Limiter // of entries in the audit log
	leftOut  atomic.Int64  // refusals that are not there

	uploads chan struct{} // has one for each that is under way

	stopOnce sync.Once
	stop     chan struct{} // closed when streams must end
}

// New makes the handler. It starts nothing.
func New(cfg Config) *Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Logger = slog.New(requestLog{cfg.Logger.Handler()})
	if cfg.Access == nil {
		cfg.Access = access.None()
	}
	if cfg.CheckWait == 0 {
		cfg.CheckWait = 3 * time.Second
	}
	if cfg.Uploads == 0 {
		cfg.Uploads = 4
	}
	if cfg.Peers == nil {
		cfg.Peers = alone{cfg.Scheduler, cfg.Info.Leader}
	}
	h := &Handler{
		cfg: cfg, mux: http.NewServeMux(), crossOrigin: http.NewCrossOriginProtection(), leader: newLeaderTransport(cfg.PeerAuthorities),
		refusals: rate.NewLimiter(refusalRate, refusalBurst), stop: make(chan struct{}),
		uploads: make(chan struct{}, cfg.Uploads),
	}
	h.describe(h.routes())
	return h
}

// artifactRoute is where agents fetch executors.
const artifactRoute = "GET /artifacts/{sum}/{file}"

// routes registers everything and returns the described part.
func (h *Handler) routes() huma.API {
	described := newDescribed(h.mux, h.cfg.Info.Version)
	h.jobRoutes(described)
	h.runRoutes(described)
	h.taskRoutes(described)
	h.executorRoutes(described)
	h.channelRoutes(described)
	h.rolloutRoutes(described)
	h.infoRoutes(described)
	if h.cfg.Export != nil {
		h.exportRoute(described)
	}

	h.mux.Handle(artifactRoute, http.StripPrefix("/artifacts", h.cfg.Artifacts))
	h.mux.HandleFunc("GET /openapi.json", h.openAPI)
	if h.cfg.Metrics != nil {
		h.mux.Handle("GET /metrics", h.cfg.Metrics)
	}
	page := dashboard.Handler()
	h.mux.Handle("GET /{$}", page)
	for _, path := range dashboard.Assets() {
		h.mux.Handle("GET "+path, page)
	}
	return described
}

// do gives a command to the scheduler, bounded in time, and turns its error into an answer.
func (h *Handler) do(ctx context.Context, body scheduler.CommandBody) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, doTimeout)
	defer cancel()
	value, err := h.cfg.Scheduler.Do(ctx, body)
	if err != nil {
		return nil, h.refusal(ctx, err)
	}
	return value, nil
}

// command is do with the type that the command's Reply.Value has.
func command[T any](ctx context.Context, h *Handler, body scheduler.CommandBody) (T, error) {
	var none T
	value, err := h.do(ctx, body)
	if err != nil {
		return none, err
	}
	typed, ok := value.(T)
	if !ok {
		return none, h.refusal(ctx, fmt.Errorf("answer to %T: got %T, want %T", body, value, none))
	}
	return typed, nil
}
