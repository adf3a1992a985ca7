//go:build endtoend

package endtoend

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/api/wire"
)

// mesosState is what Mesos' own pages are made of: /state of a master or an agent.
type mesosState struct {
	Frameworks []struct {
		Tasks              []mesosTask     `json:"tasks"`
		CompletedTasks     []mesosTask     `json:"completed_tasks"`
		Executors          []mesosExecutor `json:"executors"`
		CompletedExecutors []mesosExecutor `json:"completed_executors"`
	} `json:"frameworks"`
}

type mesosTask struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	ExecutorID string       `json:"executor_id"`
	Labels     []mesosLabel `json:"labels"`
}

type mesosExecutor struct {
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Labels []mesosLabel `json:"labels"`
}

type mesosLabel struct{ Key, Value string }

// state asks a master or an agent for what it shows.
func (c *cluster) state(url string) mesosState {
	c.t.Helper()
	mesos, state := *c, mesosState{}
	mesos.api = url
	mesos.must(http.MethodGet, "/state", nil, &state)
	return state
}

// checkMesosShows looks for a run's version where an operator does who has nothing but Mesos' pages: in the names and
// labels of its tasks and of their executors.
func checkMesosShows(t *testing.T, c *cluster, run wire.Run) {
	t.Helper()
	var info wire.Info
	c.must(http.MethodGet, "/v1/info", nil, &info)
	var tasks wire.List[wire.Task]
	c.must(http.MethodGet, "/v1/runs/"+run.ID+"/tasks", nil, &tasks)
	if len(tasks.Items) == 0 || len(info.Agents) == 0 {
		t.Fatalf("run %s has %d tasks, on %d agents", run.ID, len(tasks.Items), len(info.Agents))
	}
	version := mesosLabel{"tidemill.version", run.ExecutorVersion}
	known := map[string]mesosTask{}
	for _, framework := range c.state(info.Mesos.Master).Frameworks {
		for _, task := range slices.Concat(framework.Tasks, framework.CompletedTasks) {
			known[task.ID] = task
		}
	}
	for _, task := range tasks.Items {
		at := known[task.Attempts[0].ID]
		if !strings.HasPrefix(at.Name, run.Job+" "+task.Stage) || !strings.HasSuffix(at.Name, " on "+run.ExecutorVersion) ||
			!slices.Contains(at.Labels, version) || !strings.Contains(at.ExecutorID, run.ExecutorVersion) {
			t.Errorf("the master shows %s as %+v, want version %s in its name, labels and executor", task.ID, at, run.ExecutorVersion)
		}
	}
	seen := 0
	for _, agent := range info.Agents {
		for _, framework := range c.state(agent.URL).Frameworks {
			for _, executor := range slices.Concat(framework.Executors, framework.CompletedExecutors) {
				if !slices.Contains(executor.Labels, mesosLabel{"tidemill.run", run.ID}) {
					continue
				}
				seen++
				if executor.Name != run.Job+" "+run.ExecutorVersion || !slices.Contains(executor.Labels, version) || !strings.Contains(executor.ID, run.ExecutorVersion) {
					t.Errorf("agent %s shows %+v, want version %s in its name and labels", agent.Host, executor, run.ExecutorVersion)
				}
			}
		}
	}
	if seen == 0 {
		t.Errorf("no agent shows an executor of run %s", run.ID)
	}
}
