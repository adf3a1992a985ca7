package mesos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/master"
)

// ClusterConfig says what StartCluster starts.
type ClusterConfig struct {
	// Agents is how many; 1 if zero.
	Agents int
	// Dir holds the agents' work directories, agent-0 and so on. If it is empty the
	// cluster uses a temporary directory and Close removes it.
	Dir string
	// Master configures the master.
	Master master.Config
	// Agent configures each agent; its Master and WorkDir are set by the cluster.
	Agent agent.Config
	// Customize, if not nil, changes the configuration of the i-th agent.
	Customize func(i int, cfg *agent.Config)
}

// Cluster is a running master with agents, all inside this process.
type Cluster struct {
	Master *master.Master
	Agents []*agent.Agent

	temporary string
	stops     []context.CancelFunc // agents first, the master last
	waits     []<-chan error
	closing   sync.Once
	closeErr  error
}

// StartCluster starts a master and agents. It returns when all ports are open; the
// agents register a moment later, and offers come when they have.
func StartCluster(cfg ClusterConfig) (*Cluster, error) {
	c := &Cluster{}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "mesos-")
		if err != nil {
			return nil, fmt.Errorf("start cluster: %w", err)
		}
		c.temporary, cfg.Dir = dir, dir
	}
	if err := c.start(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("start cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) start(cfg ClusterConfig) error {
	var err error
	if c.Master, err = master.New(cfg.Master); err != nil {
		return err
	}
	c.run(c.Master.Run)
	for i := range max(cfg.Agents, 1) {
		agentConfig := cfg.Agent
		agentConfig.Master = c.Master.URL()
		agentConfig.WorkDir = filepath.Join(cfg.Dir, fmt.Sprintf("agent-%d", i))
		if cfg.Customize != nil {
			cfg.Customize(i, &agentConfig)
		}
		a, err := agent.New(agentConfig)
		if err != nil {
			return err
		}
		c.Agents = append(c.Agents, a)
		c.run(a.Run)
	}
	return nil
}

func (c *Cluster) run(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	c.stops, c.waits = append(c.stops, stop), append(c.waits, done)
}

// URL is the master's.
func (c *Cluster) URL() string { return c.Master.URL() }

// Close shuts the agents down, with their executors and every process of those, and
// then the master; unless the agents were configured to keep their executors. It
// blocks for at most the executors' grace periods and a little more. Only the first
// call does anything; later ones give the same result.
func (c *Cluster) Close() error {
	c.closing.Do(func() {
		var errs []error
		for i := 1; i < len(c.stops); i++ {
			c.stops[i]()
		}
		for i := 1; i < len(c.waits); i++ {
			if err := <-c.waits[i]; !errors.Is(err, agent.ErrGone) {
				errs = append(errs, err)
			}
		}
		if len(c.stops) > 0 {
			c.stops[0]()
			errs = append(errs, <-c.waits[0])
		}
		if c.temporary != "" {
			errs = append(errs, os.RemoveAll(c.temporary))
		}
		c.closeErr = errors.Join(errs...)
	})
	return c.closeErr
}
