package metrics

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemill/tidemill/scheduler"
)

// Alerts and dashboards in deploy/ that ask for what is not shown would be silent for ever.
func TestDeployedQueriesAskForWhatIsShown(t *testing.T) {
	shown := shownLabels(t)
	name := regexp.MustCompile(`\b(tidemill_[a-z_]+)(\{[^}]*\})?`)
	matcher := regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)`)
	for _, file := range []string{"prometheus/rules.yaml", "prometheus/rules_test.yaml", "prometheus/rules_days_test.yaml", "grafana/tidemill.json"} {
		text, err := os.ReadFile(filepath.Join("../../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(text), `\"`, `"`)
		queries := name.FindAllStringSubmatch(plain, -1)
		if len(queries) < 5 {
			t.Errorf("%s: found %d metrics only", file, len(queries))
		}
		for _, query := range queries {
			metric := query[1]
			labels, ok := shown[metric]
			if !ok {
				t.Errorf("%s: %s is no metric", file, metric)
				continue
			}
			for _, label := range matcher.FindAllStringSubmatch(query[2], -1) {
				if !slices.Contains(labels, label[1]) && !slices.Contains([]string{"job", "instance", "le"}, label[1]) {
					t.Errorf("%s: %s has no label %q", file, metric, label[1])
				}
			}
		}
	}
}

// Prometheus sees no increase in a counter that begins with 1.
func TestRareFailuresBeginWithZero(t *testing.T) {
	text := scrape(t, newMetrics(&scheduler.View{}))
	for _, want := range []string{
		`tidemill_store_commit_seconds_count{outcome="failed"} 0`,
		`tidemill_lease_changes_total{change="acquired"} 0`,
		`tidemill_agent_backoffs_total 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is not shown", want)
		}
	}
}

// shownLabels are the labels of everything that Prometheus can be shown, histograms under the names of their parts.
func shownLabels(t *testing.T) map[string][]string {
	t.Helper()
	m := newMetrics(&scheduler.View{Leading: true})
	m.Standing(func() (uint64, bool) { return 1, true }, nil)
	descriptions := make(chan *prometheus.Desc, 1000)
	m.registry.Describe(descriptions)
	close(descriptions)
	form := regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)
	shown := make(map[string][]string)
	for description := range descriptions {
		parts := form.FindStringSubmatch(description.String())
		if parts == nil {
			t.Fatalf("%s is not of the form that this test knows", description)
		}
		labels := strings.Split(parts[3], ",")
		for _, pair := range strings.Split(parts[2], ",") {
			label, _, _ := strings.Cut(pair, "=")
			labels = append(labels, label)
		}
		for _, ending := range []string{"", "_bucket", "_sum", "_count"} {
			shown[parts[1]+ending] = labels
		}
	}
	if len(shown) < 100 {
		t.Fatalf("found %d names only", len(shown))
	}
	return shown
}
