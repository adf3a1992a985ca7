package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/loop"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/scheduler/store"
	client "github.com/tidemill/tidemill/scheduler/zookeeper"
	"github.com/tidemill/tidemill/storage/file"
)

var roles = []string{"data/batch", "data/stream"}

// configuration is the core's.
func configuration() scheduler.Config {
	cfg := scheduler.Defaults()
	cfg.Kinds = jobs.Kinds{kind{}}
	cfg.Roles = roles
	cfg.ArtifactURL = "http://127.0.0.1:1/artifacts"
	cfg.ExecutorInfo = mesos.ExecutorInfo
	cfg.StallAfter = time.Hour // no executor sends progress
	return cfg
}

// version is the executor version of all runs.
func version() proto.Artifact {
	return proto.Artifact{
		OS: "linux", Arch: "amd64", SHA256: fmt.Sprintf("%064x", 1),
		Description: proto.Description{Version: "1.0.0", OS: "linux", Arch: "amd64", ProtocolMin: 1, ProtocolMax: 1, Kinds: []string{kindName}},
	}
}

// watched is a core that is looked at while it works.
type watched struct {
	*scheduler.Core
	mu       sync.Mutex
	answers  int // to reconciliation
	answered time.Time
	longest  time.Duration // step with offers
}

func (w *watched) Step(in scheduler.Input) scheduler.Actions {
	begin := time.Now()
	acts := w.Core.Step(in)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := in.Event.(type) {
	case scheduler.Offers:
		w.longest = max(w.longest, time.Since(begin))
	case scheduler.Update:
		if e.Reason == "REASON_RECONCILIATION" {
			w.answers++
			w.answered = time.Now()
		}
	}
	return acts
}

// reconciled is how many answers came, and when the last one.
func (w *watched) reconciled() (int, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answers, w.answered
}

// longestStep is the time of the longest step with offers since the last call.
func (w *watched) longestStep() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := w.longest
	w.longest = 0
	return longest
}

// commits adds up store writes.
type commits struct {
	mu      sync.Mutex
	writes  int
	longest time.Duration
}

func (*commits) Count(scheduler.Count) {}

func (c *commits) Committed(_, _ int, took time.Duration, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	c.longest = max(c.longest, took)
}

// take returns what has added up, and begins anew.
func (c *commits) take() (writes int, longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	writes, longest = c.writes, c.longest
	c.writes, c.longest = 0, 0
	return writes, longest
}

// instance is a scheduler that leads, as the service makes one.
type instance struct {
	*loop.Loop
	core    *watched
	commits *commits
	loaded  time.Duration // taking over and reading the store
	made    time.Duration // the core from the records
	cancel  context.CancelFunc
	ended   chan error
	release func() error
}

// records opens the store for one term. What it opened is ended by release.
type records func(ctx context.Context) (opened loop.Store, term lease.Term, release func() error, err error)

// startInstance leads and subscribes to the master.
func startInstance(ctx context.Context, open records, master string, log *slog.Logger) (*instance, error) {
	begin := time.Now()
	opened, term, release, err := open(ctx)
	if err != nil {
		return nil, err
	}
	i := &instance{commits: &commits{}, ended: make(chan error, 1), release: release}
	connection, err := mesos.New(mesos.Config{
		Master: master, Name: "scale", User: "nobody", MayAct: term.Valid, Log: log,
		Roles: func() []string { return i.View().Roles },
	})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	i.Loop, err = loop.Open(ctx, loop.Config{
		Version: "scale",
		Core: func(stored []scheduler.Record) (loop.Core, error) {
			i.loaded = time.Since(begin)
			begin := time.Now()
			core, err := scheduler.New(configuration(), stored)
			i.core, i.made = &watched{Core: core}, time.Since(begin)
			return i.core, err
		},
		Store: opened, Master: connection, Observer: i.commits, Log: log, Term: term,
	})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	ctx, i.cancel = context.WithCancel(ctx)
	go func() { i.ended <- i.Run(ctx) }()
	return i, nil
}

// stop ends the scheduler in order; what runs on Mesos goes on.
func (i *instance) stop() error {
	i.cancel()
	return errors.Join(<-i.ended, i.release())
}

// failed is the error with which the scheduler ended by itself; nil while it works.
func (i *instance) failed() error {
	select {
	case err := <-i.ended:
		i.ended <- err
		return fmt.Errorf("the scheduler has ended: %w", err)
	default:
		return nil
	}
}

