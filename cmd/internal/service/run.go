package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/cmd/internal/build"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/artifacts"
	"github.com/tidemill/tidemill/scheduler/loop"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/scheduler/metrics"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
	"github.com/tidemill/tidemill/storage/file"
)

// shutdownGrace is for requests that are being answered when the service is to stop.
const shutdownGrace = 5 * time.Second

// service is what runs: all of it made, nothing started.
type service struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	url      string
	loop     *loop.Loop
	server   *http.Server
	closers  []func() error // in the order of making
}

// Run runs the service until ctx ends, then stops in order (requests, loop, store) and returns nil. It returns an error
// when something is wrong from the start, when storing fails, or when Mesos refuses the framework for good. What it
// started has stopped when it returns; what runs on Mesos goes on.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s := &service{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = newLogger(cfg)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.make(ctx); err != nil {
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

// make puts the parts together. The store comes first: it keeps a second process out.
func (s *service) make(ctx context.Context) error {
	records, err := store.Open(filepath.Join(s.cfg.DataDir, "tidemill.db"))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, records.Close)
	root, err := filepath.Abs(s.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	folder, err := file.Open(file.Config{Root: root})
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	objects := storage.WithRetry(folder, storage.DefaultBackoff)
	files := artifacts.New(objects, root)
	keys, err := connections.Load(s.cfg.ConnectionsFile)
	if err != nil {
		return fmt.Errorf("--connections-file: %w", err)
	}
	s.closers = append(s.closers, func() error { keys.Close(); return nil })
	if err := s.listen(); err != nil {
		return err
	}
	master, err := s.master()
	if err != nil {
		return err
	}
	sandbox, err := mesos.NewSandbox(mesos.SandboxConfig{})
	if err != nil {
		return err
	}
	numbers := metrics.New(build.Version(), func() *scheduler.View { return s.loop.View() }, s.log)
	s.loop, err = loop.Open(ctx, loop.Config{
		Version: build.Version(),
		Core: func(stored []scheduler.Record) (loop.Core, error) {
			core, err := scheduler.New(s.core(), stored)
			if err != nil {
				return nil, err
			}
			return core, nil
		},
		Store:    records,
		Master:   master,
		Observer: numbers,
		Log:      s.log,
	})
	if err != nil {
		return err
	}
	s.missing(ctx, files)
	info := s.cfg.Info
	info.Version, info.Leader, info.Mesos.Master = build.Version(), s.url, s.cfg.Mesos.Master
	s.server = api.New(api.Config{
		Scheduler: s.loop,
		Kinds:     kinds.All(),
		Artifacts: files,
		Logs:      &logs.Reader{Sandbox: sandbox, Connections: keys, Kinds: kinds.All()},
		Info:      info,
		Token:     s.cfg.Token,
		Metrics:   numbers.Handler(),
		Observe:   numbers.Request,
		Logger:    s.log,
	}).Server()
	s.server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)
	return nil
}

// listen takes the port, so that the URL is known before the framework names it to Mesos.
func (s *service) listen() error {
	listener, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	s.listener = listener
	s.closers = append(s.closers, func() error {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	if s.url = s.cfg.URL; s.url == "" {
		s.url = ownURL(listener.Addr())
	}
	return nil
}

// ownURL of an address that stands for all of a machine's is under the machine's name.
func ownURL(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return "http://" + address.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return "http://" + net.JoinHostPort(host, port)
}

func (s *service) master() (*mesos.Connection, error) {
	user, err := s.cfg.mesosUser()
	if err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		s.log.Warn("this machine's name is not known", "error", err) // it is only shown to people
	}
	return mesos.New(mesos.Config{
		Master:    s.cfg.Mesos.Master,
		Name:      s.cfg.Mesos.Name,
		User:      user,
		Principal: s.cfg.Mesos.Principal,
		Secret:    s.cfg.Mesos.Secret,
		Roles:     func() []string { return []string{s.cfg.Mesos.Role} },
		Hostname:  hostname,
		WebUIURL:  s.url,
		Log:       s.log,
	})
}

// core is the part of the configuration that decisions need.
func (s *service) core() scheduler.Config {
	c := scheduler.Defaults()
	c.Kinds = kinds.All()
	c.Role = s.cfg.Mesos.Role
	c.ExecutorCPUs = s.cfg.Executor.CPUs
	c.ExecutorMemory = s.cfg.Executor.Memory
	c.Linger = s.cfg.Executor.Linger
	c.KillGrace = s.cfg.Executor.KillGrace
	c.ConnectionsFile = s.cfg.Executor.ConnectionsFile
	c.StallAfter = s.cfg.Scheduling.StallAfter
	c.LaunchTimeout = s.cfg.Scheduling.LaunchTimeout
	c.UnreachableWait = s.cfg.Scheduling.UnreachableWait
	c.Refuse = s.cfg.Scheduling.DeclineFor
	c.FreeRetries = s.cfg.Scheduling.FreeRetries
	if c.ArtifactURL = s.cfg.ArtifactURL; c.ArtifactURL == "" {
		c.ArtifactURL = strings.TrimRight(s.url, "/") + "/artifacts"
	}
	c.ArtifactURL = strings.TrimRight(c.ArtifactURL, "/")
	c.ExecutorInfo = mesos.ExecutorInfo
	return c
}

// missing tells of versions whose file is gone: launches with them would fail on every agent that has not fetched it.
func (s *service) missing(ctx context.Context, files *artifacts.Store) {
	for name, version := range s.loop.View().Versions {
		for _, a := range version.Version.Artifacts {
			there, err := files.Has(ctx, a.SHA256)
			if err != nil {
				s.log.Error("the file of an executor version cannot be looked for", "version", name, "error", err)
			} else if !there {
				s.log.Error("the file of an executor version is missing", "version", name, "os", a.OS, "arch", a.Arch, "sha256", a.SHA256)
			}
		}
	}
}

// run starts everything. Requests end first, then the loop: what was asked for is answered.
func (s *service) run(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	loopContext, stopLoop := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoop()
	group.Go(func() error { return s.loop.Run(loopContext) })
	group.Go(func() error {
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the API: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-inner.Done()
		defer stopLoop()
		return s.shutdown()
	})
	s.log.Info("serving", "url", s.url, "listen", s.listener.Addr().String(), "version", build.Version(), "token", !s.cfg.Token.Empty())
	if s.cfg.Ready != nil {
		s.cfg.Ready(s.url)
	}
	err := group.Wait()
	s.log.Info("stopped; what runs on Mesos goes on")
	return err
}

// shutdown lets requests end, and cuts off those that take too long.
func (s *service) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests were cut off", "after", shutdownGrace)
		err = s.server.Close()
	}
	if err != nil {
		return fmt.Errorf("stop the API: %w", err)
	}
	return nil
}

// close undoes make, last made first.
func (s *service) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}
