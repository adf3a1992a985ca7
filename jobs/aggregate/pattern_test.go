package aggregate

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestInputMatches(t *testing.T) {
	for _, test := range []struct {
		input, uri string
		want       bool
	}{
		{"s3://flights/", "s3://flights/2013/01.csv", true},
		{"s3://flights/2013/", "s3://flights/2013/01.csv", true},
		{"s3://flights/2013/", "s3://flights/2013", false},
		{"s3://flights/2013/", "s3://flights/2014/01.csv", false},
		{"s3://flights/2013", "s3://flights/2013", true},
		{"s3://flights/2013", "s3://flights/2013/01.csv", false},
		{"s3://flights/*.csv", "s3://flights/01.csv", true},
		{"s3://flights/*.csv", "s3://flights/2013/01.csv", false},
		{"s3://flights/*/*.csv", "s3://flights/2013/01.csv", true},
		{"s3://flights/20??/*", "s3://flights/2013/01.csv", true},
		{"s3://flights/20??/*", "s3://flights/20/3/01.csv", false},
		{"s3://flights/201?/*", "s3://flights/201é/a", true},
		{"file:///data/*.gz", "file:///data/a.csv.gz", true},
	} {
		in := Input{URI: test.input}
		if got := in.Matches(test.uri); got != test.want {
			t.Errorf("input %s, object %s: got %t", test.input, test.uri, got)
		}
		if test.want && !strings.HasPrefix(test.uri, in.Prefix()) {
			t.Errorf("input %s: object %s is not below the prefix %s", test.input, test.uri, in.Prefix())
		}
	}
}

// The matcher agrees with the same pattern as a regular expression.
func TestMatchAgreesWithRegexp(t *testing.T) {
	patterns := rapid.StringOfN(rapid.SampledFrom([]rune("ab/*?é")), 0, 10, -1)
	texts := rapid.StringOfN(rapid.SampledFrom([]rune("ab/é")), 0, 10, -1)
	rapid.Check(t, func(t *rapid.T) {
		pattern, text := patterns.Draw(t, "pattern"), texts.Draw(t, "text")
		expression := strings.NewReplacer(`\*`, `[^/]*`, `\?`, `[^/]`).Replace(regexp.QuoteMeta(pattern))
		want := regexp.MustCompile(`^(?:` + expression + `)$`).MatchString(text)
		if got := match(pattern, text); got != want {
			t.Fatalf("pattern %q, text %q: got %t, want %t", pattern, text, got, want)
		}
	})
}

// An input reaches a prefix if it matches an object below it: what reaches denies never happens.
func TestReaches(t *testing.T) {
	inputs := rapid.StringOfN(rapid.SampledFrom([]rune("ab/*?")), 0, 8, -1)
	keys := rapid.StringMatching(`([ab]{1,2}/){0,2}`)
	rest := rapid.StringMatching(`[ab]{1,2}(/[ab]{1,2}){0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		in := Input{URI: "s3://bucket/" + inputs.Draw(t, "input")}
		prefix := "s3://bucket/" + keys.Draw(t, "prefix")
		object := prefix + rest.Draw(t, "rest")
		if in.Matches(object) && !in.Reaches(prefix) {
			t.Fatalf("input %s matches %s, but does not reach %s", in.URI, object, prefix)
		}
	})
}

// Many stars cost no more than the product of the lengths.
func TestMatchIsFast(t *testing.T) {
	start := time.Now()
	if match(strings.Repeat("*a", 300)+"b", strings.Repeat("a", 1000)) {
		t.Error("got a match")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
