//go:build endtoend

package endtoend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// fault is something that goes wrong in a group.
type fault struct {
	name string
	// strike makes it happen and returns what ends it. Launches are to begin again within the time from when it returns:
	// a fault without which nobody can launch is over then.
	strike func(g *group, r *rand.Rand, leader *member) (mend func())
	within time.Duration
	moves  bool // another scheduler must lead
}

// Another scheduler launches within the session timeout and a second. What depends on the master's own election, or on
// agents coming back, takes the time of those.
const (
	takeover      = sessionTimeout + time.Second
	masterElected = 15 * time.Second
)

var faults = []fault{
	{"leader killed", strikeKill, takeover, true},
	{"leader stopped for longer than its session", strikePause, takeover, true},
	{"leader cut off from ZooKeeper", strikeCutStore, takeover, true},
	{"leader cut off from Mesos", strikeCutMesos, takeover, false},
	{"leader cut off from both", strikeCutBoth, takeover, true},
	{"ZooKeeper killed", strikeEnsemble, masterElected, false}, // the masters are elected there, too
	{"standby killed", strikeStandby, takeover, false},
	{"agent killed", strikeAgent, masterElected, false},
	{"agent stopped until it is unreachable", strikePartition, masterElected, false},
	{"Mesos master killed", strikeMaster, masterElected, false},
}

func strikeKill(_ *group, _ *rand.Rand, leader *member) func() {
	leader.offline.Store(true)
	leader.kill()
	return func() {
		leader.launch(false)
		leader.offline.Store(false)
	}
}

func strikePause(_ *group, _ *rand.Rand, leader *member) func() {
	leader.offline.Store(true)
	leader.pause()
	return func() {
		leader.resume()
		leader.offline.Store(false)
	}
}

func strikeCutStore(g *group, _ *rand.Rand, leader *member) func() {
	leader.offline.Store(true)
	cut(leader.zk)
	return func() {
		g.showsOld(leader)
		mend(leader.zk)
		leader.offline.Store(false)
	}
}

// showsOld reads from a scheduler that cannot read the store: it shows what it knew.
func (g *group) showsOld(m *member) {
	g.t.Helper()
	var runs wire.List[wire.Run]
	c := g.via(m)
	c.patience = 10 * time.Second
	if status, err := c.call(http.MethodGet, "/v1/runs", nil, &runs); err != nil || status != http.StatusOK || len(runs.Items) == 0 {
		g.t.Errorf("scheduler %d without a store: %d, %v, %d runs", m.number, status, err, len(runs.Items))
	}
}

func strikeCutMesos(_ *group, r *rand.Rand, leader *member) func() {
	leader.mesos.cut()
	moment(r, time.Second)
	leader.mesos.mend()
	return func() {}
}

func strikeCutBoth(g *group, r *rand.Rand, leader *member) func() {
	leader.mesos.cut()
	healed := strikeCutStore(g, r, leader)
	return func() {
		healed()
		leader.mesos.mend()
	}
}

