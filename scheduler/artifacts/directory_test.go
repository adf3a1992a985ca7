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
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/proto/describe"
	"github.com/tidemill/tidemill/scheduler"
)

// binary is a file that describes itself as that version for linux-amd64.
func binary(version string) string {
	return "\x7fELF" + strings.Repeat("code ", 10_000) +
		describe.BlockMarker + `{"os":"linux","arch":"amd64","protocol":{"min":1,"max":1},"kinds":["aggregate"],"features":[]};` +
		describe.VersionMarker + version + ";" + strings.Repeat("data ", 10_000)
}

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func open(t *testing.T) *Directory {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func names(t *testing.T, d *Directory) []string {
	t.Helper()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestPut(t *testing.T) {
	d := open(t)
	content := binary("1.4.0")
	sum := sumOf(content)
	for range 2 { // the same again is as good
		got, err := d.Put(t.Context(), "1.4.0", "linux", "amd64", strings.ToUpper(sum), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if got.SHA256 != sum || got.Size_ != int64(len(content)) || got.OS != "linux" || got.Arch != "amd64" || got.Description.Version != "1.4.0" {
			t.Errorf("got %v", got)
		}
	}
	if diff := cmp.Diff([]string{sum}, names(t, d)); diff != "" {
		t.Errorf("files: %s", diff)
	}
	if !d.Has(sum) || d.Has(sumOf("other")) || d.Has("../"+sum) {
		t.Error("has: wrong answer")
	}
	for range 2 {
		if err := d.Delete(t.Context(), sum); err != nil {
			t.Fatal(err)
		}
	}
	if len(names(t, d)) != 0 {
		t.Errorf("files after delete: %v", names(t, d))
	}
	if err := d.Delete(t.Context(), "../../etc/passwd"); err == nil {
		t.Error("delete of a path: got no error")
	}
}

func TestPutRefuses(t *testing.T) {
	good := binary("1.4.0")
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
		"other version":    {content: binary("1.5.0"), kind: scheduler.Invalid, contains: "is executor version 1.5.0 for linux-amd64, not 1.4.0"},
		"other platform":   {content: strings.Replace(good, "amd64", "arm64", 1), kind: scheduler.Invalid, contains: "linux-arm64"},
		"not an executor":  {content: "#!/bin/sh\n", kind: scheduler.Invalid, contains: "no tidemill executor"},
		"empty":            {content: "", kind: scheduler.Invalid, contains: "no tidemill executor"},
		"broken off":       {content: good, body: io.MultiReader(strings.NewReader(good[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)), kind: scheduler.Invalid, contains: "broke off after 100 bytes"},
		"too large":        {content: good, max: 1000, contains: "too large"},
		"client has gone":  {ctx: cancelled, content: good, contains: "canceled"},
		"client goes away": {content: good, body: &cutReader{content: good}, contains: "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
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

// cutReader ends its context after the first piece.
type cutReader struct {
	content string
	cancel  context.CancelFunc
}

func (r *cutReader) Read(p []byte) (int, error) {
	n := copy(p, r.content[:1000])
	r.cancel()
	return n, nil
}

func TestOpenRemovesAbandonedUploads(t *testing.T) {
	path := t.TempDir()
	for name, age := range map[string]time.Duration{uploadPrefix + "old": 2 * time.Hour, uploadPrefix + "new": 0, sumOf("x"): 1000 * time.Hour} {
		file := filepath.Join(path, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{uploadPrefix + "new", sumOf("x")}, names(t, d)); diff != "" {
		t.Errorf("files: %s", diff)
	}
}

func TestServe(t *testing.T) {
	d := open(t)
	content := binary("1.4.0")
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
