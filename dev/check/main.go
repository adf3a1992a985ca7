package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "format, vet and unit tests only, without the race detector")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	t := tally{}
	begin := time.Now()
	for _, s := range steps(*quick) {
		s.run(ctx, &t)
		if ctx.Err() != nil {
			fmt.Println("interrupted")
			break
		}
	}
	fmt.Printf("took %s\n", time.Since(begin).Round(time.Second))
	for _, name := range t.failures {
		fmt.Println("FAILED", name)
	}
	fmt.Printf("%d passed, %d failed\n", t.passed, len(t.failures))
	if len(t.failures) > 0 || ctx.Err() != nil {
		os.Exit(1)
	}
}

// tally counts what passed and names what failed.
type tally struct {
	passed   int
	failures []string
}

func (t *tally) pass()            { t.passed++ }
func (t *tally) fail(name string) { t.failures = append(t.failures, name) }

// step is one thing that is checked.
type step struct {
	name  string
	check func(ctx context.Context, t *tally) (detail string, err error)
}

func (s step) run(ctx context.Context, t *tally) {
	fmt.Printf("== %s\n", s.name)
	begin := time.Now()
	detail, err := s.check(ctx, t)
	if detail != "" {
		detail = ", " + detail
	}
	if err != nil {
		fmt.Printf("%v\n== %s: FAILED after %s%s\n", err, s.name, time.Since(begin).Round(100*time.Millisecond), detail)
		return
	}
	fmt.Printf("== %s: ok in %s%s\n", s.name, time.Since(begin).Round(100*time.Millisecond), detail)
}

// steps lists what is checked, cheapest first.
func steps(quick bool) []step {
	format := single("format", unformatted)
	vet := single("vet", func(ctx context.Context) error { return command(ctx, "go", "vet", "./...") })
	if quick {
		return []step{format, vet, goTest("unit tests", "-short", "./...")}
	}
	return []step{
		format,
		single("browser for the dashboard's test", install("chromium", "chromium", "fonts-dejavu-core")),
		single("java for ZooKeeper and HDFS", install("java", "openjdk-17-jre-headless")),
		single("maven to fetch ZooKeeper and HDFS", install("mvn", "maven")),
		single("curl for what the documentation shows", install("curl", "curl")),
		single("jq for the same", install("jq", "jq")),
		single("promtool for the alert rules", promtool),
		single("MinIO, another S3", func(ctx context.Context) error { return command(ctx, "go", "run", "./dev/minio/build") }),
		vet,
		single("staticcheck", func(ctx context.Context) error { return command(ctx, "go", "tool", "staticcheck", "./...") }),
		single("scheduler without cgo", buildWithoutCgo),
		goTest("unit tests, conformance", "-race", "-timeout=10m", "./..."),
		goTest("simulation, 2,000 new seeds", "-race", "-timeout=10m", "-run=^TestSimulation$", "./scheduler", "-args", "-sim.seeds=2000"),
		goTest("end to end and faults", "-race", "-timeout=20m", "-tags=endtoend", "./dev/endtoend/..."),
		goTest("300 random aggregations, beside DuckDB and Spark", "-timeout=20m", "-tags=endtoend", "-run=^TestOracle", "./executor/aggregate", "-args", "-oracle.count=300"),
		single("demo", func(ctx context.Context) error { return command(ctx, "go", "run", "./cmd/tidemill-dev", "demo") }),
	}
}

// single makes a step that counts as one test.
func single(name string, check func(context.Context) error) step {
	return step{name, func(ctx context.Context, t *tally) (string, error) {
		err := check(ctx)
		if err != nil {
			t.fail(name)
			return "", err
		}
		t.pass()
		return "", nil
	}}
}

// command runs a program in the top directory; its output is in the error if it fails.
func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s\n%s %s: %w", bytes.TrimSpace(out), name, strings.Join(args, " "), err)
	}
	return nil
}

// unformatted fails if a Go file is not as gofmt would have it.
func unformatted(ctx context.Context) error {
	files, err := exec.CommandContext(ctx, "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go").Output()
	if err != nil {
		return fmt.Errorf("list Go files: %w", err)
	}
	out, err := exec.CommandContext(ctx, "gofmt", append([]string{"-l"}, strings.Fields(string(files))...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("gofmt: %w\n%s", err, out)
	}
	if len(out) > 0 {
		return fmt.Errorf("not formatted:\n%s", bytes.TrimSpace(out))
	}
	return nil
}

// install installs Debian packages where that is possible and the program that they bring is missing. Where it is not
// possible, the tests that need the program say so.
func install(program string, packages ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, err := exec.LookPath(program); err == nil || os.Geteuid() != 0 {
			return nil
		}
		if _, err := exec.LookPath("apt-get"); err != nil {
			return nil
		}
		if err := command(ctx, "apt-get", "update", "-q"); err != nil {
			return err
		}
		return command(ctx, "apt-get", append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)...)
	}
}

// promtool gets the program out of Debian's package, where that is possible and it is missing. Installing the package
// would start a Prometheus, too.
func promtool(ctx context.Context) error {
	if _, err := exec.LookPath("promtool"); err == nil || os.Geteuid() != 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil
	}
	if err := command(ctx, "apt-get", "update", "-q"); err != nil {
		return err
	}
	return command(ctx, "sh", "-euc", `dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
		apt-get download -q prometheus; dpkg-deb -x prometheus_*.deb . ; install usr/bin/promtool /usr/local/bin/promtool`)
}

// buildWithoutCgo proves that the scheduler needs neither the engine nor an embedded service.
func buildWithoutCgo(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", os.DevNull, "./cmd/tidemill")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s\nbuild cmd/tidemill with CGO_ENABLED=0: %w", bytes.TrimSpace(out), err)
	}
	return nil
}
