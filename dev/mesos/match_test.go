package mesos_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// idPattern is what master and agents make up: framework, agent, offer, container and
// stream IDs.
var idPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-(S|O)?[0-9]+)?$`)

var portPattern = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// bindings say which of our values stands for which recorded one.
type bindings map[string]string

// text puts our values into a recorded text.
func (b bindings) text(recorded string) string {
	// Longer ones first: a master's ID is the beginning of all the others.
	keys := slices.SortedFunc(maps.Keys(b), func(x, y string) int { return len(y) - len(x) })
	for _, key := range keys {
		recorded = strings.ReplaceAll(recorded, key, b[key])
	}
	return recorded
}

func (b bindings) bind(recorded, ours string) error {
	if known, ok := b[recorded]; ok && known != ours {
		return fmt.Errorf("%q stands for %q, not for %q", recorded, known, ours)
	}
	for other, known := range b {
		if known == ours && other != recorded {
			return fmt.Errorf("%q stands for %q already, not for %q", ours, other, recorded)
		}
	}
	b[recorded] = ours
	return nil
}

// match compares what was recorded with what came, and binds what varies. b changes
// only if they match.
func (b bindings) match(recorded, ours any) error {
	trial := maps.Clone(b)
	if err := trial.compare("", recorded, ours); err != nil {
		return err
	}
	maps.Copy(b, trial)
	return nil
}

func (b bindings) compare(path string, recorded, ours any) error {
	for _, field := range tolerated {
		if strings.HasSuffix(path, field.path) && recorded != nil && ours != nil {
			switch recorded := recorded.(type) {
			case string:
				if got, ok := ours.(string); ok {
					return b.bind(recorded, got)
				}
			case float64:
				if _, ok := ours.(float64); ok {
					return nil
				}
			}
		}
	}
	switch recorded := recorded.(type) {
	case map[string]any:
		return b.compareObjects(path, recorded, ours)
	case []any:
		return b.compareLists(path, recorded, ours)
	case string:
		return b.compareText(path, recorded, ours)
	}
	if recorded != ours {
		return fmt.Errorf("%s: recorded %v, got %v", path, recorded, ours)
	}
	return nil
}

func (b bindings) compareObjects(path string, recorded map[string]any, ours any) error {
	got, ok := ours.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: recorded an object, got %v", path, ours)
	}
	for _, key := range slices.Sorted(maps.Keys(recorded)) {
		if _, ok := got[key]; !ok {
			return fmt.Errorf("%s.%s: missing", path, key)
		}
		if err := b.compare(path+"."+key, recorded[key], got[key]); err != nil {
			return err
		}
	}
	for key := range got {
		if _, ok := recorded[key]; !ok {
			return fmt.Errorf("%s.%s: not recorded, got %v", path, key, got[key])
		}
	}
	return nil
}

// compareLists compares in order; where Mesos' own order is that of a hash or a
// shuffle, in an order that is the same in each run.
func (b bindings) compareLists(path string, recorded []any, ours any) error {
	got, ok := ours.([]any)
	if !ok || len(got) != len(recorded) {
		return fmt.Errorf("%s: recorded %d items, got %v", path, len(recorded), ours)
	}
	for _, list := range unordered {
		if strings.HasSuffix(path, list.path) {
			recorded, got = sortedBy(recorded, list.key), sortedBy(got, list.key)
		}
	}
	for i := range recorded {
		if err := b.compare(fmt.Sprintf("%s[%d]", path, i), recorded[i], got[i]); err != nil {
			return err
		}
	}
	return nil
}

func sortedBy(items []any, key string) []any {
	return slices.SortedFunc(slices.Values(items), func(x, y any) int {
		value := func(item any) string { return fmt.Sprint(item.(map[string]any)[key]) }
		return strings.Compare(value(x), value(y))
	})
}

func (b bindings) compareText(path, recorded string, ours any) error {
	got, ok := ours.(string)
	if !ok {
		return fmt.Errorf("%s: recorded %q, got %v", path, recorded, ours)
	}
	if idPattern.MatchString(recorded) && idPattern.MatchString(got) {
		if err := b.bind(recorded, got); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	// IDs inside a longer text may be met there for the first time.
	want := portPattern.ReplaceAllString(b.text(recorded), "127.0.0.1:PORT")
	got = portPattern.ReplaceAllString(got, "127.0.0.1:PORT")
	if want != got && anyID.ReplaceAllString(want, "ID") != anyID.ReplaceAllString(got, "ID") {
		return fmt.Errorf("%s: recorded %q, got %q", path, want, got)
	}
	return nil
}

var anyID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
