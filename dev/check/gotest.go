package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// event is a line of `go test -json` (see `go doc test2json`).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// goTest makes a step that runs `go test -json` with args and counts each test.
func goTest(name string, args ...string) step {
	return step{name, func(ctx context.Context, t *tally) (string, error) {
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 10 * time.Second
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return "", fmt.Errorf("go test: %w", err)
		}
		if err := cmd.Start(); err != nil {
			t.fail(name)
			return "", fmt.Errorf("go test: %w", err)
		}
		before := len(t.failures)
		passed, skipped, readErr := count(out, os.Stdout, t)
		err = cmd.Wait()
		if failed := len(t.failures) - before; err != nil && failed == 0 {
			t.fail(name) // such as a package that does not build
		}
		if err == nil {
			err = readErr
		}
		return fmt.Sprintf("%d passed, %d skipped", passed, skipped), err
	}}
}

// count reads events until the end, tallies every test, and copies the output of failed tests and packages to w.
func count(events io.Reader, w io.Writer, t *tally) (passed, skipped int, err error) {
	output := map[string][]string{} // of tests that have not ended, and of packages
	tests := map[string]bool{}      // packages that ran at least one test
	failed := map[string]bool{}     // packages in which a test failed
	dec := json.NewDecoder(events)
	for {
		var e event
		switch err := dec.Decode(&e); {
		case err == io.EOF:
			return passed, skipped, nil
		case err != nil:
			return passed, skipped, fmt.Errorf("read the output of go test: %w", err)
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			output[key] = append(output[key], e.Output)
		case "pass", "skip", "fail":
			said := output[key]
			if e.Action == "fail" {
				for _, line := range said {
					fmt.Fprint(w, line)
				}
			}
			delete(output, key)
			switch {
			case e.Test != "" && e.Action == "pass":
				passed++
				t.pass()
			case e.Test != "" && e.Action == "skip":
				skipped++
				fmt.Fprintf(w, "skipped %s: %s\n", key, reason(said))
			case e.Test != "":
				failed[e.Package] = true
				t.fail(key)
			case e.Action == "fail" && !failed[e.Package]:
				t.fail(e.Package)
			case e.Action == "pass" && tests[e.Package]:
				fmt.Fprintf(w, "ok %s %.1fs\n", e.Package, e.Elapsed)
			}
			if e.Test != "" {
				tests[e.Package] = true
			}
		}
	}
}

// reason is what a skipped test said last, without the place where it said it.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			if _, text, ok := strings.Cut(line, ".go:"); ok {
				_, line, _ = strings.Cut(text, ": ")
			}
			return line
		}
	}
	return "no reason given"
}
