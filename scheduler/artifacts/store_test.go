package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/proto/describe"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

// amd64 begins an ELF file of 64 bits for x86-64.
const amd64 = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"

// program is a file that describes itself as that version for linux-amd64.
func program(version string) string {
	return amd64 + strings.Repeat("code ", 10_000) +
		describe.BlockMarker + `{"os":"linux","arch":"amd64","protocol":{"min":1,"max":1},"kinds":["aggregate"],"features":[]};` +
		describe.VersionMarker + version + ";" + strings.Repeat("data ", 10_000)
}

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// folders gives an empty place in each kind of object storage.
var folders = map[string]func(t *testing.T) storage.Store{"file": newFolder, "S3": newBucket}

func newFolder(t *testing.T) storage.Store {
	t.Helper()
	objects, err := file.Open(file.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// open makes a store over objects. Nothing may be left in its spool.
func open(t *testing.T, objects storage.Store) *Store {
	t.Helper()
	spool := t.TempDir()
	t.Cleanup(func() {
		if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
			t.Errorf("left in the spool: %v, %v", left, err)
		}
	})
	return New(objects, spool)
}

func names(t *testing.T, s *Store) []string {
	t.Helper()
	out := []string{}
	for object, err := range s.objects.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, object.Key)
	}
	return out
}

