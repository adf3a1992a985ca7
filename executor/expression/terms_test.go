package expression_test

import (
	"fmt"
	"testing"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
)

func TestTerms(t *testing.T) {
	s, err := engine.Open(t.Context(), engine.Config{Dir: t.TempDir(), Memory: 64 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for text, want := range map[string]string{
		"a = 1":                                  "[[a]]",
		"a = 1 AND b = 'x' AND (c OR a) -- and":  "[[a] [b] [c a]]",
		"(a = 1 AND (b > 2 AND c IS NULL))":      "[[a] [b] [c]]",
		"a = 1 OR b = 2 AND c = 3":               "[[a b c]]",
		"NOT (a AND b)":                          "[[a b]]",
		"a BETWEEN 1 AND 2 AND true":             "[[a] []]",
		"a = 12345678901234567890 AND b = 1e300": "[[a] [b]]",
	} {
		e, err := expression.Parse(t.Context(), s, text)
		if err != nil {
			t.Fatal(err)
		}
		terms, err := e.Terms(t.Context(), s)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var columns [][]string
		for _, term := range terms {
			columns = append(columns, term.Columns)
		}
		if got := fmt.Sprint(columns); got != want {
			t.Errorf("%s: got %s (%v), want %s", text, got, terms[0].Text, want)
		}
	}
}
