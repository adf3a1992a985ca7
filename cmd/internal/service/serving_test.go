package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/storage"
)

// authority signs certificates of this machine.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// issue makes a certificate, signed by the authority or, if there is none yet, by itself.
func (a *authority) issue(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// file writes the authority's own certificate.
func (a *authority) file(l *lab, name string) string {
	return l.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
}

// certify writes a certificate of 127.0.0.1 with that number, and its key.
func (a *authority) certify(l *lab, number int64) (certFile, keyFile string) {
	a.t.Helper()
	cert, key := a.issue(&x509.Certificate{SerialNumber: big.NewInt(number), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyFile = l.write("tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return l.write("tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))), keyFile
}

func (a *authority) trusts() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool}
}

// serial shakes hands with a service and gives the number of its certificate.
func (a *authority) serial(url string) int64 {
	a.t.Helper()
	connection, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), a.trusts())
	if err != nil {
		a.t.Fatal(err)
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// guardWith writes a tokens file whose secrets are its names.
func (l *lab) guardWith(roles ...string) {
	l.t.Helper()
	text := "tokens:\n"
	for _, role := range roles {
		text += fmt.Sprintf("  - {name: the-%[1]s, sha256: %[2]x, roles: [%[1]s]}\n", role, sha256.Sum256([]byte("the-"+role)))
	}
	l.cfg.TokensFile = l.write("tokens.yaml", text)
}

func (l *lab) clientAs(token, url, authorities string) *client.Client {
	l.t.Helper()
	c, err := client.New(client.Config{Server: url, Token: token, CAFile: authorities})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(c.Close)
	return c
}

// By TLS: people, the dashboard, standbys among one another, and a certificate that is renewed. Agents fetch executors by
// plain HTTP at an address of their own.
func TestTLS(t *testing.T) {
	e := newEnsemble()
	g := &group{lab: newLab(t, nil), ensemble: e, open: e.open}
	g.shareObjects()
	a := newAuthority(t)
	ca := a.file(g.lab, "ca.pem")
	g.cfg.TLS.CertFile, g.cfg.TLS.KeyFile = a.certify(g.lab, 7)
	g.cfg.PeerCAFile, g.cfg.ArtifactListen = ca, "127.0.0.1:0"
	g.guardWith("viewer", "admin")
	for range 2 {
		g.join()
	}
	var leader, standby *client.Client
	var url string
	for leader == nil || standby == nil {
		leader, standby = nil, nil
		for _, m := range g.members {
			c := g.clientAs("the-admin", m.url, ca)
			info, err := c.Info(t.Context())
			if err != nil || !strings.HasPrefix(m.url, "https://") {
				t.Fatalf("%s: %v", m.url, err)
			}
			if info.Role == "leader" {
				leader = c
			} else {
				standby, url = c, m.url
			}
		}
	}
	g.register(standby) // which passes it on
	gate := g.write("gate", "")
	run := g.submit(standby, gate)
	if ended := g.until(leader, run.ID, "the run's end", func(r wire.Run) bool { return r.State == "succeeded" }); ended.By != "the-admin" {
		t.Errorf("by: got %q", ended.By)
	}
	g.seen(a, url)

	if got := a.serial(url); got != 7 {
		t.Errorf("serial: got %d", got)
	}
	a.certify(g.lab, 8)
	limit := time.Now().Add(20 * time.Second)
	for a.serial(url) != 8 {
		if time.Now().After(limit) {
			t.Fatal("the new certificate is not used")
		}
		time.Sleep(50 * time.Millisecond)
	}
	old := a.trusts()
	old.MaxVersion = tls.VersionTLS11
	if _, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if _, err := g.clientAs("the-admin", url, newAuthority(t).file(g.lab, "other.pem")).Info(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another authority: got %v", err)
	}
	if log, err := os.ReadFile(filepath.Join(g.dir, "data0", "audit.log")); err != nil {
		t.Error(err)
	} else if other, err := os.ReadFile(filepath.Join(g.dir, "data1", "audit.log")); err != nil || !strings.Contains(string(log)+string(other), `"forwarded_by":"`+url) {
		t.Errorf("the audit logs do not say who passed requests on: %v", err)
	}
}

// seen looks at the dashboard as a browser does.
func (g *group) seen(a *authority, url string) {
	g.t.Helper()
	transport := &http.Transport{TLSClientConfig: a.trusts(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for _, call := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "/", "", 200}, {"GET", "/assets/main.js", "", 200}, {"GET", "/healthz", "", 200}, {"GET", "/metrics", "", 401}, {"GET", "/metrics", "the-viewer", 200},
		{"DELETE", "/v1/jobs/none", "the-viewer", 403}, {"DELETE", "/v1/jobs/none", "the-admin", 404},
	} {
		request, err := http.NewRequest(call.method, url+call.path, nil)
		if err != nil {
			g.t.Fatal(err)
		}
		request.Header.Set("Origin", url)
		request.Header.Set("Authorization", "Bearer "+call.token)
		response, err := transport.RoundTrip(request)
		if err != nil {
			g.t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.Body.Close() != nil || response.StatusCode != call.status || response.ProtoMajor != 2 || response.Header.Get("X-Request-Id") == "" {
			g.t.Errorf("%s %s: got %s %s %s, %v", call.method, call.path, response.Proto, response.Status, body, err)
		}
		if call.path == "/metrics" && call.status == 200 && !strings.Contains(string(body), `tidemill_file_unusable{file="certificate"} 0`) {
			g.t.Error("the metrics do not tell of the certificate")
		}
	}
}

// What is wrong with files that say who may do what is known from the start.
func TestServingRefuses(t *testing.T) {
	l := newLab(t, nil)
	a := newAuthority(t)
	cert, key := a.certify(l, 7)
	everybody := l.write("everybody.key", "")
	if err := os.Chmod(everybody, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no tokens file":        {func(c *Config) { c.TokensFile = filepath.Join(l.dir, "none") }, "--tokens-file: open"},
		"a bad tokens file":     {func(c *Config) { c.TokensFile = l.write("bad.yaml", "tokens: [{name: a}]") }, `--tokens-file: read tokens of`},
		"an audit log nowhere":  {func(c *Config) { c.AuditLog = filepath.Join(l.dir, "none", "audit.log") }, "--audit-log: open"},
		"no certificate":        {func(c *Config) { c.TLS = TLS{CertFile: filepath.Join(l.dir, "none"), KeyFile: key} }, "--tls-cert-file: open"},
		"another key":           {func(c *Config) { c.TLS = TLS{CertFile: cert, KeyFile: a.file(l, "ca.pem")} }, "--tls-cert-file: read certificate"},
		"everybody's key":       {func(c *Config) { c.TLS = TLS{CertFile: cert, KeyFile: everybody} }, "mode 0644"},
		"no authority of peers": {func(c *Config) { c.PeerCAFile = key }, "--peer-ca-file: read authorities"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := l.cfg
			cfg.DataDir, cfg.Logger = t.TempDir(), slog.New(slog.DiscardHandler)
			test.change(&cfg)
			if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Beyond loopback the service says what can be read on the network, unless TLS is spoken here or before it.
func TestWarnWithoutTLS(t *testing.T) {
	for _, test := range []struct {
		listen, url, cert string
		warns             bool
	}{
		{"127.0.0.1:0", "", "", false}, {"0.0.0.0:0", "", "", true}, {"0.0.0.0:0", "http://tidemill.example", "", true},
		{"0.0.0.0:0", "https://tidemill.example", "", false}, {"0.0.0.0:0", "", "tls.crt", false},
	} {
		address, err := net.ResolveTCPAddr("tcp", test.listen)
		if err != nil {
			t.Fatal(err)
		}
		log := &syncBuffer{}
		s := &service{cfg: Defaults(), log: slog.New(slog.NewTextHandler(log, nil)), listener: at{address: address}}
		s.cfg.URL, s.cfg.TLS.CertFile, s.cfg.Token = test.url, test.cert, storage.NewSecret("t")
		s.warn()
		if got := strings.Contains(log.String(), "--tls-cert-file"); got != test.warns {
			t.Errorf("%+v: warns %v", test, got)
		}
	}
}

// at is a listener that only has an address.
type at struct {
	net.Listener
	address net.Addr
}

func (a at) Addr() net.Addr { return a.address }
