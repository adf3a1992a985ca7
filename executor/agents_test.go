package executor

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/executor/agent"
	"github.com/tidemill/tidemill/storage"
)

// door is where an agent lets executors in that have its token.
type door struct {
	agent *scriptedAgent
	mu    sync.Mutex
	calls int
	wrong []string // Authorization headers
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.calls++
	if header := r.Header.Get("Authorization"); header != "Bearer secret" {
		d.wrong = append(d.wrong, header)
	}
	d.mu.Unlock()
	d.agent.ServeHTTP(w, r)
}

// An executor does its work with agents that want a token, that listen on a socket of their machine, and that speak TLS.
func TestAgentsBehindDoors(t *testing.T) {
	for name, open := range map[string]func(*testing.T, *httptest.Server, *agent.Environment){
		"token": func(_ *testing.T, s *httptest.Server, e *agent.Environment) {
			s.Start()
			e.Endpoint = s.Listener.Addr().String()
		},
		"domain socket": func(t *testing.T, s *httptest.Server, e *agent.Environment) {
			e.DomainSocket, e.Endpoint = filepath.Join(t.TempDir(), "s"), "127.0.0.1:1"
			e.TLS = true // of the endpoint, which is not asked
			listener, err := net.Listen("unix", e.DomainSocket)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Listener.Close(); err != nil {
				t.Fatal(err)
			}
			s.Listener = listener
			s.Start()
		},
		"TLS": func(_ *testing.T, s *httptest.Server, e *agent.Environment) {
			s.StartTLS()
			e.Endpoint, e.TLS = s.Listener.Addr().String(), true
			e.Authorities = x509.NewCertPool()
			e.Authorities.AddCert(s.Certificate())
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &door{}
			server := httptest.NewUnstartedServer(d)
			t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
			r := start(t, func(a *scriptedAgent, e *agent.Environment) {
				d.agent = a
				e.Token = storage.NewSecret("secret")
				open(t, server, e)
			})
			r.launch("t", r.task("wait"))
			r.await("progress to be sent", func() bool { return len(r.messages) > 0 })
			r.kill("t", time.Minute)
			r.awaitState("t", mesos.TASK_KILLED)
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.calls < 4 || len(d.wrong) > 0 {
				t.Errorf("%d calls, with wrong headers: %s", d.calls, strings.Join(d.wrong, ", "))
			}
		})
	}
}

// The agent says how long executors may wait before they subscribe again.
func TestSubscriptionBackoff(t *testing.T) {
	for told, most := range map[time.Duration]time.Duration{
		0: 0, 40 * time.Millisecond: 40 * time.Millisecond, time.Hour: maxBackoff,
	} {
		var longest time.Duration
		for range 200 {
			e := New(Config{Environment: agent.Environment{SubscriptionBackoff: told, Checkpoint: true, RecoveryTimeout: time.Hour}, Log: slog.New(slog.DiscardHandler)})
			begin := time.Now()
			e.link.lost = begin
			e.lost(errors.New("gone"))
			longest = max(longest, time.Until(e.link.retry))
			if e.link.retry.Before(begin) || e.link.retry.After(time.Now().Add(most)) || e.end != nil {
				t.Fatalf("told %v: next try after %v, ending: %v", told, e.link.retry.Sub(begin), e.end)
			}
		}
		if longest < most/2 {
			t.Errorf("told %v: waited at most %v of 200 times", told, longest)
		}
	}
}
