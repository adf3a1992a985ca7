package expression_test

import (
	"fmt"
	"testing"

	"github.com/tidemill/tidemill/executor/expression"
)

func TestComparisons(t *testing.T) {
	s := open(t)
	for _, test := range []struct{ text, want string }{
		{"a > 5", "[a > [CAST('5' AS INTEGER)]]"},
		{`5 <= "x y" AND b = 'it''s'`, "[x y >= [CAST('5' AS INTEGER)] b = ['it''s']]"},
		{"a BETWEEN -1 AND 2.50", "[a >= [CAST('-1' AS INTEGER)] a <= [CAST('2.50' AS DECIMAL(3,2))]]"},
		{"(a < 9007199254740993 AND (b IN (1, 2))) AND c IS NULL AND d IS NOT NULL", "[a < [CAST('9007199254740993' AS BIGINT)] b IN [CAST('1' AS INTEGER) CAST('2' AS INTEGER)] c IS NULL [] d IS NOT NULL []]"},
		{"day >= DATE '2020-02-03' AND seen < TIMESTAMPTZ '2020-02-03 01:00:00+02'", "[day >= [CAST('2020-02-03' AS DATE)] seen < [CAST('2020-02-03 01:00:00+02' AS TIMESTAMP WITH TIME ZONE)]]"},
		{"a = 1e300", "[a = [CAST('1e300' AS DOUBLE)]]"},
		// Of these nothing is known.
		{"a > 5 OR b = 1", "[]"},
		{"NOT (a > 5 AND b = 1)", "[]"},
		{"a <> 5 AND a IS DISTINCT FROM 1", "[]"},
		{"a + 1 > 5 AND a > b AND s.x = 1 AND a = NULL AND a IN (1, b) AND abs(a) = 1", "[]"},
		{"a NOT IN (1, 2) AND a NOT BETWEEN 1 AND 2 AND s LIKE 'x%' AND flag", "[]"},
		{"a = 170141183460469231731687303715884105727", "[]"},
	} {
		e, err := expression.Parse(t.Context(), s, test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		got := []string{}
		for _, c := range e.Comparisons {
			values := []string{}
			for _, v := range c.Values {
				values = append(values, v.SQL)
			}
			got = append(got, fmt.Sprint(c.Column, " ", c.Op, " ", values))
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s:\ngot  %v\nwant %v", test.text, got, test.want)
		}
	}
}
