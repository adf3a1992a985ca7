//go:build endtoend

package endtoend

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
)

const (
	sessionTimeout = 2 * time.Second
	storePassword  = "store-hush"
	mesosSecret    = "mesos-hush"
)

// group is several schedulers that share what they know through ZooKeeper, and a Mesos cluster with several masters. All
// are processes of their own; only the S3 is in this one.
type group struct {
	*cluster
	ensemble *zookeeper.Server
	masters  []*process
	urls     []string // of the masters
	members  []*member
	ledger   *ledger
}

// member is one of the schedulers.
type member struct {
	*process
	number  int
	url     string
	mesos   *gateway
	zk      *zookeepertest.Proxy
	offline atomic.Bool // it cannot answer now: the test has stopped it
}

// newGroup starts everything, and waits until one scheduler leads and has registered the stable executor.
func newGroup(t *testing.T, members, masters, agents int) *group {
	t.Helper()
	g := &group{cluster: &cluster{t: t, dir: t.TempDir(), masterLog: &tail{}}, ledger: &ledger{}}
	g.ensemble = zookeepertest.Start(t, zookeeper.Config{Volatile: true})
	g.startS3()
	if err := g.s3.CreateBucket(t.Context(), "tidemill"); err != nil {
		t.Fatal(err)
	}
	g.startMasters(masters)
	g.startAgents(g.election(), agents)
	artifacts := g.startArtifacts()
	for n := range members {
		g.members = append(g.members, g.newMember(n, artifacts))
	}
	for _, m := range g.members {
		m.launch(false)
	}
	leader := g.awaitLeader(30 * time.Second)
	c := g.via(leader)
	c.register(versions[0])
	c.must(http.MethodPut, "/v1/channels/stable", fmt.Appendf(nil, `{"version": %q}`, versions[0]), nil, "Content-Type", "application/json")
	return g
}

func (g *group) election() string { return fmt.Sprintf("zk://%s/mesos", g.ensemble.Address()) }

// startMasters starts masters that ask schedulers for credentials.
func (g *group) startMasters(n int) {
	g.t.Helper()
	credentials := filepath.Join(g.dir, "credentials")
	if err := os.WriteFile(credentials, []byte("tidemill "+mesosSecret+"\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
	for range n {
		p, url := start(g.t, "tidemill-dev", nil, true, "mesos-master", "--listen", freeAddress(g.t),
			"--zk", g.election(), "--zk-session-timeout", sessionTimeout.String(), "--registry", filepath.Join(g.dir, "registry"),
			"--allocation-interval", "200ms", "--agent-timeout", "3s", "--agent-reregister-timeout", "20s", "--credentials", credentials)
		g.masters = append(g.masters, p)
		g.urls = append(g.urls, url)
	}
}

// startArtifacts is the address under which agents find executor files whoever leads, as a load balancer gives it.
func (g *group) startArtifacts() string {
	client := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 2 * time.Second, DisableKeepAlives: true}}
	g.t.Cleanup(client.CloseIdleConnections)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range g.members {
			request, err := http.NewRequestWithContext(r.Context(), r.Method, m.url+r.URL.Path, nil)
			if err != nil {
				continue
			}
			request.Header = r.Header.Clone()
			response, err := client.Do(request)
			if err != nil {
				continue
			}
			for name, values := range response.Header {
				w.Header()[name] = values
			}
			w.WriteHeader(response.StatusCode)
			io.Copy(w, response.Body) //nolint:errcheck // who fetches it compares the sum
			response.Body.Close()     //nolint:errcheck // it was read
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	g.t.Cleanup(server.Close)
	return server.URL + "/artifacts"
}

// newMember prepares a scheduler; launch starts it.
func (g *group) newMember(number int, artifacts string) *member {
	g.t.Helper()
	listen := freeAddress(g.t)
	m := &member{
		number: number, url: "http://" + listen,
		mesos: newGateway(g.t, number, g.urls, g.ledger),
		zk:    zookeepertest.NewProxy(g.t, g.ensemble.Address()),
	}
	m.process = &process{t: g.t, name: "tidemill", log: &tail{},
		args: append([]string{"serve", "--listen", listen, "--artifact-url", artifacts, "--data-dir", filepath.Join(g.dir, fmt.Sprintf("scheduler-%d", number)),
			"--executor-connections-file", g.connectionsFile(),
			"--executor-linger", "1s", "--executor-kill-grace", "1s", "--scheduling-unreachable-wait", "1s", "--scheduling-keep-runs", "10"},
			g.shared(m.mesos.urls)...),
		env: environment(m.zk.Address(), storePassword, "/tidemill", mesosSecret),
	}
	g.t.Cleanup(func() {
		if m.cmd == nil {
			return // it was never started
		}
		m.resume()
		mend(m.zk)
		m.mesos.mend()
		m.stop()
		if g.t.Failed() {
			g.t.Logf("log of scheduler %d (%s):\n%s", number, m.url, m.log)
		}
	})
	return m
}

// shared are the settings that the schedulers and the operator's commands have in common.
func (g *group) shared(masters string) []string {
	return []string{"--mesos-master", masters, "--mesos-principal", "tidemill",
		"--objects", "s3://tidemill/scheduler", "--connections-file", g.connectionsFile(),
		"--store-session-timeout", sessionTimeout.String()}
}

// environment holds what must not be on a command line.
func environment(ensemble, password, path, secret string) []string {
	return []string{fmt.Sprintf("TIDEMILL_STORE=zk://tidemill:%s@%s%s", password, ensemble, path), "TIDEMILL_MESOS_SECRET=" + secret}
}

// via is the cluster as a client of that scheduler sees it.
func (g *group) via(m *member) *cluster {
	c := *g.cluster
	c.api, c.patience = m.url, 3*time.Second
	return &c
}

// in is the same group for a subtest.
func (g *group) in(t *testing.T) *group {
	sub := *g
	sub.cluster = g.cluster.in(t)
	return &sub
}

// info is what a scheduler says about itself; an error if it cannot be asked.
func (g *group) info(m *member) (info wire.Info, err error) {
	if m.offline.Load() {
		return info, fmt.Errorf("scheduler %d is offline", m.number)
	}
	status, err := g.via(m).call(http.MethodGet, "/v1/info", nil, &info)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("scheduler %d answers %d", m.number, status)
	}
	return info, err
}

