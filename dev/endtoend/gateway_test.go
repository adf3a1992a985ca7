//go:build endtoend

package endtoend

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
)

// call is what a scheduler asked of a Mesos master.
type call struct {
	at       time.Time // when it arrived
	member   int       // who asked
	kind     scheduler.Call_Type
	launches int // tasks that it launches
}

// ledger has the calls of all schedulers.
type ledger struct {
	mu    sync.Mutex
	calls []call
}

func (l *ledger) note(c call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

// all are the calls so far, as they arrived.
func (l *ledger) all() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := slices.Clone(l.calls)
	slices.SortStableFunc(calls, func(a, b call) int { return a.at.Compare(b.at) })
	return calls
}

// launch is the first call since from that launched something, of anybody but the member not.
func (l *ledger) launch(from time.Time, not int) (call, bool) {
	for _, c := range l.all() {
		if c.launches > 0 && c.at.After(from) && c.member != not {
			return c, true
		}
	}
	return call{}, false
}

// check fails the test if two schedulers acted at one time: who has subscribed is the only one that asks for anything
// until another one subscribes, and nobody ever tears the framework down.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	holder, terms, launched := -1, 0, 0
	for _, c := range l.all() {
		switch {
		case c.kind == scheduler.Call_TEARDOWN:
			t.Errorf("scheduler %d tore the framework down at %s", c.member, c.at)
		case c.kind == scheduler.Call_SUBSCRIBE && c.member != holder:
			holder, terms = c.member, terms+1
		case c.member != holder:
			t.Errorf("scheduler %d sent %s at %s, while scheduler %d led", c.member, c.kind, c.at.Format(time.StampMicro), holder)
		}
		launched += c.launches
	}
	t.Logf("%d calls, %d tasks launched, in %d terms", len(l.all()), launched, terms)
}

// gateway stands between one scheduler and the Mesos masters. It writes down each call, and its connections can be held
// and cut.
type gateway struct {
	urls    string // of the masters as this scheduler sees them, with commas between them
	proxies []*zookeepertest.Proxy
}

// newGateway has an address for each master. What a master says about where the leader is names that address, too.
func newGateway(t *testing.T, member int, masters []string, to *ledger) *gateway {
	t.Helper()
	g := &gateway{}
	known := map[string]string{} // by the port of the master
	for _, m := range masters {
		target, err := url.Parse(m)
		if err != nil {
			t.Fatal(err)
		}
		proxy := &httputil.ReverseProxy{
			FlushInterval: -1,
			ErrorLog:      log.New(io.Discard, "", 0), // that a master or a scheduler hung up is what tests do
			Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target) },
			ModifyResponse: func(r *http.Response) error {
				location, err := url.Parse(r.Header.Get("Location"))
				if err == nil && known[location.Port()] != "" {
					location.Host = known[location.Port()]
					r.Header.Set("Location", location.String())
				}
				return err
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived := time.Now()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the scheduler hung up
			}
			var asked scheduler.Call
			if err := asked.Unmarshal(body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			to.note(call{at: arrived, member: member, kind: asked.Type, launches: launches(&asked)})
			r.Body = io.NopCloser(bytes.NewReader(body))
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(func() {
			server.CloseClientConnections() // subscriptions never end by themselves
			server.Close()
		})
		front := zookeepertest.NewProxy(t, strings.TrimPrefix(server.URL, "http://"))
		known[target.Port()] = front.Address()
		g.proxies = append(g.proxies, front)
		g.urls += fmt.Sprintf(",http://%s", front.Address())
	}
	g.urls = g.urls[1:]
	return g
}

func launches(c *scheduler.Call) (n int) {
	for _, o := range c.GetAccept().GetOperations() {
		n += len(o.GetLaunch().GetTaskInfos())
		n += len(o.GetLaunchGroup().GetTaskGroup().Tasks)
	}
	return n
}

// cut loses all connections, and lets no byte pass on new ones.
func (g *gateway) cut() {
	for _, p := range g.proxies {
		cut(p)
	}
}

func (g *gateway) mend() {
	for _, p := range g.proxies {
		mend(p)
	}
}

func cut(p *zookeepertest.Proxy) {
	p.Hold(zookeepertest.Requests, zookeepertest.Answers)
	p.Cut()
}

// mend loses what was held: a network that was cut does not deliver late.
func mend(p *zookeepertest.Proxy) {
	p.Cut()
	p.Release()
}
