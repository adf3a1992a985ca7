package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
)

// authority signs certificates of agents. Its own is in a file.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, file}
}

func (a *authority) sign(t *testing.T, addresses []net.IP, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: addresses, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	here, elsewhere := []net.IP{net.IPv4(127, 0, 0, 1)}, []net.IP{net.IPv4(10, 0, 0, 1)}
	for name, test := range map[string]struct {
		certificate tls.Certificate
		file        string
		want        string // of the error
	}{
		"made out to the address":      {ours.sign(t, here), ours.file, ""},
		"made out to a name":           {ours.sign(t, nil, "agent-1"), ours.file, ""},
		"made out to another address":  {ours.sign(t, elsewhere), ours.file, "10.0.0.1"},
		"of another authority":         {others.sign(t, here), ours.file, "set LIBPROCESS_SSL_CA_FILE for the agent"},
		"a name, of another authority": {others.sign(t, nil, "agent-1"), ours.file, "set LIBPROCESS_SSL_CA_FILE for the agent"},
		"only the system's":            {ours.sign(t, here), "", "set LIBPROCESS_SSL_CA_FILE for the agent"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(answer(t, func(w http.ResponseWriter, _ *mesosexec.Call, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer secret" {
					t.Errorf("got Authorization %q", r.Header.Get("Authorization"))
				}
				w.WriteHeader(http.StatusAccepted)
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{test.certificate}}
			server.StartTLS()
			defer server.Close()
			for _, variable := range tlsVariables {
				e, err := ReadEnvironment(with(map[string]string{
					"MESOS_AGENT_ENDPOINT": server.Listener.Addr().String(), "MESOS_FRAMEWORK_ID": "f", "MESOS_EXECUTOR_ID": "e",
					TokenVariable: "secret", variable: "true", caVariable: test.file,
				}))
				if err != nil {
					t.Fatal(err)
				}
				c := NewClient(e)
				err = c.Message(context.Background(), []byte("x"))
				c.Close()
				if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("%s: got %v, want %q", variable, err, test.want)
				}
			}
		})
	}
}

func TestBadAuthorities(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(none, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{none, none + ".not"} {
		_, err := ReadEnvironment(with(map[string]string{"LIBPROCESS_SSL_ENABLED": "1", caVariable: file}))
		if err == nil || !strings.Contains(err.Error(), caVariable) {
			t.Errorf("%s: got %v, want an error that names the variable", file, err)
		}
		if _, err := ReadEnvironment(with(map[string]string{"LIBPROCESS_SSL_ENABLED": "0", caVariable: file})); err != nil {
			t.Errorf("%s, without TLS: got %v", file, err)
		}
	}
}
