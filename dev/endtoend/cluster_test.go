//go:build endtoend

package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/mesos/master"
	"github.com/tidemill/tidemill/dev/result"
	"github.com/tidemill/tidemill/dev/s3"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// cluster is a scheduler, agents and executors, each a process of its own, with an S3 and a Mesos master in this one.
type cluster struct {
	t         *testing.T
	dir       string
	api       string // base URL
	s3        *s3.Server
	objects   *connections.Set
	scheduler *process
	agents    []*process
	masterLog *tail
	patience  time.Duration // for the answer to one request; a minute if zero
}

// options change what a cluster is started with.
type options struct {
	schedulerFlags []string
	agents         int // default 2
}

// newCluster starts everything, registers the executor versions and loads the example data.
func newCluster(t *testing.T, o options) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), masterLog: &tail{}}
	if o.agents == 0 {
		o.agents = 2
	}
	c.startS3()
	url := c.startMaster()
	c.startAgents(url, o.agents)
	c.startScheduler(url, o.schedulerFlags)
	for _, v := range versions {
		c.register(v)
	}
	c.must(http.MethodPut, "/v1/channels/stable", fmt.Appendf(nil, `{"version": %q}`, versions[0]), nil, "Content-Type", "application/json")
	return c
}

// in is the same cluster for a subtest.
func (c *cluster) in(t *testing.T) *cluster {
	sub := *c
	sub.t = t
	return &sub
}

func (c *cluster) startS3() {
	c.t.Helper()
	server, err := s3.Start(context.Background(), s3.Config{DataDir: filepath.Join(c.dir, "s3")})
	if err != nil {
		c.t.Fatal(err)
	}
	c.s3 = server
	c.t.Cleanup(func() { server.Stop() }) //nolint:errcheck // a test may have stopped it
	c.writeConnections(server.SecretKey())
	c.objects, err = connections.Load(c.connectionsFile())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.objects.Close)
	for _, bucket := range []string{"flights", "weblog", "results", "bad"} {
		if err := server.CreateBucket(context.Background(), bucket); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, file := range dataFiles(c.t, "flights", "*.csv.gz") {
		c.putFile("s3://flights/2013/"+filepath.Base(file), file)
	}
	for _, file := range dataFiles(c.t, "weblog", "*.jsonl.gz") {
		c.putFile("s3://weblog/2015/"+filepath.Base(file), file)
	}
}

func (c *cluster) connectionsFile() string { return filepath.Join(c.dir, "connections.json") }

// writeConnections gives the executors that secret key.
func (c *cluster) writeConnections(secret string) {
	c.t.Helper()
	data, err := json.Marshal(map[string]any{"connections": map[string]any{"s3": map[string]any{
		"type": "s3", "endpoint": c.s3.URL(), "region": c.s3.Region(), "path_style": true,
		"access_key": c.s3.AccessKey(), "secret_key": secret,
	}}})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.connectionsFile(), data, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) startMaster() string {
	c.t.Helper()
	m, err := master.New(master.Config{AllocationInterval: 200 * time.Millisecond, AgentTimeout: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(c.masterLog, nil))})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("mesos master: %v", err)
		}
		if c.t.Failed() {
			c.t.Logf("log of the mesos master:\n%s", c.masterLog)
		}
	})
	return m.URL()
}

func (c *cluster) startAgents(master string, n int) {
	c.t.Helper()
	c.t.Cleanup(c.checkLeftovers)
	for i := range n {
		p, _ := start(c.t, "tidemill-dev", nil, true, "mesos-agent", "--master", master,
			"--work-dir", filepath.Join(c.dir, fmt.Sprintf("agent-%d", i)), "--hostname", fmt.Sprintf("agent-%d", i),
			"--attributes", fmt.Sprintf("zone:%c", 'a'+i),
			// Mesos waits for ten seconds, which each kill of the scheduler would cost.
			"--update-retry-interval", "1s")
		c.agents = append(c.agents, p)
	}
}

// checkLeftovers fails the test if a process below the cluster's directory outlived its agents.
func (c *cluster) checkLeftovers() {
	c.eventually(20*time.Second, "processes end with their agents", func() (bool, error) {
		left, err := below(c.dir, func([]string) bool { return true })
		return err == nil && len(left) == 0, fmt.Errorf("%v left, %v", left, err)
	})
}

func (c *cluster) startScheduler(master string, flags []string) {
	c.t.Helper()
	listen := freeAddress(c.t) // the same after a restart: agents know the artefact URL
	c.api = "http://" + listen
	args := append([]string{"serve", "--listen", listen, "--mesos-master", master,
		"--data-dir", filepath.Join(c.dir, "scheduler"), "--connections-file", c.connectionsFile(),
		"--executor-connections-file", c.connectionsFile()}, flags...)
	c.scheduler, _ = start(c.t, "tidemill", nil, false, args...)
	c.awaitScheduler()
}

func (c *cluster) awaitScheduler() {
	c.t.Helper()
	c.eventually(30*time.Second, "the scheduler is ready", func() (bool, error) {
		select {
		case <-c.scheduler.done:
			c.t.Fatalf("the scheduler ended:\n%s", c.scheduler.log)
		default:
		}
		status, err := c.call(http.MethodGet, "/readyz", nil, nil)
		return status == http.StatusOK, err
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// store opens the bucket of a URI.
func (c *cluster) store(uri string) (storage.Store, string) {
	c.t.Helper()
	u, err := storage.ParseURI(uri)
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := c.objects.Open(context.Background(), "s3", u)
	if err != nil {
		c.t.Fatal(err)
	}
	return s, u.Key
}

func (c *cluster) put(uri string, data []byte) {
	c.t.Helper()
	s, key := c.store(uri)
	if _, err := storage.WriteAll(context.Background(), s, key, data, storage.Always); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) putFile(uri, file string) {
	c.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	c.put(uri, data)
}

// list returns the keys below a URI.
func (c *cluster) list(uri string) []string {
	c.t.Helper()
	s, prefix := c.store(uri)
	var keys []string
	for object, err := range s.List(context.Background(), prefix, "") {
		if err != nil {
			c.t.Fatal(err)
		}
		keys = append(keys, object.Key)
	}
	return keys
}

// result reads what a run made visible.
func (c *cluster) result(manifest string) *result.Table {
	c.t.Helper()
	s, _ := c.store(manifest)
	table, err := result.Read(context.Background(), s, manifest)
	if err != nil {
		c.t.Fatal(err)
	}
	return table
}

// latest is the manifest that an output's _latest.json names; empty if there is none.
func (c *cluster) latest(output string) string {
	c.t.Helper()
	s, key := c.store(output + "_latest.json")
	if !slices.Contains(c.list(output), key) {
		return ""
	}
	data, _, err := storage.ReadAll(context.Background(), s, key, 1<<20)
	if err != nil {
		c.t.Fatal(err)
	}
	var latest struct{ Manifest string }
	if err := json.Unmarshal(data, &latest); err != nil {
		c.t.Fatal(err)
	}
	return latest.Manifest
}

// example is an example spec with another name and output.
func example(t *testing.T, name, as string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, "examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), name, as)
}