// leader is who says that it leads, and its epoch; nil if nobody does.
func (g *group) leader() (*member, uint64) {
	for _, m := range g.members {
		if info, err := g.info(m); err == nil && info.Role == "leader" {
			return m, info.Epoch
		}
	}
	return nil, 0
}

// awaitLeader waits until a scheduler leads that has a master, and the others that can be asked know it.
func (g *group) awaitLeader(limit time.Duration) (leader *member) {
	g.t.Helper()
	g.eventually(limit, "one scheduler leads and all know it", func() (bool, error) {
		urls := map[string]bool{}
		online := 0
		for _, m := range g.members {
			if m.offline.Load() {
				continue
			}
			online++
			info, err := g.info(m)
			if err != nil {
				return false, err
			}
			if urls[info.Leader] = true; info.Role == "leader" {
				if leader = m; !info.Mesos.Connected {
					return false, errors.New("the leader is not connected to Mesos")
				}
			}
			if len(info.Instances) < online {
				return false, fmt.Errorf("scheduler %d knows %d instances", m.number, len(info.Instances))
			}
		}
		if len(urls) != 1 || leader == nil || !urls[leader.url] {
			return false, fmt.Errorf("they name %v", urls)
		}
		return true, nil
	})
	return leader
}

// standbys are the schedulers that can answer, but that one.
func (g *group) standbys(leader *member) (others []*member) {
	for _, m := range g.members {
		if m != leader && !m.offline.Load() {
			others = append(others, m)
		}
	}
	return others
}

// leadingMaster is the number of the Mesos master that leads, or -1.
func (g *group) leadingMaster() int {
	for i, url := range g.urls {
		var metrics map[string]float64
		c := *g.cluster
		c.api, c.patience = url, time.Second
		if status, err := c.call(http.MethodGet, "/metrics/snapshot", nil, &metrics); err == nil && status == http.StatusOK && metrics["master/elected"] == 1 {
			return i
		}
	}
	return -1
}

// pause stops the process as if the machine hung; resume lets it go on.
func (p *process) pause()  { syscall.Kill(p.cmd.Process.Pid, syscall.SIGSTOP) } //nolint:errcheck // it may have ended
func (p *process) resume() { syscall.Kill(p.cmd.Process.Pid, syscall.SIGCONT) } //nolint:errcheck // it may have ended
