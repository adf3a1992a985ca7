package service

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/scheduler/artifacts"
)

// With keys configured, what nobody has vouched for is not registered.
func TestExecutorsMustBeSigned(t *testing.T) {
	l := newLab(t, nil)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	l.cfg.Executor.KeysFile = filepath.Join(t.TempDir(), "keys.pem")
	text := "# ci\n" + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err := os.WriteFile(l.cfg.Executor.KeysFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	url, _ := l.run()
	c := l.client(url)
	version, content := artifact()
	upload := client.Upload{Version: version, Platform: "linux-amd64", File: strings.NewReader(content)}
	var refused *wire.Error
	if _, _, err := c.Register(t.Context(), upload); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		t.Errorf("without a signature: got %v", err)
	}
	upload.Sign = func(sum string) []byte { return ed25519.Sign(private, artifacts.SignedText(sum)) }
	executor, created, err := c.Register(t.Context(), upload)
	if err != nil || !created || executor.Artifacts[0].SignedBy != "ci" || executor.RegisteredBy != "anonymous" {
		t.Errorf("with one: got %+v, %v, %v", executor, created, err)
	}
}

func TestBadKeysEndTheService(t *testing.T) {
	cfg := newLab(t, nil).cfg
	cfg.Executor.KeysFile = filepath.Join(t.TempDir(), "none.pem")
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--executor-keys-file") || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("got %v", err)
	}
}
