package house

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// rules are the alerts of deploy/prometheus/rules.yaml.
type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

// dashboard is what the tests look at of deploy/grafana/tidemill.json.
type dashboard struct {
	UID           string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct {
			RefID, Expr string
			Datasource  struct{ UID string }
		}
	}
}

// tool finds a program that a test runs. Without it the test is skipped, but never in CI, which installs it.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// do runs a program; what it prints is shown if it fails.
func do(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func TestAlertRules(t *testing.T) {
	tool(t, "promtool")
	dir := filepath.Join(top(t), "deploy/prometheus")
	do(t, "promtool", "check", "rules", filepath.Join(dir, "rules.yaml"))
	do(t, "promtool", "test", "rules", filepath.Join(dir, "rules_test.yaml"), filepath.Join(dir, "rules_days_test.yaml"))
}

// Whoever is woken by an alert finds out what it means and what to do.
func TestAlertsAreExplained(t *testing.T) {
	var alerts rules
	decodeYAML(t, "deploy/prometheus/rules.yaml", &alerts)
	tests := read(t, "deploy/prometheus/rules_test.yaml") + read(t, "deploy/prometheus/rules_days_test.yaml")
	found := 0
	for _, group := range alerts.Groups {
		for _, rule := range group.Rules {
			found++
			if s := rule.Labels["severity"]; !slices.Contains([]string{"info", "warning", "critical"}, s) {
				t.Errorf("%s: severity %q", rule.Alert, s)
			}
			for _, name := range []string{"summary", "description"} {
				if rule.Annotations[name] == "" {
					t.Errorf("%s has no %s", rule.Alert, name)
				}
			}
			if want := "docs/operations.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook"] != want {
				t.Errorf("%s: runbook %q, want %q", rule.Alert, rule.Annotations["runbook"], want)
			}
			if !slices.Contains(anchors(t, "docs/operations.md"), strings.ToLower(rule.Alert)) {
				t.Errorf("%s has no heading in docs/operations.md", rule.Alert)
			}
			if !regexp.MustCompile(`(?s)alertname: ` + rule.Alert + `\s+exp_alerts:(?: &\w+)?\s+- exp_labels`).MatchString(tests) {
				t.Errorf("%s: no test sees it fire", rule.Alert)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d alerts only", found)
	}
}

func TestDashboard(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/tidemill.json")), &d); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{}
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if d.UID == "" || d.SchemaVersion < 30 || variables["datasource"] != "datasource" || variables["job"] != "query" {
		t.Errorf("uid %q, schema %d, variables %v", d.UID, d.SchemaVersion, variables)
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: ID %d is used twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies over %q or beyond the edge at %d, %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %d, %q: description %q, datasource %q, %d queries", p.ID, p.Title, p.Description, p.Datasource.UID, len(p.Targets))
		}
		for _, q := range p.Targets {
			if q.RefID == "" || q.Datasource.UID != "${datasource}" || strings.Count(q.Expr, "tidemill_") != strings.Count(q.Expr, `{job="$job"`) {
				t.Errorf("%s: query %q of datasource %q: want job=\"$job\" in each selector", p.Title, q.Expr, q.Datasource.UID)
			}
		}
	}
	if len(ids) < 30 {
		t.Errorf("found %d panels only", len(ids))
	}
	t.Run("queries", func(t *testing.T) {
		tool(t, "promtool")
		do(t, "promtool", "check", "rules", asRules(t, d))
	})
}

// asRules writes the dashboard's queries as recording rules, which promtool reads.
func asRules(t *testing.T, d dashboard) string {
	t.Helper()
	concrete := strings.NewReplacer("$job", "tidemill", "$__rate_interval", "5m")
	type rule struct{ Record, Expr string }
	var all []rule
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, rule{fmt.Sprintf("panel:%d:%s", p.ID, q.RefID), concrete.Replace(q.Expr)})
		}
	}
	out, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": all}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSystemdUnit(t *testing.T) {
	unit := read(t, "deploy/systemd/tidemill.service")
	for _, line := range regexp.MustCompile(`(?m)^ExecStart=.*$`).FindAllString(unit, -1) {
		checkSettings(t, "tidemill.service", line)
	}
	for _, name := range variablePattern.FindAllString(unit, -1) {
		checkSettings(t, "tidemill.service", name)
	}
	if !regexp.MustCompile(`(?m)^RestartPreventExitStatus=2 3$`).MatchString(unit) {
		t.Error("it is started again after exit codes 2 and 3, of which an operator has to know")
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip(err) // not installed for this alone, as promtool is: it comes with an init
	}
	file := filepath.Join(t.TempDir(), "tidemill.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, "ExecStart=/usr/local/bin/tidemill", "ExecStart=/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, "systemd-analyze", "verify", "--man=no", file)
}

