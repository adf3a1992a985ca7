package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// Resources that no agent could ever give are accepted, with a warning that says what is missing.
func TestWarnings(t *testing.T) {
	s := serve(t)
	submit := func(name, more string) []string {
		t.Helper()
		spec := strings.Replace(specOf(name), `"kind"`, more+` "kind"`, 1)
		job := want[wire.Job](t, s.do("PUT", "/v1/jobs/"+name, spec), 201)
		checked := want[wire.Job](t, s.do("PUT", "/v1/jobs/"+name+"?dry_run=true", spec), 200)
		if strings.Join(job.Warnings, "") != strings.Join(checked.Warnings, "") {
			t.Errorf("a dry run warns otherwise: %q, %q", job.Warnings, checked.Warnings)
		}
		return job.Warnings
	}
	if got := submit("nothing-known", `"resources": {"cpus": 1000},`); len(got) > 0 {
		t.Errorf("without agents: got %q", got)
	}
	s.scheduler.Example(time.Now()) // three agents with 8 cpus, 32 GiB, 500 GiB in zones a and b
	s.scheduler.Update(func(v *scheduler.View) {
		v.Agents["small"] = &scheduler.AgentView{ID: "small", Attributes: map[string]string{"zone": "c"}, Most: jobs.Resources{CPUs: 16, Memory: 1 << 30, Disk: 1 << 30}}
	})
	for name, test := range map[string]struct{ more, warning string }{
		"fits":       {`"resources": {"cpus": 8, "memory": "32GiB"},`, ""},
		"cpus":       {`"resources": {"cpus": 64},`, "64 cpus, and no agent has offered more than 16"},
		"memory":     {`"resources": {"memory": "64GiB"},`, "64GiB of memory, and no agent has offered more than 32GiB"},
		"disk":       {`"resources": {"disk": "1TiB"},`, "1TiB of disk"},
		"together":   {`"resources": {"cpus": 12, "memory": "16GiB"},`, "no agent has offered all of that at a time"},
		"zone":       {`"constraints": [{"attribute": "zone", "operator": "is", "value": "x"}],`, `none of the 4 agents seen so far meets the constraint on "zone"`},
		"zone-fits":  {`"constraints": [{"attribute": "zone", "operator": "in", "values": ["b", "x"]}],`, ""},
		"zone-small": {`"constraints": [{"attribute": "zone", "operator": "is", "value": "c"}], "resources": {"memory": "2GiB"},`, "2GiB of memory, and no agent has offered more than 1GiB"},
		"zones":      {`"constraints": [{"attribute": "zone", "operator": "is", "value": "a"}, {"attribute": "rack", "operator": "is", "value": "r1"}],`, "is allowed by the constraints"},
	} {
		got := submit(name, test.more)
		if (test.warning == "") != (len(got) == 0) || len(got) > 0 && !strings.Contains(got[0], test.warning) {
			t.Errorf("%s: got %q, want %q", name, got, test.warning)
		}
	}
}
