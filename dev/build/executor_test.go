package build

import (
	"bytes"
	"context"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/proto/describe"
)

// glibc are the libraries that every agent has.
var glibc = []string{"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2",
	"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}

func TestExecutor(t *testing.T) {
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "tidemill-executor")
	took, err := Executor(t.Context(), repo, out, "1.5.0-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built in %v", took)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("asks for glibc only", func(t *testing.T) { checkLibraries(t, out) })
	t.Run("is stripped", func(t *testing.T) { checkSections(t, out) })
	t.Run("describes itself", func(t *testing.T) { checkDescription(t, out, data) })
	t.Run("names no folder of this machine", func(t *testing.T) {
		if i := bytes.Index(data, []byte(repo+"/")); i >= 0 {
			t.Errorf("got %q", data[max(0, i-50):min(len(data), i+150)])
		}
	})
	t.Run("is built again with the same bytes", func(t *testing.T) {
		if _, err := Executor(t.Context(), repo, out, "1.5.0-test"); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, again) {
			t.Error("the bytes differ")
		}
	})
}

func checkLibraries(t *testing.T, out string) {
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range libraries {
		if !slices.Contains(glibc, library) {
			t.Errorf("it needs %s", library)
		}
	}
	if !slices.Contains(libraries, "libm.so.6") {
		t.Errorf("got %v: was it built without the engine?", libraries)
	}
}

func checkSections(t *testing.T, out string) {
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, section := range f.Sections {
		if section.Name == ".symtab" || strings.HasPrefix(section.Name, ".debug") || strings.HasPrefix(section.Name, ".zdebug") {
			t.Errorf("it has %s of %d bytes", section.Name, section.Size)
		}
	}
}

// checkDescription compares what is read from the file with what the program prints.
func checkDescription(t *testing.T, out string, data []byte) {
	read, err := describe.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if read.Version != "1.5.0-test" || read.OS != runtime.GOOS || read.Arch != runtime.GOARCH {
		t.Errorf("got %+v", read)
	}
	printed, err := exec.Command(out, "--describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(describe.JSON(read))+"\n", string(printed)); diff != "" {
		t.Errorf("read from the file (-), printed (+): %s", diff)
	}
	version, err := exec.Command(out, "--version").Output()
	if err != nil || string(version) != "1.5.0-test\n" {
		t.Errorf("got version %q, %v", version, err)
	}
}

func TestExecutorRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x")
	if _, err := Executor(t.Context(), "../..", out, "1.0 beta"); err == nil || !strings.Contains(err.Error(), `character ' '`) {
		t.Errorf("a bad version: got %v", err)
	}
	empty := t.TempDir()
	if _, err := Executor(t.Context(), empty, out, "1"); err == nil || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("no checkout: got %v, want what the go command says", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Executor(ctx, "../..", out, "1"); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("cancelled: got %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed build left a file")
	}
}
