package agent

import (
	"context"
	"sync"
)

// gate is open or shut; what passes waits while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil while it is open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// pass waits until the gate is open or ctx ends.
func (g *gate) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return ctx.Err()
		}
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Partition cuts the agent off from its master, without either of them noticing: what
// they say to each other waits. Executors and the agent's own API are not touched.
// The master hears nothing and makes the agent unreachable after its AgentTimeout.
func (a *Agent) Partition() { a.network.close() }

// Heal ends a partition: what waited gets through if the connection lives, and the
// agent registers again if the master has given it up.
func (a *Agent) Heal() { a.network.open() }
