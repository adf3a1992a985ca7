package mesos

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// journal is a log that tests look into.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// secure makes a server speak TLS and returns the file of its authority.
func secure(t *testing.T, server *httptest.Server, version uint16) (caFile string) {
	t.Helper()
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are the point
	server.TLS = &tls.Config{MaxVersion: version, MinVersion: tls.VersionTLS10}
	server.StartTLS()
	t.Cleanup(server.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(caFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return caFile
}

func TestMasterWithTLS(t *testing.T) {
	for name, test := range map[string]struct {
		version uint16
		noCA    bool
		rename  bool // address it by a name that the certificate does not have
		want    string
	}{
		"TLS 1.3":                   {version: tls.VersionTLS13},
		"TLS 1.2":                   {version: tls.VersionTLS12},
		"TLS 1.1":                   {version: tls.VersionTLS11, want: "protocol version"},
		"without its authority":     {version: tls.VersionTLS13, noCA: true, want: "name the file with the right one by --mesos-ca-file"},
		"made out to another name":  {version: tls.VersionTLS13, rename: true, want: "its certificate is made out to another name"},
		"it does not speak any TLS": {want: "it does not speak TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &master{t: t, scripts: []func(*stream){good}}
			m.Server = httptest.NewUnstartedServer(m)
			caFile := ""
			if test.version != 0 {
				caFile = secure(t, m.Server, test.version)
			} else {
				m.Start()
				t.Cleanup(m.Close)
			}
			if test.noCA {
				caFile = ""
			}
			where := "https://" + m.Listener.Addr().String()
			if test.rename {
				where = strings.Replace(where, "127.0.0.1", "localhost", 1)
			}
			var journal journal
			s := connectAs(t, Config{
				Master: where, CAFile: caFile, Name: "n", User: "u", Roles: roles("r"), Log: journal.logger(),
				Principal: "tidemill", Secret: storage.NewSecret("hush"),
			}, scheduler.Identity{}, nil)
			if test.want == "" {
				s.subscriptions(1)
				s.Send([]scheduler.Call{scheduler.Revive{Roles: []string{"r"}}})
				eventually(t, "REVIVE", func() bool { return len(m.received(sched.Call_REVIVE)) == 1 })
				return
			}
			eventually(t, "the reason in the log", func() bool { return strings.Contains(journal.String(), test.want) })
			if len(s.events()) != 0 || len(m.received(sched.Call_SUBSCRIBE)) != 0 {
				t.Errorf("events %v, SUBSCRIBE sent %d times, want neither", s.events(), len(m.received(sched.Call_SUBSCRIBE)))
			}
		})
	}
}

func TestMastersFromZooKeeperWithTLS(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"without":  {Config{}, "http"},
		"asked":    {Config{MasterTLS: true}, "https"},
		"with CAs": {Config{CAFile: "ca.pem"}, "https"},
	} {
		test.cfg.Master = "zk://a/mesos"
		found, err := newZooKeeper(test.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if found.scheme != test.want {
			t.Errorf("%s: got %s, want %s", name, found.scheme, test.want)
		}
	}
}

func TestBadCAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSandbox(SandboxConfig{CAFile: file}); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("got %v", err)
	}
}

// What is secret is in no log line and no error, whatever happens.
func TestSecretsStaySecret(t *testing.T) {
	var journal journal
	m := newMaster(t, waiting, func(s *stream) { s.WriteHeader(http.StatusUnauthorized) })
	c, err := New(Config{
		Master: m.URL, Name: "n", User: "u", Roles: roles("r"), Principal: "tidemill", Secret: storage.NewSecret("hush"), Log: journal.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = c.Run(ctx, scheduler.Identity{}, func(scheduler.Event) {})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--mesos-principal") || !strings.Contains(err.Error(), "--mesos-secret-file") {
		t.Errorf("run: got %v, want ErrRefused that names the flags", err)
	}
	all := journal.String() + err.Error() + fmt.Sprintf("%+v", c.cfg)
	if !strings.Contains(all, "retry_in") || strings.Contains(all, "hush") || strings.Contains(all, "dGlkZW1pbGw6aHVzaA") {
		t.Errorf("log and errors: %s", all)
	}
}

// The gate closes: nothing is written after that, and the subscription ends.
func TestMayNotAct(t *testing.T) {
	var closed atomic.Bool
	m := newMaster(t, good)
	s := connect(t, m.URL, func(c *Connection) { c.cfg.MayAct = func() bool { return !closed.Load() } })
	s.subscriptions(1)
	s.Send([]scheduler.Call{scheduler.Revive{Roles: []string{"r"}}})
	eventually(t, "REVIVE", func() bool { return len(m.received(sched.Call_REVIVE)) == 1 })
	closed.Store(true)
	accept := scheduler.Accept{OfferIDs: []string{"o"}, AgentID: "a"}
	s.Send([]scheduler.Call{accept, scheduler.Kill{MesosID: "t", AgentID: "a"}, scheduler.Acknowledge{MesosID: "t", AgentID: "b"}})
	s.until("the end of the subscription", func(e []scheduler.Event) bool {
		return len(failures(e)) == 3 && count[scheduler.Disconnected](e) == 1
	})
	for _, f := range failures(s.events()) {
		if f.Status != 0 {
			t.Errorf("got %+v, want a call that was not sent", f)
		}
	}
	time.AfterFunc(100*time.Millisecond, s.cancel) // some more tries to subscribe
	<-s.ended
	s.ended <- nil
	for kind, want := range map[sched.Call_Type]int{sched.Call_SUBSCRIBE: 1, sched.Call_REVIVE: 1, sched.Call_ACCEPT: 0, sched.Call_KILL: 0, sched.Call_ACKNOWLEDGE: 0} {
		if got := len(m.received(kind)); got != want {
			t.Errorf("%s: sent %d times, want %d", kind, got, want)
		}
	}
}

func TestSandboxWithTLSAndCredentials(t *testing.T) {
	elsewhere := newAgent(t, "elsewhere")
	a := &agent{data: []byte("content")}
	var moved atomic.Bool
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, secret, _ := r.BasicAuth()
		switch {
		case user != "reader" || secret != "hush":
			w.WriteHeader(http.StatusUnauthorized)
		case moved.Load():
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		default:
			fmt.Fprintf(w, `{"data":%s,"offset":0}`, quote(a.data))
		}
	}))
	caFile := secure(t, a.Server, tls.VersionTLS13)
	box := newSandbox(t, SandboxConfig{CAFile: caFile, Principal: "reader", Secret: storage.NewSecret("hush")})
	got, err := box.ReadAt(t.Context(), a.URL, logFile, 0, 100)
	if err != nil || string(got) != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	for want, cfg := range map[string]SandboxConfig{
		"it wants other credentials": {CAFile: caFile, Principal: "reader", Secret: storage.NewSecret("wrong-hush")},
		"--mesos-ca-file":            {Principal: "reader", Secret: storage.NewSecret("hush")},
	} {
		if _, err := newSandbox(t, cfg).ReadAt(t.Context(), a.URL, logFile, 0, 100); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	moved.Store(true)
	if got, err := box.ReadAt(t.Context(), a.URL, logFile, 0, 100); err == nil || !strings.Contains(err.Error(), "answered 307") {
		t.Errorf("redirect: got %q, %v, want it not to be followed", got, err)
	}
}
