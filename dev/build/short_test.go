package build

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/proto/describe"
)

// An executor that does no work can be registered like one that does.
func TestShort(t *testing.T) {
	out := filepath.Join(t.TempDir(), "shortrun")
	if err := Short(t.Context(), "../..", out, "1.6.0-test", Behaviour{Fail: 50, Sleep: time.Second, Rows: 7}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	read, err := describe.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if read.Version != "1.6.0-test" {
		t.Errorf("got %+v", read)
	}
	printed, err := exec.Command(out, "--describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(describe.JSON(read))+"\n", string(printed)); diff != "" {
		t.Errorf("read from the file (-), printed (+): %s", diff)
	}
	if err := Short(t.Context(), "../..", out, "1.6.0-test", Behaviour{Fail: 101}); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(out, "--describe").CombinedOutput(); err == nil {
		t.Errorf("101 %% of runs: got %s", said)
	}
}
