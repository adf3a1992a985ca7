package service

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/loop"
)

// group is several services in this process that share a store.
type group struct {
	*lab
	ensemble *ensemble // nil: there is a real one
	open     opener
	members  []*member
}

type member struct {
	url   string
	stop  func() // gracefully
	ended chan error
	log   *syncBuffer
}

type syncBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

func newGroup(t *testing.T, n int) *group {
	t.Helper()
	e := newEnsemble()
	g := &group{lab: newLab(t, nil), ensemble: e, open: e.open}
	g.shareObjects()
	for range n {
		g.join()
	}
	return g
}

// shareObjects gives the members a place that they share.
func (g *group) shareObjects() {
	g.t.Helper()
	g.cfg.Objects = "file://" + filepath.Join(g.dir, "objects")
	if err := os.Mkdir(filepath.Join(g.dir, "objects"), 0o700); err != nil {
		g.t.Fatal(err)
	}
}

// join starts one more service, and returns when it knows who leads.
func (g *group) join() *member {
	g.t.Helper()
	ready := make(chan string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{ended: make(chan error, 1), log: &syncBuffer{}}
	cfg := g.cfg
	cfg.DataDir = filepath.Join(g.dir, fmt.Sprint("data", len(g.members)))
	cfg.Logger = slog.New(slog.NewTextHandler(m.log, nil))
	cfg.Ready = func(url string) { ready <- url }
	go func() {
		m.ended <- run(ctx, cfg, g.open, func(int) time.Duration { return 10 * time.Millisecond })
	}()
	select {
	case m.url = <-ready:
	case err := <-m.ended:
		cancel()
		g.t.Fatalf("run: %v", err)
	}
	var once sync.Once
	m.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-m.ended; err != nil {
				g.t.Errorf("run: %v", err)
			}
			if g.t.Failed() {
				g.t.Logf("service %s:\n%s", m.url, m.log)
			}
		})
	}
	g.t.Cleanup(m.stop)
	g.members = append(g.members, m)
	return m
}

// split waits until one leads, and returns it and the others.
func (g *group) split() (leader *member, others []*member) {
	g.t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for leader == nil {
		others = nil
		for _, m := range g.members {
			if g.info(m).Role == "leader" {
				leader = m
			} else {
				others = append(others, m)
			}
		}
		if time.Now().After(limit) {
			g.t.Fatal("nobody leads")
		}
	}
	return leader, others
}

func (g *group) info(m *member) (info wire.Info) {
	g.t.Helper()
	status, body := get(g.t, m.url+"/v1/info")
	if err := json.Unmarshal([]byte(body), &info); status != http.StatusOK || err != nil {
		g.t.Fatalf("info of %s: %d %s %v", m.url, status, body, err)
	}
	return info
}

func (g *group) remove(m *member) {
	m.stop()
	var rest []*member
	for _, other := range g.members {
		if other != m {
			rest = append(rest, other)
		}
	}
	g.members = rest
}

