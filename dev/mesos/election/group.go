package election

import (
	"context"
	"fmt"
	"sync"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
)

// Group is an election whose outcome its user decides, with Lead. It is made by
// NewGroup.
type Group struct {
	mu         sync.Mutex
	address    string // of the one that is to lead; empty for nobody
	candidates map[string]*v1.MasterInfo
	leader     *v1.MasterInfo
	changed    chan struct{} // closed at each change
}

// NewGroup makes an election that nobody has won.
func NewGroup() *Group {
	return &Group{candidates: map[string]*v1.MasterInfo{}, changed: make(chan struct{})}
}

// Lead makes the master at this address, such as 127.0.0.1:5050, the leader, now or as
// soon as it is a candidate; an empty one leaves nobody. A leader that withdraws is
// still taken for it until Lead is called again, as a dead one is until its session
// expires.
func (g *Group) Lead(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.address = address
	g.settle()
}

func (g *Group) settle() {
	candidate := g.candidates[g.address]
	switch {
	case g.address == "":
		g.leader = nil
	case candidate != nil:
		g.leader = candidate
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// AddressOf is how a Group names a master.
func AddressOf(info *v1.MasterInfo) string {
	return fmt.Sprintf("%s:%d", info.GetAddress().GetIP(), info.GetAddress().GetPort())
}

// Watch implements Watcher.
func (g *Group) Watch(ctx context.Context, changed func(leader *v1.MasterInfo)) {
	var told *v1.MasterInfo
	for {
		g.mu.Lock()
		leader, next := g.leader, g.changed
		g.mu.Unlock()
		if leader != told {
			told = leader
			changed(leader)
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
	}
}

// Contend implements Election.
func (g *Group) Contend(ctx context.Context, candidate func() *v1.MasterInfo, changed func(leader *v1.MasterInfo)) {
	info := candidate()
	address := AddressOf(info)
	enrol := func(info *v1.MasterInfo) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.candidates[address] = info
		g.settle()
	}
	enrol(info)
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.candidates, address)
	}()
	led := false
	g.Watch(ctx, func(leader *v1.MasterInfo) {
		changed(leader)
		leads := leader == info
		if led && !leads { // a candidacy is lost with the office
			info = candidate()
			enrol(info)
		}
		led = leads
	})
}
