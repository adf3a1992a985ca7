package mesos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/election"
	"github.com/tidemill/tidemill/dev/mesos/master"
)

// ClusterConfig says what StartCluster starts.
type ClusterConfig struct {
	// Agents is how many; 1 if zero.
	Agents int
	// Masters is how many; 1 if zero. Of several one leads: the first one until Lead is
	// called, or whoever ZooKeeper elects.
	Masters int
	// ZooKeeper is where masters are elected and announce themselves, such as
	// zk://127.0.0.1:2181/mesos; agents find them there. Empty: the cluster's user
	// decides who leads.
	ZooKeeper string
	// Dir holds the agents' work directories, agent-0 and so on, and the masters'
	// registry. If it is empty the cluster uses a temporary directory and Close removes
	// it.
	Dir string
	// Master configures each master; its Election is set by the cluster, and its
	// Registry if there are several masters. Its Listen is for the first one.
	Master master.Config
	// Agent configures each agent; its Master, Election and WorkDir are set by the
	// cluster.
	Agent agent.Config
	// Customize, if not nil, changes the configuration of the i-th agent.
	Customize func(i int, cfg *agent.Config)
}

// Cluster is running masters and agents, all inside this process. Its methods are for
// one goroutine.
type Cluster struct {
	Master  *master.Master   // the first one
	Masters []*master.Master // one that was stopped stays in its place
	Agents  []*agent.Agent   // the same holds for these

	cfg       ClusterConfig
	temporary string
	group     *election.Group // nil for one master, and with ZooKeeper
	masters   []*run
	agents    []*run
	closing   sync.Once
	closeErr  error
}

// run is one master or agent, from New to the end of its Run.
type run struct {
	stop context.CancelFunc
	done chan struct{}
	err  error // once done is closed
}

func begin(work func(context.Context) error) *run {
	ctx, stop := context.WithCancel(context.Background())
	r := &run{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = work(ctx)
	}()
	return r
}

// end stops it and waits. An agent that was sent away has done as it was told.
func (r *run) end() error {
	r.stop()
	<-r.done
	if errors.Is(r.err, agent.ErrGone) {
		return nil
	}
	return r.err
}

// StartCluster starts masters and agents. It returns when all ports are open; a master
// is elected and the agents register a moment later, and offers come when they have.
func StartCluster(cfg ClusterConfig) (*Cluster, error) {
	c := &Cluster{cfg: cfg}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "mesos-")
		if err != nil {
			return nil, fmt.Errorf("start cluster: %w", err)
		}
		c.temporary, c.cfg.Dir = dir, dir
	}
	if err := c.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) start() error {
	n := max(c.cfg.Masters, 1)
	if n > 1 && c.cfg.Master.Registry == "" {
		c.cfg.Master.Registry = filepath.Join(c.cfg.Dir, "registry")
	}
	if n > 1 && c.cfg.ZooKeeper == "" {
		c.group = election.NewGroup()
	}
	for i := range n {
		cfg := c.cfg.Master
		if i > 0 {
			cfg.Listen = ""
		}
		m, err := c.newMaster(cfg)
		if err != nil {
			return err
		}
		c.Masters = append(c.Masters, m)
		c.masters = append(c.masters, begin(m.Run))
	}
	c.Master = c.Masters[0]
	c.Lead(0)
	for i := range max(c.cfg.Agents, 1) {
		a, err := c.newAgent(i)
		if err != nil {
			return err
		}
		c.Agents = append(c.Agents, a)
		c.agents = append(c.agents, begin(a.Run))
	}
	return nil
}

func (c *Cluster) newMaster(cfg master.Config) (*master.Master, error) {
	switch {
	case c.cfg.ZooKeeper != "":
		z, err := c.zookeeper()
		if err != nil {
			return nil, err
		}
		cfg.Election = z
	case c.group != nil:
		cfg.Election = c.group
	}
	return master.New(cfg)
}

func (c *Cluster) zookeeper() (*election.ZooKeeper, error) {
	z, err := election.ParseZooKeeper(c.cfg.ZooKeeper)
	if err != nil {
		return nil, err
	}
	z.Logger = c.cfg.Master.Logger
	return z, nil
}

func (c *Cluster) newAgent(i int) (*agent.Agent, error) {
	cfg := c.cfg.Agent
	cfg.WorkDir = filepath.Join(c.cfg.Dir, fmt.Sprintf("agent-%d", i))
	cfg.Master = c.URLs()
	switch {
	case c.cfg.ZooKeeper != "":
		z, err := c.zookeeper()
		if err != nil {
			return nil, err
		}
		cfg.Election = z
	case c.group != nil:
		cfg.Election = c.group
	}
	if c.cfg.Customize != nil {
		c.cfg.Customize(i, &cfg)
	}
	return agent.New(cfg)
}

// URL is the first master's.
func (c *Cluster) URL() string { return c.Master.URL() }

// URLs are those of all masters, with commas between them.
func (c *Cluster) URLs() string {
	var urls []string
	for _, m := range c.Masters {
		urls = append(urls, m.URL())
	}
	return strings.Join(urls, ",")
}

// Close shuts the agents down, with their executors and every process of those, and
// then the masters; unless the agents were configured to keep their executors. It
// blocks for at most the executors' grace periods and a little more. Only the first
// call does anything; later ones give the same result.
func (c *Cluster) Close() error {
	c.closing.Do(func() {
		var errs []error
		for _, a := range c.Agents {
			a.Heal()
		}
		for _, list := range [][]*run{c.agents, c.masters} {
			for _, r := range list {
				r.stop()
			}
			for _, r := range list {
				errs = append(errs, r.end())
			}
		}
		if c.temporary != "" {
			errs = append(errs, os.RemoveAll(c.temporary))
		}
		c.closeErr = errors.Join(errs...)
	})
	return c.closeErr
}
