package service

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/storage"
)

// TestSharedThroughZooKeeper: the whole service with a real ZooKeeper. The leader loses sight of it, and another one
// leads; then nobody sees it, and all goes on when it is back. A run that began before succeeds in the end, and the
// password is nowhere to be seen.
func TestSharedThroughZooKeeper(t *testing.T) {
	server := zookeepertest.Start(t, zookeeper.Config{Volatile: true})
	g := &group{lab: newLab(t, nil), open: openRecords}
	g.shareObjects()
	const password = "pa55word-of-the-test"
	path := zookeepertest.URL(t, server.Address(), "user:"+password)
	g.cfg.StoreSessionTimeout = time.Second
	proxies := map[*member]*zookeepertest.Proxy{}
	for range 3 {
		proxy := zookeepertest.NewProxy(t, server.Address())
		g.cfg.Store = storage.NewSecret(strings.Replace(path, server.Address(), proxy.Address(), 1))
		proxies[g.join()] = proxy
	}
	leader, standbys := g.split()
	c := g.client(standbys[0].url)
	g.register(c)
	gate := filepath.Join(g.dir, "gate")
	run := g.submit(c, gate)
	g.until(c, run.ID, "map tasks to run", mapsRun)
	before := g.info(leader)

	cut := time.Now()
	proxies[leader].Hold(zookeepertest.Requests, zookeepertest.Answers)
	g.await(func() bool { return g.info(standbys[0]).Role == "leader" || g.info(standbys[1]).Role == "leader" }, "another one to lead")
	t.Logf("another one led %v after the leader was cut off", time.Since(cut).Round(time.Millisecond))
	if info := g.info(leader); info.Role != "standby" {
		t.Errorf("the one that was cut off: got %+v", info)
	}
	if status, _ := get(t, leader.url+"/v1/runs/"+run.ID); status != http.StatusOK {
		t.Errorf("a read of the one that was cut off: got %d", status)
	}
	proxies[leader].Release()
	next, _ := g.split()
	after := g.info(next)
	if after.FrameworkID != before.FrameworkID || after.Epoch <= before.Epoch {
		t.Errorf("after the change: got %+v, before %+v", after, before)
	}

	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	for _, m := range g.members {
		g.await(func() bool { return g.info(m).Role == "standby" }, "all to stand by")
	}
	for _, m := range g.members {
		status, retry, err := send(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, http.MethodDelete, m.url+"/v1/jobs/none", "")
		if err != nil || status != http.StatusServiceUnavailable || retry == "" {
			t.Errorf("a write to %s: got %d, Retry-After %q, %v", m.url, status, retry, err)
		}
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	g.split()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g.until(c, run.ID, "the run's end", func(r wire.Run) bool { return r.State == "succeeded" })
	g.checkTasks(c, run.ID)
	for _, m := range g.members {
		_, info := get(t, m.url+"/v1/info")
		if strings.Contains(info, password) || strings.Contains(m.log.String(), password) {
			t.Errorf("%s shows the password", m.url)
		}
	}
}
