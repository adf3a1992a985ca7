package apitest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// Artifacts implements api.Artifacts in memory. It believes what the path says of a file.
type Artifacts struct {
	mu    sync.Mutex
	files map[string]string
}

// Put keeps a file.
func (a *Artifacts) Put(_ context.Context, version, os, arch, sum string, body io.Reader) (proto.Artifact, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return proto.Artifact{}, err
	}
	got := sha256.Sum256(data)
	if hex.EncodeToString(got[:]) != sum {
		return proto.Artifact{}, refuse(scheduler.Invalid, "the body's SHA-256 is %x, not %s", got, sum)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.files == nil {
		a.files = map[string]string{}
	}
	a.files[sum] = string(data)
	artifact := Artifact(version, os, arch, sum)
	artifact.Size_ = int64(len(data))
	return artifact, nil
}

// Delete removes a file that is not needed.
func (a *Artifacts) Delete(_ context.Context, sum string, needed func() bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if needed() {
		return nil
	}
	delete(a.files, sum)
	return nil
}

// Hold does nothing: nothing is deleted behind a test's back.
func (a *Artifacts) Hold(string) (release func()) { return func() {} }

// MaxSize is that of the real thing.
func (a *Artifacts) MaxSize() int64 { return 2 << 30 }

// Has says whether a file is kept.
func (a *Artifacts) Has(sum string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.files[sum]
	return ok
}

func (a *Artifacts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	data, ok := a.files[strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")[0]]
	a.mu.Unlock()
	if !ok {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"type":"about:blank","title":"Not Found","status":404,"detail":"there is no such artefact"}`)
		return
	}
	_, _ = io.WriteString(w, data) // a test sees what is missing
}
