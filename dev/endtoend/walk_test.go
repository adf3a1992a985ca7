//go:build endtoend

package endtoend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// block is a block of commands in a page, followed by a comment that says what they print, if they print anything:
// <!-- prints REGEXP -->
type block struct {
	commands string
	prints   *regexp.Regexp
}

var blockPattern = regexp.MustCompile("(?s)\n```sh\n(.*?)```\n(?:<!-- prints (.*?) -->\n)?")

// blocksOf are the blocks of a page, in order.
func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, page))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range blockPattern.FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, block{match[1], regexp.MustCompile(`\A` + match[2])})
	}
	return blocks
}

// TestWalk runs the commands of docs/versions-side-by-side.md, one after the other in one shell.
func TestWalk(t *testing.T) {
	for _, program := range []string{"bash", "curl", "jq", "sha256sum"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	blocks := blocksOf(t, "docs/versions-side-by-side.md")
	if len(blocks) < 8 {
		t.Fatalf("the page has %d blocks", len(blocks))
	}
	c := newPlatform(t)
	const end = "--- end of block"
	script := "set -euo pipefail\n"
	for _, b := range blocks {
		script += b.commands + "echo '" + end + "'\n"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script)
	shell.Dir = top
	shell.Env = append(os.Environ(), "API="+c.api)
	shell.WaitDelay = time.Second
	out, err := shell.Output()
	said := strings.Split(string(out), end+"\n")
	if err != nil {
		t.Fatalf("block %d: %v\n%s\nIt printed\n%s\n%s", len(said), err, blocks[min(len(said), len(blocks))-1].commands, out, stderrOf(err))
	}
	for i, b := range blocks {
		if !b.prints.MatchString(said[i]) {
			t.Errorf("block %d: %s\nprints\n%s\nwant %s", i+1, b.commands, said[i], b.prints)
		}
	}
	t.Logf("it printed\n%s", strings.ReplaceAll(string(out), end+"\n", ""))
}

// stderrOf is what a command that failed wrote there.
func stderrOf(err error) string {
	if failed, ok := err.(*exec.ExitError); ok {
		return fmt.Sprintf("and to standard error\n%s", failed.Stderr)
	}
	return ""
}
