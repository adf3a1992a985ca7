package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tidemill/tidemill/proto/describe"
)

// Behaviour is what dev/endtoend/shortrun can be made to do; the zero value ends each run at once.
type Behaviour struct {
	Fail  int           // percent of runs that fail, the same ones in each build with that percentage
	Sleep time.Duration // how long a run takes
	Rows  int           // that a run says it has read
}

// Short builds dev/endtoend/shortrun of the checkout in repoDir, an executor without an engine, into the file out. The
// rest is as for [Executor], but that no C++ compiler is needed and that it takes seconds.
func Short(ctx context.Context, repoDir, out, version string, b Behaviour) error {
	if err := describe.CheckVersion(version); err != nil {
		return fmt.Errorf("build executor: %w", err)
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("build executor: %w", err)
	}
	flags := fmt.Sprintf("-s -w -X %s=%s%s; -X main.fail=%s -X main.sleep=%s -X main.rows=%s",
		stampVariable, describe.VersionMarker, version, strconv.Itoa(b.Fail), b.Sleep, strconv.Itoa(b.Rows))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags="+flags, "-o", out, "./dev/endtoend/shortrun")
	cmd.Dir = repoDir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build executor %s: %w\n%s", version, err, bytes.TrimSpace(said))
	}
	return nil
}
