//go:build endtoend

package endtoend

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/build"
)

var (
	soak = flag.Bool("soak", false, "ten times as many faults")
	seed = flag.Uint64("seed", 0, "of the random moments; 0: a new one")
)

// bin has the built programs; top is the checkout.
var (
	bin string
	top string
)

// versions are the executor versions that the tests register; the first is stable.
var versions = []string{"0.1.0-e2e", "0.2.0-e2e"}

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	fmt.Printf("seed %d\n", *seed)
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	if top, err = filepath.Abs("../.."); err != nil {
		return 1, err
	}
	// The executors stay in the checkout's bin directory, as the demo's do: linking the engine takes long.
	bin = filepath.Join(top, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return 1, err
	}
	for _, name := range []string{"tidemill", "tidemill-dev"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, name), "./cmd/"+name)
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	for _, v := range append(slices.Clone(versions), stable) {
		if _, err := build.Executor(ctx, top, executorFile(v), v); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

func executorFile(version string) string { return filepath.Join(bin, "tidemill-executor-"+version) }
