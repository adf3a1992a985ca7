package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/fetcher"
	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/queue"
)

// ErrGone is what Run gives when the master does not want the agent any more: it was
// marked gone, or its machine is taken down. Started again it is a new agent.
var ErrGone = errors.New("agent was sent away by its master")

// leaveTimeout bounds how long an agent that shuts down tries to tell its master.
const leaveTimeout = time.Second

// Agent is one Mesos agent. All state is behind mu; what is sent under mu is only
// queued, and no process is waited for under it.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	socket   net.Listener // nil without a domain socket
	fetcher  *fetcher.Fetcher
	started  time.Time
	masters  *masters
	client   *http.Client // to the master
	network  gate         // between the agent and its master

	// Set by Run before anything is started.
	ctx        context.Context    // ends when the agent stops
	stop       context.CancelFunc // ends ctx
	background sync.WaitGroup     // all goroutines but the HTTP server's
	dismissed  chan struct{}      // closed when the master sends the agent away

	sandboxEnded chan struct{} // one may be garbage now
	layout       sync.Mutex    // of the directories above the sandboxes: they are made and removed

	mu           sync.Mutex
	info         *v1.AgentInfo
	total        []link.Proto // what the master said last that the agent has
	frameworks   map[string]*framework
	completed    []*framework              // torn down, without executors
	reports      *queue.Queue[link.Report] // to the master; replaced with each connection
	closing      bool                      // all executors are shut down; nothing new is launched
	leaving      bool                      // the master was or is being told goodbye
	dismissal    sync.Once
	reregistered map[*executor]bool // recovered executors that have not come back yet
	recovered    chan struct{}      // closed when recovery is over
}

// framework is what the agent knows of one whose executors run here.
type framework struct {
	id          string
	info        *v1.FrameworkInfo
	executors   map[string]*executor
	completed   []*executor
	terminating bool // it was torn down: updates are not forwarded any more
}

// New makes an agent, takes up what an earlier one left in the work directory, and
// opens its port; Run does the rest.
func New(cfg Config) (*Agent, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	info, err := cfg.agentInfo()
	if err != nil {
		return nil, err
	}
	scheme := "http"
	transport := &http.Transport{MaxIdleConnsPerHost: 2}
	if cfg.CAFile != "" {
		scheme = "https"
		if transport.TLSClientConfig, err = trust(cfg.CAFile); err != nil {
			return nil, err
		}
	}
	masters, err := parseMasters(cfg.Master, cfg.Election, scheme)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg:          cfg,
		log:          cfg.Logger.With("component", "mesos-agent"),
		fetcher:      fetcher.New(filepath.Join(cfg.WorkDir, "fetch")),
		started:      time.Now(),
		masters:      masters,
		client:       &http.Client{Transport: transport},
		info:         info,
		frameworks:   map[string]*framework{},
		reports:      queue.New[link.Report](),
		dismissed:    make(chan struct{}),
		sandboxEnded: make(chan struct{}, 1),
		reregistered: map[*executor]bool{},
		recovered:    make(chan struct{}),
	}
	if err := a.recover(); err != nil {
		return nil, err
	}
	if a.listener, err = net.Listen("tcp", a.cfg.Listen); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	if a.cfg.DomainSocket != "" {
		err := removeSocket(a.cfg.DomainSocket)
		if err == nil {
			a.socket, err = net.Listen("unix", a.cfg.DomainSocket)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start agent: %w", err), a.listener.Close())
		}
	}
	port := int32(a.listener.Addr().(*net.TCPAddr).Port)
	a.info.Port = &port
	return a, nil
}

// trust makes a client believe in the certificates of a file, and in no others.
func trust(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA file %q: no certificate in it", file)
	}
	return &tls.Config{RootCAs: roots}, nil
}

// URL is where the agent answers, such as http://127.0.0.1:5051.
func (a *Agent) URL() string {
	if a.cfg.TLS != nil {
		return "https://" + a.endpoint()
	}
	return "http://" + a.endpoint()
}

// WorkDir is where its sandboxes and volumes are, as an absolute path.
func (a *Agent) WorkDir() string { return a.cfg.WorkDir }

// Hostname is the agent's; with IP it names the machine in maintenance schedules.
func (a *Agent) Hostname() string { return a.cfg.Hostname }

// IP is the address that the agent listens on.
func (a *Agent) IP() string { return a.listener.Addr().(*net.TCPAddr).IP.String() }

// ID is what the master calls the agent; empty until it has registered.
func (a *Agent) ID() string { return a.registeredID() }

// endpoint is host and port.
func (a *Agent) endpoint() string { return a.listener.Addr().String() }

// pid is the agent's name in libprocess, which other programs read its address from.
func (a *Agent) pid() string { return "slave(1)@" + a.endpoint() }

// id is the agent's ID; empty until a master gave one.
func (a *Agent) id() string { return a.info.GetID().GetValue() }

// Run serves until ctx ends or the master sends the agent away; the latter is
// ErrGone. Then executors are shut down, or left alone with KeepExecutors, and
// nothing else that it started runs any more. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	a.ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer a.stop()
	server := &http.Server{
		Handler:           a.handler(),
		BaseContext:       func(net.Listener) context.Context { return a.ctx },
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 2)
	go func() { served <- a.serve(server) }()
	if a.socket != nil {
		go func() { served <- server.Serve(a.socket) }()
	}
	a.log.Info("agent serves", "url", a.URL(), "work_dir", a.cfg.WorkDir)
	a.resumeExecutors()
	a.background.Go(a.awaitRecovery)
	a.background.Go(a.watchMemory)
	a.background.Go(a.collectGarbage)
	linkCtx, unlink := context.WithCancel(a.ctx)
	linked := make(chan struct{})
	go func() {
		defer close(linked)
		a.stayRegistered(linkCtx)
	}()

	err := a.serveUntil(ctx, served)
	if errors.Is(err, ErrGone) || err == nil && !a.cfg.KeepExecutors {
		a.shutdownAll()
		a.leave()
		select {
		case <-linked:
		case <-time.After(leaveTimeout):
		}
		err = errors.Join(err, a.forget())
	}
	unlink()
	<-linked
	a.stop()
	a.close(server)
	a.background.Wait()
	return err
}

func (a *Agent) serve(server *http.Server) error {
	if a.cfg.TLS == nil {
		return server.Serve(a.listener)
	}
	server.TLSConfig = a.cfg.TLS.Clone()
	return server.ServeTLS(a.listener, "", "")
}

// close waits for the handlers, which end with the agent's context, and cuts those off
// that do not.
func (a *Agent) close(server *http.Server) {
	deadline, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(deadline) != nil {
		server.Close() //nolint:errcheck // nothing is left to be done
	}
}

func (a *Agent) serveUntil(ctx context.Context, served <-chan error) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.dismissed:
		return ErrGone
	case err := <-served:
		return fmt.Errorf("serve agent: %w", err)
	}
}

// dismiss makes Run end with ErrGone.
func (a *Agent) dismiss() { a.dismissal.Do(func() { close(a.dismissed) }) }

// after calls do under the lock once d has passed, unless the agent stops or cancel
// is called first.
func (a *Agent) after(d time.Duration, do func()) (cancel func()) {
	ctx, stop := context.WithCancel(a.ctx)
	a.background.Go(func() {
		defer stop()
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			a.mu.Lock()
			defer a.mu.Unlock()
			if ctx.Err() == nil {
				do()
			}
		}
	})
	return stop
}