func strikeEnsemble(g *group, r *rand.Rand, _ *member) func() {
	if err := g.ensemble.Kill(); err != nil {
		g.t.Fatal(err)
	}
	moment(r, 2*sessionTimeout)
	if err := g.ensemble.Restart(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	return func() {}
}

func strikeStandby(g *group, r *rand.Rand, leader *member) func() {
	others := g.standbys(leader)
	return strikeKill(g, r, others[r.IntN(len(others))])
}

func strikeAgent(g *group, r *rand.Rand, _ *member) func() {
	a := g.agents[r.IntN(len(g.agents))]
	a.kill()
	a.launch(true)
	return func() {}
}

func strikePartition(g *group, r *rand.Rand, _ *member) func() {
	a := g.agents[r.IntN(len(g.agents))]
	a.pause()
	g.t.Cleanup(a.resume)
	moment(r, 5*time.Second)
	a.resume()
	return func() {}
}

func strikeMaster(g *group, _ *rand.Rand, _ *member) func() {
	n := -1
	g.eventually(masterElected, "a Mesos master leads", func() (bool, error) {
		n = g.leadingMaster()
		return n >= 0, nil
	})
	g.masters[n].kill()
	return func() { g.masters[n].launch(true) }
}

// moment lets a random time pass. How long a fault lasts is what is random here; nothing is waited for.
func moment(r *rand.Rand, most time.Duration) {
	<-time.NewTimer(time.Duration(r.Int64N(int64(most)))).C
}

// TestAvailability lets everything that three schedulers depend on go wrong, round after round, while runs are started
// all the time.
func TestAvailability(t *testing.T) {
	g := newGroup(t, 3, 2, 2)
	l := startLoad(g, 3)
	framework, err := g.info(g.awaitLeader(takeover))
	if err != nil {
		t.Fatal(err)
	}

	rounds := 1
	if *soak {
		rounds = 20
	}
	took := map[string][]time.Duration{}
	r := rand.New(rand.NewPCG(*seed, 4))
	for round := range rounds {
		for _, n := range r.Perm(len(faults)) {
			f := faults[n]
			t.Run(fmt.Sprintf("%d %s", round, f.name), func(t *testing.T) {
				gap := g.in(t).round(l, r, f)
				took[f.name] = append(took[f.name], gap)
			})
			if l.failed(t) {
				t.FailNow()
			}
		}
	}
	for _, f := range faults {
		slices.Sort(took[f.name])
		t.Logf("from %q to the first launch: %v (at most %s)", f.name, took[f.name], f.within)
	}
	t.Run("upgrade one by one", func(t *testing.T) { g.in(t).upgrade(l) })
	leader := g.awaitLeader(takeover)
	l.end(g.via(leader))
	if info, err := g.info(leader); err != nil || info.FrameworkID != framework.FrameworkID {
		t.Errorf("framework: got %q, %v, want %q", info.FrameworkID, err, framework.FrameworkID)
	}
	g.nothingRuns()
	g.ledger.check(t)
}

// round lets one thing go wrong and come back. It returns how long nothing was launched.
func (g *group) round(l *load, r *rand.Rand, f fault) (gap time.Duration) {
	g.t.Helper()
	leader := g.awaitLeader(30 * time.Second)
	_, epoch := g.leader()
	g.awaitLaunch(time.Now(), -1, 30*time.Second) // there is work
	known := l.runs()

	mend := f.strike(g, r, leader)
	from := time.Now()
	reading := g.readAll(g.standbys(leader), known[0].id) // the newest may not be known everywhere yet
	not := -1
	if f.moves {
		not = leader.number
	}
	// A standby takes the run as soon as there is a leader, so that there is something to launch.
	key := fmt.Sprintf("after-%d", len(known))
	probe := g.via(g.standbys(leader)[0]).startRun(l.probe, key)
	taken := time.Since(from).Round(time.Millisecond)
	l.accept(accepted{l.probe, key, probe.ID})
	first := g.awaitLaunch(from, not, f.within+20*time.Second)
	reading()
	gap = first.at.Sub(from).Round(time.Millisecond)
	g.t.Logf("scheduler %d, then %d launched after %s; a standby's request was answered after %s", leader.number, first.member, gap, taken)
	if gap > f.within {
		g.t.Errorf("nothing was launched for %s after %s, want at most %s", gap, f.name, f.within)
	}
	if others := g.standbys(g.members[first.member]); len(others) > 0 {
		one := known[r.IntN(len(known))]
		c := g.via(others[r.IntN(len(others))])
		if again := c.startRun(one.job, one.key); again.ID != one.id {
			g.t.Errorf("key %s of %s stood for run %s, now for %s", one.key, one.job, one.id, again.ID)
		}
	}
	mend()
	g.awaitLeader(30 * time.Second)
	now, later := g.leader()
	if now == nil || later < epoch || (now == leader) != (later == epoch) && f.moves {
		g.t.Errorf("scheduler %d led in epoch %d, then %v in %d", leader.number, epoch, now, later)
	}
	return gap
}

func (g *group) awaitLaunch(from time.Time, not int, limit time.Duration) (first call) {
	g.t.Helper()
	g.eventually(limit, "something is launched", func() (found bool, _ error) {
		first, found = g.ledger.launch(from, not)
		return found, nil
	})
	return first
}

// readAll reads a run from each of the schedulers again and again until it is ended; each must answer at least once, and
// never with an error.
func (g *group) readAll(members []*member, id string) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for once := true; once || ctx.Err() == nil; once = false {
			for _, m := range members {
				if m.offline.Load() {
					continue
				}
				if status, err := g.via(m).call(http.MethodGet, "/v1/runs/"+id, nil, &struct{}{}); err != nil || status != http.StatusOK {
					g.t.Errorf("scheduler %d could not read: %d, %v", m.number, status, err)
				}
			}
			_ = pause(ctx)
		}
	}()
	end = func() {
		cancel()
		<-done
	}
	g.t.Cleanup(end)
	return end
}

// upgrade stops and starts the schedulers one by one, the leader first. It gives up leadership at once.
func (g *group) upgrade(l *load) {
	const gapMost = 2 * time.Second
	first := g.awaitLeader(30 * time.Second)
	for n := range g.members {
		m := g.members[(first.number+n)%len(g.members)]
		leads := m == g.awaitLeader(30*time.Second)
		g.awaitLaunch(time.Now(), -1, 30*time.Second)
		m.offline.Store(true)
		from := time.Now()
		m.stop()
		if leads {
			next := g.awaitLaunch(from, m.number, takeover+20*time.Second)
			gap := next.at.Sub(from).Round(time.Millisecond)
			g.t.Logf("scheduler %d stopped, %d launched after %s", m.number, next.member, gap)
			if gap > gapMost {
				g.t.Errorf("nothing was launched for %s after the leader was stopped, want at most %s", gap, gapMost)
			}
		}
		m.launch(false)
		m.offline.Store(false)
	}
	g.awaitLeader(30 * time.Second)
	l.failed(g.t)
}

// nothingRuns waits until no executor is left, and no task at the master.
func (g *group) nothingRuns() {
	g.t.Helper()
	g.eventually(30*time.Second, "nothing runs any more", func() (bool, error) {
		left, err := below(g.dir, func(args []string) bool { return isExecutor(args) || isTask(args) })
		if err != nil || len(left) > 0 {
			return false, fmt.Errorf("%v, %v", left, err)
		}
		n := g.leadingMaster()
		if n < 0 {
			return false, nil
		}
		var state struct {
			Frameworks []struct {
				ID    string
				Tasks []struct{ ID, State string }
			}
		}
		c := *g.cluster
		c.api = g.urls[n]
		if _, err := c.call(http.MethodGet, "/state", nil, &state); err != nil {
			return false, err
		}
		return len(state.Frameworks) == 1 && len(state.Frameworks[0].Tasks) == 0, fmt.Errorf("the master knows %+v", state.Frameworks)
	})
}
