package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands that documents show exist, with these flags and so many arguments.
func TestDocumentedCommands(t *testing.T) {
	files := []string{"README.md", "deploy/ci/github-actions.yml", "examples/high-availability.sh"}
	manuals, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(manuals) < 2 {
		t.Fatal(manuals, err)
	}
	for _, name := range manuals {
		files = append(files, filepath.Join("docs", filepath.Base(name)))
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(text)) {
			found++
			if err := parses(line); err != nil {
				t.Errorf("%s: %s: %v", file, strings.Join(line, " "), err)
			}
		}
	}
	if found < 40 {
		t.Errorf("found %d commands only", found)
	}
}

var (
	// A command stands at the beginning of a line of code, perhaps behind variables or a prompt, or in backquotes.
	commandLine = regexp.MustCompile("(?m)(?:^[ \\t]+(?:\\$ )?(?:[A-Z_]+=\\S+ +)*(?:bin/)?tidemill ([a-z][^`|;\\n]*)|`tidemill ([a-z][^`|]*)`)")
	comment     = regexp.MustCompile(`\s#.*$`)
	redirection = regexp.MustCompile(`\s[0-9]?[<>].*$`)
	word        = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s"'])+`)
)

func commandLines(text string) [][]string {
	text = strings.NewReplacer("\\\n", " ", "`tidemill checks", "").Replace(text) // the latter is an executor's name in Mesos
	var all [][]string
	for _, match := range commandLine.FindAllStringSubmatch(text, -1) {
		line := strings.ReplaceAll(match[1]+match[2], "\n", " ")
		line = redirection.ReplaceAllString(comment.ReplaceAllString(line, ""), "")
		words := word.FindAllString(line, -1)
		for i := range words {
			words[i] = strings.NewReplacer(`"`, "", `'`, "", ")", "").Replace(words[i])
		}
		all = append(all, words)
	}
	return all
}

// parses reads a command line as execute does, and does nothing.
func parses(args []string) error {
	root := newRootCommand()
	command, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := command.ParseFlags(rest); err != nil && !strings.HasPrefix(err.Error(), "flag needs an argument") { // only named
		return err
	}
	if check := command.Args; check != nil && len(command.Flags().Args()) > 0 {
		return check(command, command.Flags().Args())
	}
	return cobra.NoArgs(command, nil)
}

// manualScript writes the calls that the manual shows, as a script with files of the test.
func manualScript(env *testscript.Env) error {
	text, err := os.ReadFile("../../docs/deploying-executors.md")
	if err != nil {
		return err
	}
	_, script, _ := strings.Cut(string(text), "```sh\n")
	script, _, _ = strings.Cut(script, "```\n")
	script = strings.Replace(script, "file=bin/tidemill-executor-1.5.0 version=1.5.0 channel=stable", "file=executor.bin version=2.0.0 channel=prod", 1)
	return os.WriteFile(filepath.Join(env.Getenv("WORK"), "manual.sh"), []byte(script), 0o600)
}