// prepare registers what runs need, and the jobs: one for each shape.
func (i *instance) prepare(ctx context.Context, tasksPerRun int) error {
	commands := []scheduler.CommandBody{
		scheduler.RegisterVersion{Artifact: version()},
		scheduler.SetChannel{Name: jobs.DefaultChannel, Version: version().Description.Version},
	}
	for n := range shapes {
		commands = append(commands, scheduler.PutJob{Spec: spec(n, tasksPerRun)})
	}
	for _, command := range commands {
		if _, err := i.Do(ctx, command); err != nil {
			return fmt.Errorf("prepare jobs: %w", err)
		}
	}
	return nil
}

// begin starts so many runs, of each job in turn.
func (i *instance) begin(ctx context.Context, runs int) error {
	for n := range runs {
		if _, err := i.Do(ctx, scheduler.StartRun{Job: jobName(n % shapes)}); err != nil {
			return fmt.Errorf("start a run of %s: %w", jobName(n%shapes), err)
		}
	}
	return nil
}

// succeeded says how many runs have; it is an error if one has ended otherwise.
func (i *instance) succeeded() (ids []string, err error) {
	for id, run := range i.View().Runs {
		switch run.Run.State {
		case proto.RUN_SUCCEEDED:
			if run.Settled {
				ids = append(ids, id)
			}
		case proto.RUN_FAILED, proto.RUN_CANCELLED:
			return nil, fmt.Errorf("run %s has ended as %v: %v", id, run.Run.State, run.Run.Error)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// forget removes runs as if they were in the archive.
func (i *instance) forget(ctx context.Context, ids []string) error {
	gone, err := i.Do(ctx, scheduler.ArchiveRuns{Runs: ids})
	if err != nil {
		return fmt.Errorf("forget %d runs: %w", len(ids), err)
	}
	if got := len(gone.([]string)); got != len(ids) {
		return fmt.Errorf("forget runs: %d of %d are gone", got, len(ids))
	}
	return nil
}

// inFile keeps the records in a file below dir.
func inFile(dir string) records {
	return func(ctx context.Context) (loop.Store, lease.Term, func() error, error) {
		opened, err := store.Open(filepath.Join(dir, "tidemill.db"))
		if err != nil {
			return nil, nil, nil, err
		}
		term, err := lease.NewAlone(lease.Instance{URL: "http://127.0.0.1"}).Acquire(ctx)
		if err != nil {
			return nil, nil, nil, errors.Join(err, opened.Close())
		}
		return opened, term, opened.Close, nil
	}
}

// zookeeperHeap is for 200,000 records and the last 500 requests of up to half a MiB, which ZooKeeper keeps; in MiB.
const zookeeperHeap = 3072

// sessionTimeout is the service's default.
const sessionTimeout = 10 * time.Second

// inZooKeeper keeps the records in a ZooKeeper of our own, large ones in a folder, both below dir. The caller stops the
// server.
func inZooKeeper(ctx context.Context, dir string, log *slog.Logger) (records, *zookeeper.Server, error) {
	objects, err := file.Open(file.Config{Root: dir})
	if err != nil {
		return nil, nil, err
	}
	server, err := zookeeper.Start(ctx, zookeeper.Config{Dir: filepath.Join(dir, "zookeeper"), TickTime: time.Second, HeapMiB: zookeeperHeap})
	if err != nil {
		return nil, nil, err
	}
	url, err := client.ParseURL("zk://" + server.Address() + "/tidemill")
	if err != nil {
		return nil, nil, errors.Join(err, server.Kill())
	}
	return func(ctx context.Context) (loop.Store, lease.Term, func() error, error) {
		session := client.Connect(url, client.Config{SessionTimeout: sessionTimeout, Log: log})
		held, err := lease.NewZooKeeper(session, lease.Instance{URL: "http://127.0.0.1"}, log)
		if err != nil {
			session.Close()
			return nil, nil, nil, err
		}
		release := func() error {
			err := held.Close()
			session.Close()
			return err
		}
		term, err := held.Acquire(ctx)
		if err != nil {
			return nil, nil, nil, errors.Join(err, release())
		}
		leader, err := store.NewZooKeeper(session, log).Lead(ctx, term.Claim())
		if err != nil {
			return nil, nil, nil, errors.Join(err, release())
		}
		return store.NewLarge(leader, objects, store.LargeLimit), term, release, nil
	}, server, nil
}