func has(t *testing.T, s *Store, sum string) bool {
	t.Helper()
	there, err := s.Has(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func TestPut(t *testing.T) {
	for name, objects := range folders {
		t.Run(name, func(t *testing.T) { testPut(t, open(t, objects(t))) })
	}
}

func testPut(t *testing.T, s *Store) {
	content := program("1.4.0")
	sum := sumOf(content)
	for range 2 { // the same again is as good
		got, err := s.Put(t.Context(), "1.4.0", "linux", "amd64", strings.ToUpper(sum), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if got.SHA256 != sum || got.Size_ != int64(len(content)) || got.OS != "linux" || got.Arch != "amd64" || got.Description.Version != "1.4.0" {
			t.Errorf("got %v", got)
		}
	}
	if diff := cmp.Diff([]string{"artifacts/" + sum}, names(t, s)); diff != "" {
		t.Errorf("objects: %s", diff)
	}
	if !has(t, s, sum) || has(t, s, sumOf("other")) || has(t, s, "../"+sum) {
		t.Error("has: wrong answer")
	}
	for range 2 {
		if err := s.Delete(t.Context(), sum, unneeded); err != nil {
			t.Fatal(err)
		}
	}
	if len(names(t, s)) != 0 {
		t.Errorf("objects after delete: %v", names(t, s))
	}
	if err := s.Delete(t.Context(), "../../etc/passwd", unneeded); err == nil {
		t.Error("delete of a path: got no error")
	}
}

// A file that something else has spoilt is replaced by a good one.
func TestPutRepairs(t *testing.T) {
	s := open(t, newFolder(t))
	content := program("1.4.0")
	sum := sumOf(content)
	if _, err := storage.WriteAll(t.Context(), s.objects, "artifacts/"+sum, []byte("cut"), storage.Always); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "1.4.0", "linux", "amd64", sum, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	got, _, err := storage.ReadAll(t.Context(), s.objects, "artifacts/"+sum, 1<<20)
	if err != nil || string(got) != content {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(content))
	}
}

// What a version before object storage has left in a data directory is found.
func TestOldDirectory(t *testing.T) {
	root := t.TempDir()
	content := program("1.4.0")
	sum := sumOf(content)
	if err := os.MkdirAll(filepath.Join(root, "artifacts"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "artifacts", sum), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	objects, err := file.Open(file.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, objects)
	if !has(t, s, sum) {
		t.Error("the file is not found")
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/"+sum+"/tidemill-executor", nil))
	if answer.Code != 200 || answer.Body.String() != content {
		t.Errorf("got %d and %d bytes", answer.Code, answer.Body.Len())
	}
}

func TestPutRefuses(t *testing.T) {
	good := program("1.4.0")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx      context.Context
		content  string
		sum      string
		body     io.Reader
		max      int64
		kind     scheduler.ErrorKind // "" if another kind of error is expected
		contains string
	}{
		"wrong sum":        {content: good, sum: sumOf("other"), kind: scheduler.Invalid, contains: "not " + sumOf("other")},
		"no sum":           {content: good, sum: "abc", kind: scheduler.Invalid, contains: "64 hex digits"},
		"path as a sum":    {content: good, sum: "../../../../etc/passwd", kind: scheduler.Invalid, contains: "64 hex digits"},
		"other version":    {content: program("1.5.0"), kind: scheduler.Invalid, contains: "is executor version 1.5.0 for linux-amd64, not 1.4.0"},
		"other platform":   {content: strings.Replace(good, "amd64", "arm64", 1), kind: scheduler.Invalid, contains: "linux-arm64"},
		"other machine":    {content: strings.Replace(good, "\x3e\x00", "\xb7\x00", 1), kind: scheduler.Invalid, contains: "EM_AARCH64"},
		"no program":       {content: "#!/bin/sh\n# " + good[len(amd64):], kind: scheduler.Invalid, contains: "no ELF program"},
		"not an executor":  {content: "#!/bin/sh\n", kind: scheduler.Invalid, contains: "no tidemill executor"},
		"empty":            {content: "", kind: scheduler.Invalid, contains: "no tidemill executor"},
		"broken off":       {content: good, body: io.MultiReader(strings.NewReader(good[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)), kind: scheduler.Invalid, contains: "broke off after 100 bytes"},
		"too large":        {content: good, max: 1000, contains: "too large"},
		"client has gone":  {ctx: cancelled, content: good, contains: "canceled"},
		"client goes away": {content: good, body: &cutReader{content: good}, contains: "canceled"},
		"client breaks it": {content: good, body: &cutReader{content: good, err: io.ErrUnexpectedEOF}, contains: "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, newFolder(t))
			if test.max > 0 {
				d.maxSize = test.max
			}
			if test.sum == "" {
				test.sum = sumOf(test.content)
			}
			if test.body == nil {
				test.body = strings.NewReader(test.content)
			}
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if cut, ok := test.body.(*cutReader); ok {
				ctx, cut.cancel = context.WithCancel(ctx)
			}
			_, err := d.Put(ctx, "1.4.0", "linux", "amd64", test.sum, test.body)
			if err == nil || !strings.Contains(err.Error(), test.contains) {
				t.Errorf("got %v, want %q", err, test.contains)
			}
			var refused *scheduler.Error
			if errors.As(err, &refused) != (test.kind != "") || refused != nil && refused.Kind != test.kind {
				t.Errorf("got %v, want kind %q", err, test.kind)
			}
			if test.max > 0 && !errors.As(err, new(*http.MaxBytesError)) {
				t.Errorf("got %v, want a MaxBytesError", err)
			}
			if left := names(t, d); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A full disk here may have room again, and leaves nothing in the storage.
func TestSpoolIsFull(t *testing.T) {
	s := open(t, newFolder(t))
	s.temporary = func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
	content := program("1.4.0")
	_, err := s.Put(t.Context(), "1.4.0", "linux", "amd64", sumOf(content), strings.NewReader(content))
	var refused *scheduler.Error
	if !errors.As(err, &refused) || refused.Kind != scheduler.Unavailable || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v, want it to be unavailable", err)
	}
	if left := names(t, s); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// cutReader ends its context after the first piece.
type cutReader struct {
	content string
	cancel  context.CancelFunc
	err     error // of reading, which the server gives in its own words
}

func (r *cutReader) Read(p []byte) (int, error) {
	n := copy(p, r.content[:1000])
	r.cancel()
	return n, r.err
}

func TestServe(t *testing.T) {
	for name, objects := range folders {
		t.Run(name, func(t *testing.T) { testServe(t, open(t, objects(t))) })
	}
}

func testServe(t *testing.T, d *Store) {
	content := program("1.4.0")
	sum := sumOf(content)
	if _, err := d.Put(t.Context(), "1.4.0", "linux", "amd64", sum, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	etag := `"` + sum + `"`
	for name, test := range map[string]struct {
		method, path string
		header       [2]string
		status       int
		body         string
	}{
		"get":          {http.MethodGet, "/" + sum + "/tidemill-executor", [2]string{}, 200, content},
		"head":         {http.MethodHead, "/" + sum + "/tidemill-executor", [2]string{}, 200, ""},
		"suffix":       {http.MethodGet, "/" + sum + "/tidemill-executor", [2]string{"Range", "bytes=-5"}, 206, "data "},
		"range":        {http.MethodGet, "/" + sum + "/tidemill-executor", [2]string{"Range", "bytes=1-3"}, 206, "ELF"},
		"bad range":    {http.MethodGet, "/" + sum + "/tidemill-executor", [2]string{"Range", "bytes=9999999-"}, 416, ""},
		"known":        {http.MethodGet, "/" + sum + "/tidemill-executor", [2]string{"If-None-Match", etag}, 304, ""},
		"other name":   {http.MethodGet, "/" + sum + "/other", [2]string{}, 404, ""},
		"no name":      {http.MethodGet, "/" + sum, [2]string{}, 404, ""},
		"unknown":      {http.MethodGet, "/" + sumOf("x") + "/tidemill-executor", [2]string{}, 404, ""},
		"parent":       {http.MethodGet, "/../tidemill-executor", [2]string{}, 404, ""},
		"the root":     {http.MethodGet, "/", [2]string{}, 404, ""},
		"upper case":   {http.MethodGet, "/" + strings.ToUpper(sum) + "/tidemill-executor", [2]string{}, 404, ""},
		"not to write": {http.MethodPut, "/" + sum + "/tidemill-executor", [2]string{}, 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(test.method, "http://127.0.0.1/", nil)
			request.URL.Path = test.path
			if test.header[0] != "" {
				request.Header.Set(test.header[0], test.header[1])
			}
			answer := httptest.NewRecorder()
			d.ServeHTTP(answer, request)
			if answer.Code != test.status {
				t.Fatalf("status: got %d, want %d", answer.Code, test.status)
			}
			switch header := answer.Header(); {
			case test.status < 400:
				if header.Get("ETag") != etag || !strings.Contains(header.Get("Cache-Control"), "immutable") {
					t.Errorf("headers: got %v", header)
				}
				if test.status < 300 && !bytes.Equal(answer.Body.Bytes(), []byte(test.body)) {
					t.Errorf("body: got %d bytes, want %d", answer.Body.Len(), len(test.body))
				}
			case test.status != 416:
				if header.Get("Content-Type") != "application/problem+json" || header.Get("Cache-Control") != "" {
					t.Errorf("headers: got %v", header)
				}
			}
			if name == "head" && answer.Header().Get("Content-Length") == "" {
				t.Error("HEAD has no length")
			}
		})
	}
}

// broken fails as a storage does that is down, from a call on.
type broken struct {
	storage.Store
	stat error
	cut  int64 // bytes that a body gives before it fails; 0: all
}

func (b *broken) Stat(ctx context.Context, key string) (storage.Object, error) {
	if b.stat != nil {
		return storage.Object{}, b.stat
	}
	return b.Store.Stat(ctx, key)
}

func (b *broken) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	body, object, err := b.Store.Get(ctx, key, r)
	if err != nil || b.cut == 0 {
		return body, object, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(body, b.cut), iotest.ErrReader(storage.ErrUnavailable)), body}, object, nil
}

func TestStorageIsDown(t *testing.T) {
	down := &broken{Store: newFolder(t)}
	s := open(t, down)
	content := program("1.4.0")
	sum := sumOf(content)
	if _, err := s.Put(t.Context(), "1.4.0", "linux", "amd64", sum, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}

	down.stat = storage.ErrUnavailable
	var refused *scheduler.Error
	if _, err := s.Put(t.Context(), "1.4.0", "linux", "amd64", sum, strings.NewReader(content)); !errors.As(err, &refused) || refused.Kind != scheduler.Unavailable {
		t.Errorf("put: got %v, want it to be unavailable", err)
	}
	if _, err := s.Has(t.Context(), sum); !errors.As(err, &refused) || refused.Kind != scheduler.Unavailable {
		t.Errorf("has: got %v, want it to be unavailable", err)
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest(http.MethodHead, "/"+sum+"/tidemill-executor", nil))
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
		t.Errorf("HEAD: got %d, %v, want 503 with Retry-After", answer.Code, answer.Header())
	}

	// What breaks off in the middle is not taken for a shorter file.
	down.stat, down.cut = nil, 1000
	server := httptest.NewServer(s)
	defer server.Close()
	response, err := server.Client().Get(server.URL + "/" + sum + "/tidemill-executor")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err == nil || len(got) > 1000 {
		t.Errorf("got %d bytes and error %v, want 1000 and an error", len(got), err)
	}
}
