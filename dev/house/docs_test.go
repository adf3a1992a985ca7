package house

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLinks follows the links between the repository's own documents.
func TestLinks(t *testing.T) {
	out, err := exec.Command("git", "-C", top(t), "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Skip("not a git checkout") // a source archive has no file list
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	found := 0
	for _, file := range strings.Fields(string(out)) {
		for _, match := range link.FindAllStringSubmatch(withoutCode(read(t, file)), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			found++
			target, anchor, _ := strings.Cut(match[1], "#")
			if target = path.Join(path.Dir(file), target); strings.HasPrefix(match[1], "#") {
				target = file
			}
			if _, err := os.Stat(filepath.Join(top(t), target)); err != nil {
				t.Errorf("%s links to %s: %v", file, match[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s links to %s, which has no such heading", file, match[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d links only", found)
	}
}

// TestManualNamesSettings holds the flags and variables of the manual to those that there are. Mesos' own flags stand in
// the tables of the chapter on Mesos, other commands' in indented code.
func TestManualNamesSettings(t *testing.T) {
	manual := read(t, "docs/operations.md")
	before, rest, found := strings.Cut(manual, "\n## Mesos\n")
	_, after, more := strings.Cut(rest, "\n## ")
	if !found || !more {
		t.Fatal("docs/operations.md has no chapter on Mesos with another one behind it")
	}
	commands := map[string]bool{"ca-file": true, "yes-kill-everything": true, "yes-orphan-tasks": true, "replace": true}
	known := settings(t)
	for _, match := range regexp.MustCompile("`--([a-z][a-z0-9-]+)").FindAllStringSubmatch(before+after, -1) {
		if !slices.Contains(known, match[1]) && !commands[match[1]] {
			t.Errorf("docs/operations.md: there is no flag --%s", match[1])
		}
	}
	for _, match := range regexp.MustCompile("`((?:mesos|executor|scheduling|log)\\.[a-z-]+)`").FindAllStringSubmatch(manual, -1) {
		if !slices.Contains(known, strings.Replace(match[1], ".", "-", 1)) {
			t.Errorf("docs/operations.md: there is no setting %s", match[1])
		}
	}
}

// anchors are the links that a document's headings give, as GitHub makes them.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	var all []string
	gone := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(withoutCode(read(t, file)), -1) {
		all = append(all, strings.ReplaceAll(gone.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return all
}

// withoutCode leaves out blocks of code, in which nothing is a heading or a link.
func withoutCode(text string) string {
	text = regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, "")
	return regexp.MustCompile(`(?m)^    .*$`).ReplaceAllString(text, "")
}
