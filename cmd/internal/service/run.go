package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/api/audit"
	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/cmd/internal/build"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/archive"
	"github.com/tidemill/tidemill/scheduler/artifacts"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/scheduler/metrics"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// shutdownGrace is for requests that are being answered when the service is to stop.
const shutdownGrace = 5 * time.Second

// service is what runs: all of it made, nothing started.
type service struct {
	cfg      Config
	log      *slog.Logger
	pace     func(failures int) time.Duration // how long to wait after a term that ended
	listener net.Listener                     // of the API
	fetches  net.Listener                     // of executor files alone; nil: there is none
	url      string                           // for people
	keys     *connections.Set
	objects  storage.Store
	records  records
	lease    lease.Lease
	files    *artifacts.Store
	archive  *archive.Archive
	numbers  *metrics.Metrics
	instance *instance
	guard    *access.Access
	audit    *audit.Log
	servers  []server       // the first is that of the API
	closers  []func() error // in the order of making
}

// Run runs the service until ctx ends, then stops in order (requests, loop, leadership, store) and returns nil. It returns
// an error when something is wrong from the start, and a [FinalError] when something goes wrong that does not pass by
// itself: Mesos refuses the framework for good, or the stored records cannot be used. What it started has stopped when it
// returns; what runs on Mesos goes on.
func Run(ctx context.Context, cfg Config) error { return run(ctx, cfg, openRecords, retryIn) }

func run(ctx context.Context, cfg Config, open opener, pace func(int) time.Duration) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s := &service{cfg: cfg, log: cfg.Logger, pace: pace}
	if s.log == nil {
		s.log = newLogger(cfg)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.make(ctx, open); err != nil {
		return err
	}
	return s.run(ctx)
}

