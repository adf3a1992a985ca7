package mesos_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/mesos/agent"
)

// certificate makes one for loopback that signs itself; ca is its file, and key's that of
// its key.
func certificate(t *testing.T) (pair tls.Certificate, ca, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca, keyFile = filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "key.pem")
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	privatePEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	for file, content := range map[string][]byte{ca: publicPEM, keyFile: privatePEM} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.X509KeyPair(publicPEM, privatePEM); err != nil {
		t.Fatal(err)
	}
	return pair, ca, keyFile
}

// environment launches an executor that shows its environment, and reads it.
func environment(t *testing.T, c *client) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "environment")
	c.launch(c.offer(), custom("one", "sleeper", "env > "+file+".new; mv "+file+".new "+file+"; exec sleep 300"))
	variables := map[string]string{}
	eventually(t, "the executor shows its environment", func() bool {
		content, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), "=")
			variables[name] = value
		}
		return true
	})
	return variables
}

func TestTLS(t *testing.T) {
	pair, ca, _ := certificate(t)
	cluster := start(t, func(cfg *mesos.ClusterConfig) {
		cfg.Master.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		cfg.Agent.TLS, cfg.Agent.CAFile = cfg.Master.TLS, ca
	})
	if !strings.HasPrefix(cluster.URL(), "https://127.0.0.1:") {
		t.Errorf("the master is at %s", cluster.URL())
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	c := connectWith(t, &http.Client{Transport: transport}, cluster.URL(), frameworkInfo()).subscribed()
	offer := c.offer()
	if got := offer.URL.Scheme; got != "https" {
		t.Errorf("the agent is said to speak %s", got)
	}
	c.offers = append(c.offers, offer)
	variables := environment(t, c)
	if variables["LIBPROCESS_SSL_ENABLED"] != "true" || variables["LIBPROCESS_SSL_CA_FILE"] != ca {
		t.Errorf("got %v", variables)
	}
	response, err := c.http.Get("https://" + variables["MESOS_AGENT_ENDPOINT"] + "/slave(1)/health")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close() //nolint:errcheck // nothing is in it
	if _, err := http.Get(cluster.URL() + "/health"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a stranger is trusted: %v", err)
	}
}

func TestCommandsReadFiles(t *testing.T) {
	_, ca, key := certificate(t)
	credentials := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(credentials, []byte("ops ops-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := mesos.StartProcess(io.Discard, self(t), "mesos-master", "--cert-file", ca, "--key-file", key,
		"--agent-credentials", credentials, "--operator-credentials", credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Kill() //nolint:errcheck // it is over
	a, err := mesos.StartProcess(io.Discard, self(t), "mesos-agent", "--master", m.URL(), "--work-dir", t.TempDir(), "--ca-file", ca, "--credential", credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Kill() //nolint:errcheck // it is over
	roots := x509.NewCertPool()
	content, err := os.ReadFile(ca)
	if err != nil || !roots.AppendCertsFromPEM(content) {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	eventually(t, "the agent registers", func() bool {
		request, err := http.NewRequest(http.MethodGet, m.URL()+"/slaves", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("ops", "ops-secret")
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close() //nolint:errcheck // read as far as it is needed
		text := new(bytes.Buffer)
		text.ReadFrom(response.Body) //nolint:errcheck // it is asked again
		return strings.Contains(text.String(), `"slaves":[{"active":true`)
	})

	for _, bad := range []string{"ops", "a b c", ""} {
		if err := os.WriteFile(credentials, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		err := mesos.RunMaster(t.Context(), []string{"--credentials", credentials}, new(bytes.Buffer), new(bytes.Buffer))
		if err == nil || bad != "" && strings.Contains(err.Error(), bad+" ") {
			t.Errorf("credentials %q: %v", bad, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) {
		cfg.Agents = 2
		cfg.Master.AgentCredentials = map[string]string{"agent": "agent-secret"}
		cfg.Master.OperatorCredentials = map[string]string{"ops": "ops-secret"}
		cfg.Agent.Principal, cfg.Agent.Secret = "agent", "agent-secret"
		cfg.Customize = func(i int, cfg *agent.Config) {
			if i == 1 {
				cfg.Secret = "wrong"
			}
		}
	})
	eventually(t, "one agent is let in", func() bool { return cluster.Agents[0].ID() != "" })
	for path, want := range map[string]struct{ without, with int }{
		"/health": {200, 200}, "/version": {200, 200}, "/metrics/snapshot": {200, 200}, "/redirect": {307, 307},
		"/state": {401, 200}, "/master/slaves": {401, 200}, "/": {401, 200}, "/api/v1": {401, 405},
	} {
		request, err := http.NewRequest(http.MethodGet, cluster.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range []int{want.without, want.with} {
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close() //nolint:errcheck // not read
			if response.StatusCode != status {
				t.Errorf("%s: got %d, want %d", path, response.StatusCode, status)
			}
			request.SetBasicAuth("ops", "ops-secret")
		}
	}
	if cluster.Agents[1].ID() != "" {
		t.Error("an agent with a wrong secret is let in")
	}
}

func TestExecutorsProveWhoTheyAre(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	cluster := start(t, func(cfg *mesos.ClusterConfig) {
		cfg.Agent.ExecutorKey, cfg.Agent.DomainSocket = []byte("key"), socket
	})
	c := subscribe(t, cluster.URL(), frameworkInfo())
	variables := environment(t, c)
	if variables["MESOS_DOMAIN_SOCKET"] != socket {
		t.Errorf("got %v", variables)
	}
	token := variables["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"]
	head, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	viaSocket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer viaSocket.CloseIdleConnections()
	body, err := proto.Marshal(&executor.Call{
		Type: executor.Call_HEARTBEAT, ExecutorID: v1.ExecutorID{Value: "sleeper"}, FrameworkID: *c.info.ID,
	})
	if err != nil {
		t.Fatal(err)
	}
	for authorization, want := range map[string]int{
		"": 401, "Basic abc": 401, "Bearer abc": 401, "Bearer " + head + "." + payload + ".": 401,
		"Bearer " + head + ".e30." + signature: 401, "Bearer " + token: 403, // known, and not subscribed
	} {
		request, err := http.NewRequest(http.MethodPost, "http://agent/slave(1)/api/v1/executor", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-protobuf")
		request.Header.Set("Authorization", authorization)
		response, err := viaSocket.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		text := new(bytes.Buffer)
		text.ReadFrom(response.Body) //nolint:errcheck // compared below
		response.Body.Close()        //nolint:errcheck // read to its end
		if response.StatusCode != want || want == 403 && text.String() != "Executor is not subscribed" {
			t.Errorf("%q: got %d %s, want %d", authorization, response.StatusCode, text, want)
		}
	}
}
