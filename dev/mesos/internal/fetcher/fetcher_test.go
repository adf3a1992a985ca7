package fetcher

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// artefacts serves files and notes what it is asked.
type artefacts struct {
	*httptest.Server
	files map[string][]byte
	mu    sync.Mutex
	asked []string
}

func serveArtefacts(t *testing.T, files map[string][]byte) *artefacts {
	a := &artefacts{files: files}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r.Method+" "+r.URL.Path)
		a.mu.Unlock()
		content, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(content) //nolint:errcheck // the test looks at what arrived
	}))
	t.Cleanup(a.Close)
	return a
}

func uri(value string, change ...func(*v1.CommandInfo_URI)) v1.CommandInfo_URI {
	no := false
	u := v1.CommandInfo_URI{Value: value, Extract: &no}
	for _, do := range change {
		do(&u)
	}
	return u
}

func yes() *bool { b := true; return &b }

func cached(u *v1.CommandInfo_URI)     { u.Cache = yes() }
func executable(u *v1.CommandInfo_URI) { u.Executable = yes() }
func extracted(u *v1.CommandInfo_URI)  { u.Extract = yes() }
func to(name string) func(*v1.CommandInfo_URI) {
	return func(u *v1.CommandInfo_URI) { u.OutputFile = &name }
}

func fetch(t *testing.T, f *Fetcher, sandbox string, uris ...v1.CommandInfo_URI) error {
	t.Helper()
	return f.Fetch(context.Background(), "root", uris, sandbox, io.Discard)
}

func TestFetch(t *testing.T) {
	server := serveArtefacts(t, map[string][]byte{"/a/tool": []byte("#!")})
	sandbox, local := t.TempDir(), filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := fetch(t, New(t.TempDir()), sandbox,
		uri(server.URL+"/a/tool?x=1"), uri(server.URL+"/a/tool", executable, to("bin/run")),
		uri(local), uri("file://"+local, to("copy")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"tool": "#!", "bin/run": "#!", "local": "here", "copy": "here"} {
		if got, err := os.ReadFile(filepath.Join(sandbox, name)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]os.FileMode{"tool": 0o644, "bin/run": 0o755} {
		if info, err := os.Stat(filepath.Join(sandbox, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: got mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestCacheAsksOnce(t *testing.T) {
	server := serveArtefacts(t, map[string][]byte{"/tool": bytes.Repeat([]byte("x"), 1<<20)})
	f := New(t.TempDir())
	var all sync.WaitGroup
	for range 8 {
		sandbox := t.TempDir()
		all.Go(func() {
			if err := fetch(t, f, sandbox, uri(server.URL+"/tool", cached)); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(filepath.Join(sandbox, "tool")); err != nil || info.Size() != 1<<20 {
				t.Errorf("not whole: %v", err)
			}
		})
	}
	all.Wait()
	if got, want := strings.Join(server.asked, ", "), "HEAD /tool, GET /tool"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	// Another user has a cache of his own.
	err := f.Fetch(context.Background(), "other", []v1.CommandInfo_URI{uri(server.URL+"/tool", cached)}, t.TempDir(), io.Discard)
	if err != nil || len(server.asked) != 4 {
		t.Errorf("asked %v, %v", server.asked, err)
	}
	// Another agent on the same directory has it too.
	if err := fetch(t, New(f.cacheDir), t.TempDir(), uri(server.URL+"/tool", cached)); err != nil || len(server.asked) != 4 {
		t.Errorf("asked %v, %v", server.asked, err)
	}
}

func TestFailuresAreNotCached(t *testing.T) {
	server := serveArtefacts(t, map[string][]byte{})
	f := New(t.TempDir())
	err := fetch(t, f, t.TempDir(), uri(server.URL+"/tool", cached))
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Fatalf("got %v", err)
	}
	server.files["/tool"] = []byte("now")
	if err := fetch(t, f, t.TempDir(), uri(server.URL+"/tool", cached)); err != nil {
		t.Error(err)
	}
}

func TestWhoGivesUpDoesNotSpoilItForOthers(t *testing.T) {
	asked, answer := make(chan struct{}, 8), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-answer:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	f := New(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan error, 2)
	go func() {
		results <- f.Fetch(ctx, "root", []v1.CommandInfo_URI{uri(server.URL+"/tool", cached)}, t.TempDir(), io.Discard)
	}()
	<-asked
	go func() { results <- fetch(t, f, t.TempDir(), uri(server.URL+"/tool", cached)) }()
	cancel()
	if err := <-results; err == nil {
		t.Error("who gave up got it")
	}
	close(answer)
	if err := <-results; err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	for _, u := range []v1.CommandInfo_URI{
		uri("s3://bucket/key"), uri("relative/path"), uri("/no/such/file"), uri("http://127.0.0.1:1/"),
		uri("/etc/hostname", to("../out")), uri("/etc/hostname", to("/tmp/out")), uri("http://127.0.0.1:1"),
	} {
		if err := fetch(t, New(t.TempDir()), t.TempDir(), u); err == nil || !strings.Contains(err.Error(), u.Value) {
			t.Errorf("%v: got %v", u, err)
		}
	}
}

func archive(t *testing.T, entries map[string]string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	out := tar.NewWriter(zip)
	for name, content := range entries {
		header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := out.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestExtract(t *testing.T) {
	server := serveArtefacts(t, map[string][]byte{
		"/good.tar.gz": archive(t, map[string]string{"dir/tool": "x"}),
		"/bad.tgz":     archive(t, map[string]string{"../tool": "x"}),
	})
	sandbox := t.TempDir()
	if err := fetch(t, New(t.TempDir()), sandbox, uri(server.URL+"/good.tar.gz", extracted)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(sandbox, "dir", "tool")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("not unpacked: %v", err)
	}
	inner := filepath.Join(sandbox, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, New(t.TempDir()), inner, uri(server.URL+"/bad.tgz", extracted)); err == nil {
		t.Error("an entry outside the sandbox was unpacked")
	}
	if _, err := os.Stat(filepath.Join(sandbox, "tool")); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
}