func newLogger(cfg Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// openStore opens what is stored: objects first, as large records lie there. It keeps a second process out of a file.
func (s *service) openStore(ctx context.Context, open opener) (lease func(lease.Instance) (lease.Lease, error), err error) {
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if s.keys, err = connections.Load(s.cfg.ConnectionsFile); err != nil {
		return nil, fmt.Errorf("--connections-file: %w", err)
	}
	s.closers = append(s.closers, func() error { s.keys.Close(); return nil })
	if s.objects, err = openObjects(ctx, s.cfg, s.keys); err != nil {
		return nil, err
	}
	shared, err := open(s.cfg, s.objects, s.log)
	if err != nil {
		return nil, err
	}
	s.records = shared.records
	s.closers = append(s.closers, shared.close)
	return shared.lease, nil
}

// make puts the parts together.
func (s *service) make(ctx context.Context, open opener) error {
	newLease, err := s.openStore(ctx, open)
	if err != nil {
		return err
	}
	s.files, s.archive = artifacts.New(s.objects, s.cfg.DataDir), archive.New(s.objects, s.log)
	if err := s.listen(); err != nil {
		return err
	}
	if !s.cfg.Store.Empty() && s.cfg.ArtifactURL == "" && (s.cfg.URL == "" || s.cfg.ArtifactListen != "") {
		s.log.Warn("agents will fetch executors from whichever scheduler led when their version was first launched, also when it is gone: "+
			"set --artifact-url to an address that all schedulers share", "artifact_url", s.core().ArtifactURL)
	}
	self := s.self()
	if own, err := url.Parse(self.URL); !s.cfg.Store.Empty() && err == nil && loopback(own.Hostname()) {
		s.log.Warn("schedulers on other machines cannot reach this one when it leads: set --peer-url, or listen on another address", "peer_url", self.URL)
	}
	if s.lease, err = newLease(self); err != nil {
		return err
	}
	s.closers = append(s.closers, s.lease.Close)
	s.instance = newInstance(self, s.lease, s.records.Snapshot, func(stored []scheduler.Record) (*scheduler.View, error) {
		return scheduler.Picture(s.core(), stored, time.Now())
	})
	s.numbers = metrics.New(build.Version(), s.instance.View, s.log)
	s.numbers.Standing(s.instance.leads, s.instance.follower.age)
	if _, err := s.master(nil); err != nil { // what is wrong with it is to be known from the start
		return err
	}
	return s.makeAPI()
}

func (s *service) makeAPI() error {
	sandbox, err := mesos.NewSandbox(mesos.SandboxConfig{CAFile: s.cfg.Mesos.CAFile, Principal: s.cfg.Mesos.AgentPrincipal, Secret: s.cfg.Mesos.AgentSecret})
	if err != nil {
		return err
	}
	info := s.cfg.Info
	info.Version, info.Mesos.Master = build.Version(), shownMaster(s.cfg.Mesos.Master)
	peers, err := authorities(s.cfg.PeerCAFile)
	if err != nil {
		return fmt.Errorf("--peer-ca-file: %w", err)
	}
	signatures, err := s.signatures()
	if err != nil {
		return err
	}
	if err := s.openAccess(); err != nil {
		return err
	}
	return s.makeServers(api.New(api.Config{
		Scheduler:       s.instance,
		Peers:           s.instance,
		PeerAuthorities: peers,
		Kinds:           kinds.All(),
		MesosRole:       s.cfg.Mesos.Roles[0],
		Artifacts:       s.files,
		Signatures:      signatures,
		Archive:         s.archive,
		Logs:            &logs.Reader{Sandbox: sandbox, Connections: s.keys, Kinds: kinds.All()},
		Info:            info,
		Access:          s.guard,
		Audit:           s.audit,
		Metrics:         s.numbers.Handler(),
		Observe:         s.numbers.Request,
		Forwarded:       s.numbers.Forwarded,
		Export:          s.export,
		Logger:          s.log,
	}))
}

// signatures are those that executors need; nil if they need none.
func (s *service) signatures() (api.Signatures, error) {
	if s.cfg.Executor.KeysFile == "" {
		return nil, nil
	}
	keys, err := artifacts.OpenKeys(s.cfg.Executor.KeysFile, s.log)
	if err != nil {
		return nil, fmt.Errorf("--executor-keys-file: %w", err)
	}
	s.numbers.Keys(keys.Err)
	return keys, nil
}

// self is this instance as the others know it.
func (s *service) self() lease.Instance {
	url := s.cfg.PeerURL
	if url == "" {
		url = ownURL(s.scheme(), s.listener.Addr())
	}
	return lease.Instance{URL: strings.TrimRight(url, "/"), Host: s.host(), Version: build.Version(), Since: time.Now().UTC()}
}

// host is this machine's name, which is only shown to people.
func (s *service) host() string {
	name, err := os.Hostname()
	if err != nil {
		s.log.Warn("this machine's name is not known", "error", err)
	}
	return name
}

// master makes the connection for one term. mayAct is asked before each call that it sends.
func (s *service) master(mayAct func() bool) (*mesos.Connection, error) {
	cfg, err := s.mesos()
	if err != nil {
		return nil, err
	}
	cfg.Roles, cfg.MayAct = s.roles, mayAct
	return mesos.New(cfg)
}

// mesos is what the connection needs of the configuration.
func (s *service) mesos() (mesos.Config, error) {
	user, err := s.cfg.mesosUser()
	return mesos.Config{
		Master:    s.cfg.Mesos.Master,
		CAFile:    s.cfg.Mesos.CAFile,
		Name:      s.cfg.Mesos.Name,
		User:      user,
		Principal: s.cfg.Mesos.Principal,
		Secret:    s.cfg.Mesos.Secret,
		Roles:     func() []string { return s.cfg.Mesos.Roles },
		Hostname:  s.host(),
		WebUIURL:  s.url,
		Log:       s.log,
	}, err
}

// roles are what to subscribe with: those of runs that go on may be configured no more.
func (s *service) roles() []string {
	if known := s.instance.View().Roles; len(known) > 0 {
		return known
	}
	return s.cfg.Mesos.Roles
}

// core is the part of the configuration that decisions need.
func (s *service) core() scheduler.Config {
	c := scheduler.Defaults()
	c.Kinds = kinds.All()
	c.Roles = s.cfg.Mesos.Roles
	c.ExecutorCPUs = s.cfg.Executor.CPUs
	c.ExecutorMemory = s.cfg.Executor.Memory
	c.Linger = s.cfg.Executor.Linger
	c.KillGrace = s.cfg.Executor.KillGrace
	c.ConnectionsFile = s.cfg.Executor.ConnectionsFile
	c.KeepVersions = s.cfg.Executor.Keep
	c.KeepVersionsFor = s.cfg.Executor.KeepFor
	c.StallAfter = s.cfg.Scheduling.StallAfter
	c.LaunchTimeout = s.cfg.Scheduling.LaunchTimeout
	c.UnreachableWait = s.cfg.Scheduling.UnreachableWait
	c.Refuse = s.cfg.Scheduling.DeclineFor
	c.ReconcileEvery = s.cfg.Scheduling.ReconcileEvery
	c.FreeRetries = s.cfg.Scheduling.FreeRetries
	c.SecondAttempts = s.cfg.Scheduling.SecondAttempts
	c.ArtifactURL = s.artifactURL()
	c.ExecutorInfo = mesos.ExecutorInfo
	return c
}

// run starts everything. Requests end first, then the term: what was asked for is answered.
func (s *service) run(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	standing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group.Go(func() error { return s.stand(standing) })
	for _, one := range s.servers {
		group.Go(one.serve)
	}
	group.Go(func() error {
		<-inner.Done()
		defer stop()
		return s.shutdown()
	})
	group.Go(func() error {
		s.ready(inner)
		return nil
	})
	s.log.Info("serving", "url", s.url, "listen", s.listener.Addr().String(), "version", build.Version(), "tokens", s.guard.Needed(), "tls", s.cfg.TLS.CertFile != "")
	s.warn()
	err := group.Wait()
	s.log.Info("stopped; what runs on Mesos goes on")
	return err
}

// ready says that the API answers, once it is known who leads.
func (s *service) ready(ctx context.Context) {
	if s.cfg.Ready == nil {
		return
	}
	s.instance.watch(ctx)
	if ctx.Err() == nil {
		s.cfg.Ready(s.url)
	}
}

// close undoes make, last made first.
func (s *service) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}
