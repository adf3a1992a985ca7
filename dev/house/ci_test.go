package house

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const deploying = "docs/deploying-executors.md"

// The jobs that people copy are shown in the manual as they are.
func TestManualQuotesCIJobs(t *testing.T) {
	manual := read(t, deploying)
	for _, file := range []string{"deploy/ci/github-actions.yml", "deploy/ci/gitlab-ci.yml"} {
		if !strings.Contains(manual, "```yaml\n"+read(t, file)+"```\n") {
			t.Errorf("%s does not quote %s as it is", deploying, file)
		}
	}
}

func TestGitHubActions(t *testing.T) {
	var workflow struct {
		Name        string
		On          map[string]map[string][]string
		Permissions map[string]string
		Concurrency struct {
			Group            string
			CancelInProgress bool `yaml:"cancel-in-progress"`
		}
		Jobs map[string]struct {
			RunsOn      string `yaml:"runs-on"`
			Environment string
			Timeout     int `yaml:"timeout-minutes"`
			Env         map[string]string
			Steps       []struct {
				Name, Uses, Run, If string
				With, Env           map[string]string
			}
		}
	}
	decodeStrictly(t, "deploy/ci/github-actions.yml", &workflow)
	// A rollout that is under way is not given up for the next tag, and the token can only read the repository.
	if workflow.Concurrency.Group == "" || workflow.Concurrency.CancelInProgress || workflow.Permissions["contents"] != "read" || len(workflow.On["push"]["tags"]) == 0 {
		t.Errorf("got %+v", workflow)
	}
	if len(workflow.Jobs) != 1 {
		t.Fatalf("%d jobs", len(workflow.Jobs))
	}
	for name, job := range workflow.Jobs {
		if job.RunsOn == "" || job.Environment == "" || job.Timeout < 1 || job.Timeout > 360 {
			t.Errorf("%s: runs on %q, environment %q, %d minutes", name, job.RunsOn, job.Environment, job.Timeout)
		}
		for i, step := range job.Steps {
			if (step.Uses == "") == (step.Run == "") || step.Uses != "" && !regexp.MustCompile(`^[a-z-]+/[a-z-]+@v\d+$`).MatchString(step.Uses) {
				t.Errorf("%s: step %d uses %q and runs %q", name, i+1, step.Uses, step.Run)
			}
			if strings.Contains(step.Run, "${{") {
				t.Errorf("%s: step %d puts an expression into a script: it belongs into env", name, i+1)
			}
			checkShell(t, step.Run)
		}
	}
}

func TestGitLabCI(t *testing.T) {
	type job struct {
		Stage, Image, Environment, Timeout string
		ResourceGroup                      string `yaml:"resource_group"`
		Rules                              []struct{ If string }
		Variables                          map[string]string
		Script                             []string
		Artifacts                          struct {
			Paths    []string
			ExpireIn string `yaml:"expire_in"`
		}
		AllowFailure struct {
			ExitCodes []int `yaml:"exit_codes"`
		} `yaml:"allow_failure"`
	}
	var pipeline struct {
		Stages []string
		Build  job `yaml:"build-executor"`
		Deploy job `yaml:"deploy-executor"`
	}
	decodeStrictly(t, "deploy/ci/gitlab-ci.yml", &pipeline)
	for _, j := range []job{pipeline.Build, pipeline.Deploy} {
		if !slices.Contains(pipeline.Stages, j.Stage) || len(j.Script) == 0 || j.Image == "" || len(j.Rules) == 0 {
			t.Errorf("got %+v", j)
		}
		checkShell(t, strings.Join(j.Script, "\n"))
	}
	// A failure of the version fails the pipeline; what people have to look at does not.
	if codes := pipeline.Deploy.AllowFailure.ExitCodes; pipeline.Deploy.ResourceGroup == "" || !slices.Equal(codes, []int{5, 6}) {
		t.Errorf("got %+v", pipeline.Deploy)
	}
	script := read(t, "deploy/ci/push.sh")
	for name := range pipeline.Deploy.Variables {
		if !strings.Contains(script, "#   "+name+" ") {
			t.Errorf("push.sh documents no variable %s", name)
		}
	}
}

func TestPushScript(t *testing.T) {
	do(t, "sh", "-n", filepath.Join(top(t), "deploy/ci/push.sh"))
	script := read(t, "deploy/ci/push.sh")
	head, _, _ := strings.Cut(script, "\nset -eu\n")
	for _, match := range regexp.MustCompile(`"\$\{([A-Z_]+):[=-]`).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(head, "#   "+match[1]+" ") {
			t.Errorf("push.sh does not say what %s is for", match[1])
		}
	}
	for _, file := range []string{"deploy/ci/push.sh"} {
		out, err := exec.Command("git", "-C", top(t), "ls-files", "-s", file).Output()
		if err != nil {
			t.Skip("not a git checkout")
		}
		if !strings.HasPrefix(string(out), "100755 ") {
			t.Errorf("%s is not executable: %s", file, out)
		}
	}
}

// TestTroubleshootingNamesErrors holds the texts of the table to those that the programs have. An ellipsis stands for what
// differs.
func TestTroubleshootingNamesErrors(t *testing.T) {
	_, table, found := strings.Cut(read(t, deploying), "\n## Troubleshooting\n")
	if !found {
		t.Fatal("there is no chapter on troubleshooting")
	}
	var sources strings.Builder
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			eachLine(t, filepath.Join(p.Dir, name), func(_ int, line string) { sources.WriteString(line + "\n") })
		}
	}
	all := strings.NewReplacer(`\"`, `"`).Replace(sources.String()) + read(t, "deploy/ci/push.sh")
	rows := regexp.MustCompile("(?m)^\\| (`.+?`) \\|").FindAllStringSubmatch(table, -1)
	for _, row := range rows {
		for _, text := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			for part := range strings.SplitSeq(text[1], "…") {
				if part = strings.TrimSpace(part); !strings.Contains(all, part) {
					t.Errorf("%q: no program says %q", text[1], part)
				}
			}
		}
	}
	if len(rows) < 25 {
		t.Errorf("found %d rows only", len(rows))
	}
}

// checkShell has a shell read a script without running it.
func checkShell(t *testing.T, script string) {
	t.Helper()
	do(t, "sh", "-n", "-c", script)
}
