package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/cmd/internal/service"
	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/master"
	"github.com/tidemill/tidemill/dev/s3"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// Config says what is started.
type Config struct {
	DataDir            string // objects, records and executor versions; kept for the next start
	Listen             string // of the API; 127.0.0.1:0: a free port
	MesosListen        string // of the Mesos master; empty: a free port
	S3Listen           string // of the S3; empty: a free port
	Token              string // bearer token of the API; empty: none is needed
	Agents             int
	AgentResources     string // of each agent, in Mesos' notation
	AllocationInterval time.Duration
	ExecutorLinger     time.Duration // how long an executor stays after its last task; 0: as long as elsewhere
	Logger             *slog.Logger
}

// AgentResources are what an agent offers unless told otherwise: enough for the examples.
const AgentResources = "cpus:4;mem:4096;disk:10240"

// startTimeout is for the scheduler to be subscribed.
const startTimeout = 30 * time.Second

// Platform is what runs. Its parts have loopback URLs.
type Platform struct {
	API   string // http://host:port
	Mesos string // the master's API and page
	S3    *s3.Server

	objects *connections.Set
	stops   []func() error // in the order of starting
	cancel  context.CancelFunc
	failed  chan error
}

// Start returns when everything answers: the API is ready and the scheduler is subscribed. On an error nothing of it
// runs any more. Ending ctx stops the parts; Stop must be called all the same.
func Start(ctx context.Context, c Config) (*Platform, error) {
	dataDir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("find data directory: %w", err)
	}
	c.DataDir = dataDir
	ctx, cancel := context.WithCancel(ctx)
	p := &Platform{cancel: cancel, failed: make(chan error, c.Agents+4)}
	for _, start := range []func(context.Context, Config) error{p.startS3, p.startMesos, p.startScheduler} {
		if err := start(ctx, c); err != nil {
			return nil, errors.Join(err, p.Stop())
		}
	}
	return p, nil
}

// Failed yields the error of a part that ended by itself.
func (p *Platform) Failed() <-chan error { return p.failed }

// Stop ends everything, last started first, and waits for it. No process is left. It may be called again.
func (p *Platform) Stop() error {
	var errs []error
	for i := len(p.stops) - 1; i >= 0; i-- {
		errs = append(errs, p.stops[i]())
	}
	p.stops = nil
	p.cancel()
	return errors.Join(errs...)
}

// Objects opens the bucket that uri names.
func (p *Platform) Objects(ctx context.Context, uri string) (storage.Store, error) {
	u, err := storage.ParseURI(uri)
	if err != nil {
		return nil, err
	}
	return p.objects.Open(ctx, "s3", u)
}

// run starts a part of which Stop ends the context and waits for the end.
func (p *Platform) run(ctx context.Context, name string, part func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		err := part(ctx)
		if ctx.Err() == nil {
			p.failed <- fmt.Errorf("%s ended: %w", name, err)
		}
		done <- err
	}()
	p.stops = append(p.stops, func() error {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		return nil
	})
}

func (p *Platform) startS3(ctx context.Context, c Config) error {
	keys, err := loadKeys(filepath.Join(c.DataDir, "s3-keys.json"))
	if err != nil {
		return err
	}
	p.S3, err = s3.Start(ctx, s3.Config{DataDir: filepath.Join(c.DataDir, "s3"), Address: c.S3Listen, AccessKey: keys.AccessKey, SecretKey: keys.SecretKey})
	if err != nil {
		return err
	}
	p.stops = append(p.stops, p.S3.Stop)
	if err := saveKeys(filepath.Join(c.DataDir, "s3-keys.json"), keyPair{p.S3.AccessKey(), p.S3.SecretKey()}); err != nil {
		return err
	}
	if err := p.writeConnections(c); err != nil {
		return err
	}
	p.objects, err = connections.Load(connectionsFile(c))
	if err != nil {
		return err
	}
	p.stops = append(p.stops, func() error { p.objects.Close(); return nil })
	return nil
}

func connectionsFile(c Config) string { return filepath.Join(c.DataDir, "connections.json") }

