package expression_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
)

func open(t testing.TB) *engine.Session {
	t.Helper()
	s, err := engine.Open(t.Context(), engine.Config{Dir: t.TempDir(), Memory: 64 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestParse(t *testing.T) {
	s := open(t)
	catalog, err := expression.ReadCatalog(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text string
		want string // part of the problem; empty: sound
	}{
		{"month <= 6", ""},
		{"make_date(year, month, day)", ""},
		{"lower(a) || 'x' -- and so on", ""},
		{"a IN (1, 2) AND b BETWEEN 1 AND 2 OR c IS NULL AND NOT d LIKE 'x%'", ""},
		{"CASE WHEN a THEN CAST(b AS DECIMAL(10,2)) ELSE b::DOUBLE END", ""},
		{"list_transform([1, 2], y -> y + 1)", ""},
		{"payload->>'$.user.id'", ""},
		{"date_trunc('hour', ts) + INTERVAL '1 day'", ""},
		{"extract(year FROM d) = 2013", ""},
		{`"a column" = 'it''s'`, ""},
		{"try(CAST(a AS DATE))", ""},
		{"s.field.inner", ""},
		{"(1) + (2)", ""},
		{"1) + (2", ""}, // one expression all the same
		{"md5(a)", ""},
		{"nullif(a, 0)", ""},
		{"age(a, b)", ""},
		{"user", ""}, // may be a column

		{"", "something is missing"},
		{"   ", "something is missing"},
		{"month <=", "something is missing at its end"},
		{"a = = b", `syntax error at or near "=" (character 5)`},
		{"ä = = b", `syntax error at or near "=" (character 5)`},
		{"1; SELECT 2", `syntax error at or near ";"`},
		{"1); DROP TABLE x; SELECT (1", "several statements"},
		{"1); SELECT (2", "several statements"},
		{"a, b", "several with commas"},
		{"1), (2", "got 2"},
		{"1) FROM range(10) WHERE (true", "got a query with"},
		{"1) UNION SELECT (2", "got a query"},
		{"1) ORDER BY (1", "got a query"},
		{"1) LIMIT (1", "got a query"},
		{"(SELECT 1)", "a subquery is not allowed"},
		{"SELECT 1", "a subquery is not allowed"},
		{"a IN (SELECT 1)", "a subquery is not allowed"},
		{"EXISTS (SELECT 1)", "a subquery is not allowed"},
		{"a = ANY(SELECT 1)", "a subquery is not allowed"},
		{"ARRAY(SELECT 1)", "a subquery is not allowed"},
		{"sum(a) OVER ()", "a window function"},
		{"row_number() OVER (ORDER BY a)", "a window function"},
		{"sum(a)", `function "sum" is an aggregate or window function`},
		{"count(*)", "aggregate or window function"},
		{"1 + max(a)", "aggregate or window function"},
		{"$1", "a parameter"},
		{"?", "a parameter"},
		{"#1", "a positional reference"},
		{"*", "* and COLUMNS"},
		{"COLUMNS('a.*')", "* and COLUMNS"},
		{"random() < 0.5", "must be repeatable"},
		{"uuid()", "must be repeatable"},
		{"now()", "must be repeatable"},
		{"current_timestamp()", "must be repeatable"},
		{"age(a)", "must be repeatable"},
		{"getenv('HOME')", "outside the row"},
		{"current_setting('threads')", "outside the row"},
		{"getvariable('x')", "outside the row"},
		{"nextval('s')", "outside the row"},
		{"pg_typeof(a)", "outside the row"},
		{"read_text('/etc/passwd')", "outside the row"},
		{"main.getenv('HOME')", "outside the row"},
		{"system.main.lower(a)", `without "system" in front`},
		{"a.getenv()", "in front"},
		{"unnest([1, 2])", "several rows"},
		{"range_table(1)", `unknown function "range_table"`},
		{"lowr(a)", `unknown function "lowr"; did you mean "lower"?`},
		{"repeat_row(1, num_rows := 2)", "is a table function"},
		{"grouping(a)", "GROUPING is not allowed"},
		{"a\x00b", "not valid text"},
		{"a\xff", "not valid text"},
		{strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000), "*"},
		{strings.Repeat("NOT ", 2400) + "a", "*"},
		{strings.Repeat("1+", 4900) + "1", "*"},
		{"1 /*", "*"},
		{"'abc", "*"},
		{"$$abc", "*"},
	} {
		name := test.text
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(name, func(t *testing.T) {
			e, err := expression.Parse(t.Context(), s, test.text)
			if err == nil {
				err = catalog.Unknown(e)
			}
			var wrong *expression.Problem
			switch {
			case err == nil && test.want == "":
			case err == nil && test.want == "*":
			case err == nil:
				t.Errorf("got no problem, want %q", test.want)
			case !errors.As(err, &wrong):
				if test.want != "*" {
					t.Errorf("got %v", err)
				}
			case test.want == "":
				t.Errorf("got %q, want none", wrong.Detail)
			case test.want != "*" && !strings.Contains(wrong.Detail, test.want):
				t.Errorf("got %q, want %q", wrong.Detail, test.want)
			}
			if err != nil {
				t.Log(err)
			}
		})
	}
}

func TestColumnsAndFunctions(t *testing.T) {
	e, err := expression.Parse(t.Context(), open(t), `lower(a.b) || "C d" || upper(a) || list_filter(l, x -> x > y)`)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(slices.Sorted(slices.Values(e.Columns))); got != "[C d a b l x y]" {
		t.Errorf("columns: got %s", got)
	}
	if got := fmt.Sprint(slices.Sorted(slices.Values(e.Functions))); got != "[list_filter lower upper]" {
		t.Errorf("functions: got %s", got)
	}
}

// The lists in functions.go were written for one version of the engine: this finds what another one adds.
func TestListsCoverTheEngine(t *testing.T) {
	s := open(t)
	err := s.Query(t.Context(), `SELECT DISTINCT function_name, function_type, coalesce(stability, '') FROM duckdb_functions()
		WHERE function_type IN ('scalar', 'aggregate')`, func(values []driver.Value) error {
		name, kind, stability := fmt.Sprint(values[0]), fmt.Sprint(values[1]), fmt.Sprint(values[2])
		if (kind == "aggregate" || stability != "CONSISTENT") && expression.Refusal(name, 0) == "" {
			t.Errorf("%s function %q (%s) is not refused", kind, name, stability)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever passes must still be one expression, of the same parsed form, inside the statements that run.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"month <= 6", "1) + (2", "a -- b", "(SELECT 1)", "'x' || $$y$$", "a /* b */", "CASE WHEN a THEN 1 END", "x -> y", `"a""b"`, "e'\\n'"} {
		f.Add(seed)
	}
	s := open(f)
	if err := s.Exec(f.Context(), `CREATE TEMP TABLE input (a BIGINT, b VARCHAR, month BIGINT)`); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 {
			return
		}
		e, err := expression.Parse(t.Context(), s, text)
		if err != nil {
			return
		}
		inside, err := s.Strings(t.Context(), "SELECT CAST(json_serialize_sql("+engine.Literal("SELECT "+e.SQL()+" AS k FROM input WHERE "+e.SQL())+") AS VARCHAR)")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(inside[0], `"error":true`) || strings.Contains(inside[0], `"class":"SUBQUERY"`) || !strings.Contains(inside[0], `"table_name":"input"`) {
			t.Fatalf("%q becomes something else inside a statement: %s", text, inside[0])
		}
	})
}
