package source

import "testing"

func TestUnify(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"INTEGER", "INTEGER", "INTEGER"},
		{"INTEGER", "SMALLINT", "BIGINT"},
		{"UINTEGER", "BIGINT", "BIGINT"},
		{"UBIGINT", "INTEGER", "HUGEINT"},
		{"HUGEINT", "BIGINT", "HUGEINT"},
		{"BIGINT", "FLOAT", "DOUBLE"},
		{"FLOAT", "DOUBLE", "DOUBLE"},
		{"DECIMAL(9,2)", "DOUBLE", "DOUBLE"},
		{"DECIMAL(9,2)", "DECIMAL(5,4)", "DECIMAL(11,4)"},
		{"DECIMAL(9,2)", "BIGINT", "DECIMAL(21,2)"},
		{"DECIMAL(38,2)", "DECIMAL(38,4)", ""},
		{"HUGEINT", "DECIMAL(9,2)", ""},
		{"DATE", "TIMESTAMP_NS", "TIMESTAMP"},
		{"TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP"},
		{"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", ""},
		{`"NULL"`, "VARCHAR", "VARCHAR"},
		{"INTEGER[]", "BIGINT[]", "BIGINT[]"},
		{"INTEGER[]", "VARCHAR[]", ""},
		{"JSON", "VARCHAR", "VARCHAR"},
		{"VARCHAR", "BIGINT", ""},
		{"BOOLEAN", "BIGINT", ""},
		{"STRUCT(a INTEGER)", "STRUCT(a VARCHAR)", ""},
	} {
		for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			if got, ok := unify(pair[0], pair[1]); ok != (test.want != "") || ok && got != test.want {
				t.Errorf("%s and %s: got %q, %v, want %q", pair[0], pair[1], got, ok, test.want)
			}
		}
	}
	for _, test := range []struct {
		from, to string
		want     bool
	}{{"SMALLINT", "BIGINT", true}, {"BIGINT", "SMALLINT", false}, {"SMALLINT", "INTEGER", false}, {"DATE", "TIMESTAMP", true}, {"DATE", "DATE", true}, {"VARCHAR", "DATE", false}} {
		if got := widens(test.from, test.to); got != test.want {
			t.Errorf("%s to %s: got %v", test.from, test.to, got)
		}
	}
}
