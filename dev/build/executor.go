package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemill/tidemill/proto/describe"
)

// stampVariable is what the linker sets; see executor/describe.
const stampVariable = "github.com/tidemill/tidemill/executor/describe.stamp"

// Executor builds cmd/tidemill-executor of the checkout in repoDir, stamped with version, into the file out, for this
// platform. It needs the go command and a C++ compiler, blocks until they are done or ctx ends, and prints nothing: what
// the tools said is in the error. The same checkout and version give the same bytes on the same machine, and at
// once if out has them already. It returns how long it took.
func Executor(ctx context.Context, repoDir, out, version string) (time.Duration, error) {
	begun := time.Now()
	if err := describe.CheckVersion(version); err != nil {
		return 0, fmt.Errorf("build executor: %w", err)
	}
	repoDir, err := filepath.Abs(repoDir)
	if err != nil {
		return 0, fmt.Errorf("build executor: %w", err)
	}
	out, err = filepath.Abs(out)
	if err != nil {
		return 0, fmt.Errorf("build executor: %w", err)
	}
	static, err := staticLibraries(ctx, repoDir)
	if err != nil {
		return 0, err
	}
	_, err = run(ctx, repoDir, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags="+linkerFlags(version, static), "-o", out, "./cmd/tidemill-executor")
	if err != nil {
		return 0, fmt.Errorf("build executor %s: %w", version, err)
	}
	return time.Since(begun), nil
}

// linkerFlags strip the binary and leave out what nothing calls: a smaller file is fetched, checked and started faster.
// DuckDB's Go module asks for -lstdc++ and -rdynamic by itself, so the flags that would usually link the library
// statically have no effect: a folder that only has the static one is searched first.
func linkerFlags(version, static string) string {
	external := []string{"-L" + static, "-static-libgcc", "-Wl,--no-export-dynamic", "-Wl,--gc-sections"}
	return fmt.Sprintf("-s -w -X %s=%s%s; -extldflags '%s'",
		stampVariable, describe.VersionMarker, version, strings.Join(external, " "))
}

// staticLibraries is a folder with libstdc++.a and nothing else. Its path is always the same: it is part of what the
// go command compares to know whether a binary is up to date.
func staticLibraries(ctx context.Context, repoDir string) (string, error) {
	if strings.ContainsAny(repoDir, " '\"") {
		return "", fmt.Errorf("build executor: the path %q has a space or quote, which linkers do not take", repoDir)
	}
	compiler, err := run(ctx, repoDir, "go", "env", "CXX")
	if err != nil {
		return "", fmt.Errorf("find C++ compiler: %w", err)
	}
	words := strings.Fields(compiler)
	if len(words) == 0 {
		return "", errors.New("find C++ compiler: go env CXX is empty")
	}
	library, err := run(ctx, repoDir, words[0], append(words[1:], "-print-file-name=libstdc++.a")...)
	if err != nil {
		return "", fmt.Errorf("find static libstdc++ (a C++ compiler is needed): %w", err)
	}
	library = strings.TrimSpace(library)
	if !filepath.IsAbs(library) {
		return "", fmt.Errorf("find static libstdc++: %s has none", words[0])
	}
	dir := filepath.Join(repoDir, "bin", "static")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("link static libstdc++: %w", err)
	}
	return dir, link(library, filepath.Join(dir, "libstdc++.a"))
}

// link makes the symbolic link name point at target; others may do the same at the same time.
func link(target, name string) error {
	if now, err := os.Readlink(name); err == nil && now == target {
		return nil
	}
	fresh := fmt.Sprintf("%s.%d.%d", name, os.Getpid(), time.Now().UnixNano())
	if err := os.Symlink(target, fresh); err != nil {
		return fmt.Errorf("link static libstdc++: %w", err)
	}
	if err := os.Rename(fresh, name); err != nil {
		return fmt.Errorf("link static libstdc++: %w", err)
	}
	return nil
}

// run gives what the command wrote to its standard output; the error has what it said besides.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, args[0], err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String(), nil
}