func TestMarathonApp(t *testing.T) {
	var app struct {
		ID, Cmd         string
		Instances       int
		CPUs, Mem, Disk float64
		Env             map[string]struct{ Secret string }
		Secrets         map[string]struct{ Source string }
		PortDefinitions []struct{ Name, Protocol string }
		Constraints     [][]string
		HealthChecks    []struct {
			Protocol, Path                                                                         string
			PortIndex, GracePeriodSeconds, IntervalSeconds, TimeoutSeconds, MaxConsecutiveFailures int
		}
		ReadinessChecks []struct{ Name, Protocol, Path, PortName string }
		UpgradeStrategy struct{ MinimumHealthCapacity, MaximumOverCapacity float64 }
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/marathon/tidemill.json")), &app); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^(/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]))?($|/))+$`).MatchString(app.ID) {
		t.Errorf("%q is no ID for Marathon", app.ID)
	}
	if app.Instances != 3 || app.CPUs <= 0 || app.Mem < 512 || len(app.Constraints) != 1 || !slices.Equal(app.Constraints[0], []string{"hostname", "UNIQUE"}) {
		t.Errorf("%d instances with constraints %v, %v CPUs, %v MiB: want three on different hosts", app.Instances, app.Constraints, app.CPUs, app.Mem)
	}
	checkSettings(t, "tidemill.json", app.Cmd)
	for name, value := range app.Env {
		checkSettings(t, "tidemill.json", name)
		if _, ok := app.Secrets[value.Secret]; !ok || value.Secret == "" {
			t.Errorf("%s is no secret of the app", name)
		}
	}
	if len(app.HealthChecks) != 1 || len(app.ReadinessChecks) != 1 || len(app.PortDefinitions) != 1 {
		t.Fatalf("%d health checks, %d readiness checks, %d ports: want one of each", len(app.HealthChecks), len(app.ReadinessChecks), len(app.PortDefinitions))
	}
	port := app.PortDefinitions[0].Name
	if h := app.HealthChecks[0]; h.Path != "/healthz" || h.Protocol != "MESOS_HTTP" || h.PortIndex != 0 || h.TimeoutSeconds >= h.IntervalSeconds {
		t.Errorf("health check %+v", h)
	}
	if r := app.ReadinessChecks[0]; r.Path != "/readyz" || r.PortName != port || !strings.Contains(app.Cmd, "$PORT_"+strings.ToUpper(port)) {
		t.Errorf("readiness check %+v of port %q", r, port)
	}
	if u := app.UpgradeStrategy; u.MinimumHealthCapacity < 0.5 || u.MaximumOverCapacity != 0 {
		t.Errorf("upgrade strategy %+v: hosts are unique, so that old ones go first, one by one", u)
	}
}

var (
	flagPattern     = regexp.MustCompile("(?:^|[\\s`(\\[])--([a-z][a-z0-9-]+)")
	variablePattern = regexp.MustCompile(`\bTIDEMILL_([A-Z_]+)\b`)
)

// checkSettings holds the flags and variables that a text gives to `tidemill serve` to those that it has.
func checkSettings(t *testing.T, file, text string) {
	t.Helper()
	known := settings(t)
	for _, match := range flagPattern.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, match[1]) {
			t.Errorf("%s: there is no flag --%s", file, match[1])
		}
	}
	for _, match := range variablePattern.FindAllStringSubmatch(text, -1) {
		if name := strings.ToLower(strings.ReplaceAll(match[1], "_", "-")); !slices.Contains(known, name) {
			t.Errorf("%s: there is no variable TIDEMILL_%s", file, match[1])
		}
	}
}

// settings are the flags of `tidemill serve`: the keys of its reference file, which a test there compares with the code,
// and what is no key of it.
func settings(t *testing.T) []string {
	t.Helper()
	var reference map[string]any
	decodeYAML(t, "cmd/tidemill/tidemill.yaml", &reference)
	flags := []string{"config", "token", "mesos-secret", "mesos-agent-secret"} // the last three as variables only
	for key, value := range reference {
		section, ok := value.(map[string]any)
		if !ok {
			flags = append(flags, key)
			continue
		}
		for name := range section {
			flags = append(flags, key+"-"+name)
		}
	}
	return flags
}

// decodeStrictly takes a field that to does not have for a mistake.
func decodeStrictly(t *testing.T, file string, to any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, file)))
	decoder.KnownFields(true)
	if err := decoder.Decode(to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func decodeYAML(t *testing.T, file string, to any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, file)), to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top(t), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
