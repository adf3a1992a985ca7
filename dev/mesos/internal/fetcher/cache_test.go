package fetcher

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cacheOf is a fetcher on a new cache, and a sandbox beside it on the same file system.
func cacheOf(t *testing.T) (f *Fetcher, sandbox string) {
	t.Helper()
	f, sandbox = New(filepath.Join(t.TempDir(), "cache")), filepath.Join(t.TempDir(), "sandbox")
	if err := os.Mkdir(sandbox, 0o755); err != nil {
		t.Fatal(err)
	}
	return f, sandbox
}

func modeOf(t *testing.T, file string) os.FileMode {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func listCache(t *testing.T, f *Fetcher) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(f.cacheDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestSandboxesShareTheCachedFile(t *testing.T) {
	server := serveArtefacts(t, map[string][]byte{"/tool": []byte("#!")})
	tests := []struct {
		name   string
		link   func(string, string) error
		shared bool
	}{
		{"linked", os.Link, true},
		{"copied", func(string, string) error { return &os.LinkError{Op: "link", Err: syscall.EXDEV} }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, sandbox := cacheOf(t)
			f.link = test.link
			server.asked = nil
			err := fetch(t, f, sandbox,
				uri(server.URL+"/tool", cached), uri(server.URL+"/tool", cached, to("again")),
				uri(server.URL+"/tool", cached, executable, to("run")), uri(server.URL+"/tool", cached, executable, to("run")))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Join(server.asked, ", "), "HEAD /tool, GET /tool"; got != want {
				t.Errorf("asked %s, want %s", got, want)
			}
			var infos []os.FileInfo
			for _, name := range []string{"tool", "again", "run"} {
				info, err := os.Stat(filepath.Join(sandbox, name))
				if err != nil {
					t.Fatal(err)
				}
				infos = append(infos, info)
			}
			if os.SameFile(infos[0], infos[1]) != test.shared {
				t.Errorf("shared: got %v, want %v", !test.shared, test.shared)
			}
			if os.SameFile(infos[0], infos[2]) {
				t.Error("an executable file and one that is none are the same")
			}
			if infos[0].Mode() != 0o444 || infos[2].Mode() != 0o555 {
				t.Errorf("got modes %v and %v", infos[0].Mode(), infos[2].Mode())
			}
		})
	}
}

// TestChmodInOneSandboxIsNotSeenInTheNext: the mode is the shared file's, so a file
// whose mode was changed is fetched anew.
func TestChmodInOneSandboxIsNotSeenInTheNext(t *testing.T) {
	server := serveArtefacts(t, map[string][]byte{"/tool": []byte("first")})
	f, sandbox := cacheOf(t)
	tool := uri(server.URL+"/tool", cached, executable)
	if err := fetch(t, f, sandbox, tool); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(sandbox, "tool")
	if err := os.Chmod(mine, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := t.TempDir()
	if err := fetch(t, f, next, tool); err != nil {
		t.Fatal(err)
	}
	if got := modeOf(t, filepath.Join(next, "tool")); got != 0o555 {
		t.Errorf("got mode %v", got)
	}
	if got, err := os.ReadFile(filepath.Join(next, "tool")); err != nil || string(got) != "first" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := modeOf(t, mine); got != 0o644 {
		t.Errorf("the first sandbox's file has now mode %v", got)
	}
}

func TestCollect(t *testing.T) {
	server := serveArtefacts(t, map[string][]byte{"/idle": []byte("idle"), "/held": []byte("held"), "/used": []byte("used")})
	f, sandbox := cacheOf(t)
	if removed, err := f.Collect(time.Now()); removed != 0 || err != nil {
		t.Errorf("without a cache: removed %d, %v", removed, err)
	}
	elsewhere := filepath.Join(sandbox, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, f, elsewhere, uri(server.URL+"/idle", cached), uri(server.URL+"/used", cached)); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, f, sandbox, uri(server.URL+"/held", cached)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(elsewhere); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(f.cacheDir, "given-up.part") // its agent was killed
	if err := os.WriteFile(part, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	for _, file := range listCache(t, f) {
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
	}
	// A use counts where nothing is linked too.
	f.link = func(string, string) error { return errors.New("no links here") }
	if err := fetch(t, f, t.TempDir(), uri(server.URL+"/used", cached)); err != nil {
		t.Fatal(err)
	}
	f.link = os.Link
	if removed, err := f.Collect(long); removed != 0 || err != nil {
		t.Errorf("all are used since: removed %d, %v", removed, err)
	}
	if removed, err := f.Collect(time.Now().Add(-time.Minute)); removed != 2 || err != nil {
		t.Errorf("removed %d, %v, want idle and the part", removed, err)
	}
	server.asked = nil
	err := fetch(t, f, sandbox, uri(server.URL+"/held", cached), uri(server.URL+"/used", cached), uri(server.URL+"/idle", cached))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(server.asked, ", "), "HEAD /idle, GET /idle"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}