// Everything may be done through any instance, and goes on when the one that leads is stopped.
func TestAnotherInstanceGoesOn(t *testing.T) {
	g := newGroup(t, 3)
	leader, standbys := g.split()
	a, b := g.client(standbys[0].url), g.client(standbys[1].url)
	g.register(a)
	gate := filepath.Join(g.dir, "gate")
	run := g.submit(a, gate)
	// What was done through an instance is seen there at once, and elsewhere soon.
	if _, err := a.Run(t.Context(), run.ID); err != nil {
		t.Errorf("the run, where it was started: %v", err)
	}
	g.until(b, run.ID, "map tasks to run", mapsRun)
	before := g.info(standbys[1])
	if before.Role != "standby" || before.Leader != leader.url || !before.Mesos.Connected || before.FrameworkID == "" || len(before.Agents) == 0 || len(before.Instances) != 3 {
		t.Errorf("info of a standby: got %+v", before)
	}

	g.remove(leader)
	next, _ := g.split()
	after := g.info(next)
	if after.FrameworkID != before.FrameworkID || after.Epoch <= before.Epoch {
		t.Errorf("after the change: got %+v, before %+v", after, before)
	}
	if again := g.submit(b, gate); again.ID != run.ID {
		t.Errorf("the same idempotency key: got run %s, want %s", again.ID, run.ID)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := g.until(a, run.ID, "the run's end", func(r wire.Run) bool { return r.State == "succeeded" })
	if ended.Output == nil || ended.Output.Rows != 42 {
		t.Errorf("run: got %+v", ended)
	}
	g.checkTasks(a, run.ID) // b may be a second behind
}

// A stream of events that an instance sends goes on when it steps down, and ends with the run.
func TestEventsGoOnAcrossAStepDown(t *testing.T) {
	g := newGroup(t, 2)
	leader, _ := g.split()
	c := g.client(leader.url)
	g.register(c)
	gate := filepath.Join(g.dir, "gate")
	run := g.submit(c, gate)
	response, err := http.Get(leader.url + "/v1/runs/" + run.ID + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	g.until(c, run.ID, "map tasks to run", mapsRun)
	g.ensemble.expire()
	for limit := time.Now().Add(20 * time.Second); ; {
		next, _ := g.split()
		if next != leader { // the other one has waited for it
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the same instance leads still, or again")
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(40*time.Second, func() { response.Body.Close() })
	defer limit.Stop()
	var last, name string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = event
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			last = data
		}
	}
	if name != "done" || !strings.Contains(last, `"succeeded"`) {
		t.Errorf("the stream ended with %q %s", name, last)
	}
	if info := g.info(leader); info.Role != "standby" {
		t.Errorf("the instance that stepped down: got %+v", info)
	}
}

// Leadership changes again and again while all instances are asked to change things: what was answered with success is there in
// the end, what was not says that it may be tried again, and nobody waits for ever.
func TestLeadershipIsLostUnderLoad(t *testing.T) {
	g := newGroup(t, 3)
	leader, _ := g.split()
	g.register(g.client(leader.url))
	version, _ := artifact()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var senders sync.WaitGroup
	var created atomic.Int64
	stored, statuses := make([][]string, len(g.members)), make([]map[int]int, len(g.members))
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	for i, m := range g.members {
		statuses[i] = map[int]int{}
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("channel-%d-%d", i, n)
				status, retry, err := send(one, http.MethodPut, m.url+"/v1/channels/"+name, fmt.Sprintf(`{"version": %q}`, version))
				switch {
				case err != nil:
					t.Errorf("%s: %v", name, err)
					return
				case status == http.StatusOK:
					stored[i] = append(stored[i], name)
					created.Add(1)
				case status == http.StatusServiceUnavailable && retry == "":
					t.Errorf("%s: 503 without Retry-After", name)
				}
				statuses[i][status]++
			}
		})
	}
	for round := range int64(8) {
		g.ensemble.mu.Lock()
		terms := g.ensemble.terms
		g.ensemble.mu.Unlock()
		g.ensemble.expire()
		for limit := time.Now().Add(20 * time.Second); ; {
			g.ensemble.mu.Lock()
			next := g.ensemble.terms
			g.ensemble.mu.Unlock()
			if next > terms {
				break
			}
			if time.Now().After(limit) {
				t.Fatal("nobody leads")
			}
			time.Sleep(time.Millisecond)
		}
		g.split()
		g.await(func() bool { return created.Load() >= 5*round }, "changes to be stored")
	}
	stop()
	senders.Wait()
	leader, _ = g.split()
	c := g.client(leader.url)
	kept := map[string]bool{}
	for channel, err := range c.Channels(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		kept[channel.Name] = true
	}
	total := 0
	for i := range g.members {
		for status := range statuses[i] {
			if status != http.StatusOK && status != http.StatusServiceUnavailable && status != http.StatusBadGateway {
				t.Errorf("answers of member %d: %v", i, statuses[i])
			}
		}
		total += len(stored[i])
		for _, name := range stored[i] {
			if !kept[name] {
				t.Errorf("%s was stored and is gone", name)
			}
		}
	}
	if total < 10 {
		t.Errorf("%d changes were stored: the test did not test much: %v", total, statuses)
	}
	t.Logf("%d changes, answers %v", total, statuses)
}

func send(c *http.Client, method, url, body string) (status int, retryAfter string, err error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, "", err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header.Get("Retry-After"), errors.Join(err, response.Body.Close())
}

// While the store does not answer nobody leads; what was read last is shown and its age said. Then all goes on, in the
// same processes.
func TestStoreIsAwayForAWhile(t *testing.T) {
	g := newGroup(t, 2)
	leader, standbys := g.split()
	g.register(g.client(leader.url))
	g.await(func() bool { return g.executors(standbys[0]) == 1 }, "the standby to see the executor")
	g.ensemble.do(func() { g.ensemble.down = errors.New("no quorum") })
	g.ensemble.expire()
	for _, m := range g.members {
		if got := g.executors(m); got != 1 {
			t.Errorf("%s shows %d executor versions", m.url, got)
		}
		status, retry, err := send(http.DefaultClient, http.MethodPut, m.url+"/v1/channels/x", `{"version": "1"}`)
		if err != nil || status != http.StatusServiceUnavailable || retry == "" {
			t.Errorf("a write to %s: got %d, Retry-After %q, %v", m.url, status, retry, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	g.ensemble.do(func() { g.ensemble.down = nil })
	g.split()
	version, _ := artifact()
	g.await(func() bool {
		_, err := g.client(standbys[0].url).SetChannel(t.Context(), "canary", wire.SetChannel{Version: version})
		return err == nil
	}, "a write to be carried out")
}

func (g *group) executors(m *member) int {
	g.t.Helper()
	var list wire.List[wire.Executor]
	status, body := get(g.t, m.url+"/v1/executors")
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
		g.t.Fatalf("executors of %s: %d %s", m.url, status, body)
	}
	return len(list.Items)
}

// await polls.
func (g *group) await(done func() bool, what string) {
	g.t.Helper()
	for limit := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			g.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A store that a newer version has written ends the process of whoever would lead, with a text that says so.
func TestNewerFormatEndsTheProcess(t *testing.T) {
	g := newGroup(t, 0)
	newer := &proto.Format{Version: scheduler.FormatVersion + 1, WrittenBy: "9.0.0"}
	g.ensemble.records[scheduler.Key{Kind: scheduler.KindFormat, ID: "format"}] = proto.Encode(newer)
	cfg := g.cfg
	cfg.Logger = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := run(ctx, cfg, g.ensemble.open, retryIn)
	if !errors.Is(err, loop.ErrRecords) || !strings.Contains(err.Error(), `written by version "9.0.0"`) {
		t.Errorf("got %v", err)
	}
}