// writeConnections writes the file that executors find their keys in, readable by this user only.
func (p *Platform) writeConnections(c Config) error {
	data, err := json.Marshal(map[string]any{"connections": map[string]any{"s3": map[string]any{
		"type": "s3", "endpoint": p.S3.URL(), "region": p.S3.Region(), "path_style": true,
		"access_key": p.S3.AccessKey(), "secret_key": p.S3.SecretKey(),
	}}})
	if err != nil {
		return fmt.Errorf("write connections file: %w", err)
	}
	return writePrivate(connectionsFile(c), data)
}

func (p *Platform) startMesos(ctx context.Context, c Config) error {
	m, err := master.New(master.Config{Listen: c.MesosListen, AllocationInterval: c.AllocationInterval, Logger: c.Logger})
	if err != nil {
		return err
	}
	p.Mesos = m.URL()
	p.run(ctx, "mesos master", m.Run)
	agents := make([]*agent.Agent, c.Agents)
	for i := range agents {
		agents[i], err = agent.New(agent.Config{
			Master:     m.URL(),
			WorkDir:    filepath.Join(c.DataDir, "agents", fmt.Sprint(i)),
			Hostname:   "127.0.0.1",
			Resources:  c.AgentResources,
			Attributes: fmt.Sprintf("zone:%c", 'a'+i%26),
			Logger:     c.Logger,
		})
		if err != nil {
			return err
		}
	}
	// The agents end their executors at the same time, not one after the other.
	p.run(ctx, "mesos agents", func(ctx context.Context) error {
		errs := make([]error, len(agents))
		var all sync.WaitGroup
		for i, a := range agents {
			all.Go(func() { errs[i] = a.Run(ctx) })
		}
		all.Wait()
		return errors.Join(errs...)
	})
	return nil
}

// startScheduler returns when the API answers and Mesos has accepted the framework.
func (p *Platform) startScheduler(ctx context.Context, c Config) error {
	ready := make(chan string, 1)
	cfg := service.Defaults()
	cfg.Listen = c.Listen
	cfg.DataDir = filepath.Join(c.DataDir, "scheduler")
	cfg.ConnectionsFile = connectionsFile(c)
	cfg.Executor.ConnectionsFile = connectionsFile(c)
	if c.ExecutorLinger > 0 {
		cfg.Executor.Linger = c.ExecutorLinger
	}
	cfg.Mesos.Master = p.Mesos
	cfg.Token = storage.NewSecret(c.Token)
	cfg.Logger = c.Logger
	cfg.Ready = func(url string) { ready <- url }
	cfg.Info = wire.Info{S3: &wire.S3{
		Endpoint: p.S3.URL(), Region: p.S3.Region(), AccessKey: p.S3.AccessKey(), SecretKey: p.S3.SecretKey(),
	}}
	p.run(ctx, "scheduler", func(ctx context.Context) error { return service.Run(ctx, cfg) })
	select {
	case p.API = <-ready:
	case err := <-p.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.awaitMesos(ctx, c.Token)
}

// awaitMesos waits until the framework is subscribed.
func (p *Platform) awaitMesos(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	api, err := client.New(client.Config{Server: p.API, Token: token})
	if err != nil {
		return err
	}
	defer api.Close()
	for {
		info, err := api.Info(ctx)
		if err == nil && info.Mesos.Connected {
			return nil
		}
		select {
		case err := <-p.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("wait for the framework to be subscribed: %w", errors.Join(ctx.Err(), err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

type keyPair struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// loadKeys reads the S3's keys of an earlier start; none are empty, and the server makes new ones.
func loadKeys(file string) (keyPair, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return keyPair{}, nil
	}
	var keys keyPair
	if err == nil {
		err = json.Unmarshal(data, &keys)
	}
	if err != nil {
		return keyPair{}, fmt.Errorf("read keys of the embedded S3: %w", err)
	}
	return keys, nil
}

func saveKeys(file string, keys keyPair) error {
	data, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("write keys of the embedded S3: %w", err)
	}
	return writePrivate(file, data)
}

func writePrivate(file string, data []byte) error {
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(file), err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(file), err)
	}
	return nil
}
