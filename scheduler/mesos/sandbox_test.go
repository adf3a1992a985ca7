package mesos

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// agent serves one file as a Mesos agent does: its bytes raw within a JSON string, control characters escaped.
type agent struct {
	*httptest.Server
	data []byte
}

func newAgent(t testing.TB, data string) *agent {
	a := &agent{data: []byte(data)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		switch {
		case r.URL.Path != "/files/read":
			w.WriteHeader(http.StatusBadRequest)
			return
		case query.Get("path") == "/secret/stdout":
			w.WriteHeader(http.StatusForbidden)
			return
		case query.Get("path") != "/sandbox/tasks/a b/stdout":
			w.WriteHeader(http.StatusNotFound)
			return
		}
		offset, err := strconv.Atoi(query.Get("offset"))
		if err != nil {
			t.Errorf("offset: %v", err)
		}
		page := []byte{}
		if offset < len(a.data) {
			length, err := strconv.Atoi(query.Get("length"))
			if err != nil {
				t.Errorf("length: %v", err)
			}
			page = a.data[offset:min(len(a.data), offset+length)]
		}
		if _, err := fmt.Fprintf(w, `{"data":%s,"offset":%d}`, quote(page), offset); err != nil {
			t.Logf("answer: %v", err)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// quote writes bytes as Mesos' JSON does.
func quote(data []byte) []byte {
	out := []byte{'"'}
	for _, c := range data {
		switch {
		case c == '"' || c == '\\' || c == '/':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, `\n`...)
		case c < 0x20 || c == 0x7f:
			out = fmt.Appendf(out, `\u%04x`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

func newSandbox(t *testing.T, cfg SandboxConfig) *Sandbox {
	t.Helper()
	box, err := NewSandbox(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

const logFile = "/sandbox/tasks/a b/stdout"

func TestSandboxReads(t *testing.T) {
	content := "first\nünïcödé €\x00\x7f\xff\xfe \"quoted\" \\ /\n"
	a := newAgent(t, content)
	box := newSandbox(t, SandboxConfig{})
	// Whatever the pages, also when they end within a character, the bytes are the same.
	for length := int64(1); length <= int64(len(content)); length++ {
		var got []byte
		for {
			part, err := box.ReadAt(t.Context(), a.URL, logFile, int64(len(got)), length)
			if err != nil {
				t.Fatal(err)
			}
			if len(part) == 0 {
				break
			}
			got = append(got, part...)
		}
		if string(got) != content {
			t.Fatalf("in pages of %d: got %q, want %q", length, got, content)
		}
	}
}

func TestSandboxRefuses(t *testing.T) {
	a := newAgent(t, "x")
	box := newSandbox(t, SandboxConfig{})
	for name, test := range map[string]struct {
		url, path string
		offset    int64
		want      error
	}{
		"no file":         {a.URL, "/sandbox/other", 0, ErrNoFile},
		"not allowed":     {a.URL, "/secret/stdout", 0, nil},
		"negative offset": {a.URL, logFile, -1, nil},
		"no URL":          {"", logFile, 0, nil},
		"odd URL":         {"file:///etc/passwd", logFile, 0, nil},
		"nobody there":    {"http://127.0.0.1:1", logFile, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := box.ReadAt(t.Context(), test.url, test.path, test.offset, 100)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestUnquoteIsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		got, err := unquote(quote(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	})
}

func TestUnquoteEscapes(t *testing.T) {
	for in, want := range map[string]string{
		`"\u00e9\ud83d\ude00"`: "é😀",
		`"\b\f\r\t\/"`:         "\b\f\r\t/",
		`"\ud83d!"`:            "\uFFFD!",
	} {
		if got, err := unquote([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{``, `"`, `x`, `"\"`, `"\u12"`, `"\u12zz"`, `"\x"`, `12`} {
		if got, err := unquote([]byte(in)); err == nil {
			t.Errorf("%s: got %q and no error", in, got)
		}
	}
}

func FuzzUnquote(f *testing.F) {
	f.Add([]byte(`"a\u00e9\ud83d\ude00\\"`))
	f.Add([]byte(`"\ud83d"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := unquote(data)
		if err == nil && len(out) > len(data) {
			t.Errorf("%d bytes became %d", len(data), len(out))
		}
	})
}
