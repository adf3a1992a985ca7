package aggregate_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/proto"
)

const parquetSamples = "../parquet/testdata/"

// sampled puts some of package parquet's samples into the input.
func (l *lake) sampled(names ...string) {
	l.t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(parquetSamples + name + ".parquet")
		if err != nil {
			l.t.Fatal(err)
		}
		l.put("in/"+name+".parquet", string(data))
	}
}

// written puts a Parquet file into the input that DuckDB writes of a query. options may be empty.
func (l *lake) written(name, sql, options string) {
	l.t.Helper()
	path := filepath.Join(l.root, "in", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		l.t.Fatal(err)
	}
	session, err := engine.Open(l.t.Context(), engine.Config{Dir: l.root, Memory: 256 << 20, Threads: 1})
	if err != nil {
		l.t.Fatal(err)
	}
	err = session.Exec(l.t.Context(), fmt.Sprintf("COPY (%s) TO '%s' (FORMAT parquet%s)", sql, path, options))
	if err = errors.Join(err, session.Close()); err != nil {
		l.t.Fatal(err)
	}
}

// overParquet is a section that groups by keys over the Parquet files of the input.
func overParquet(where, keys string, measures string, more string) string {
	groups := []string{}
	for i, key := range strings.Split(keys, ";") {
		if key != "" {
			groups = append(groups, fmt.Sprintf(`{"name": "k%d", "expr": %q}`, i, key))
		}
	}
	if where != "" {
		where = fmt.Sprintf(`"where": %q, `, where)
	}
	return fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "parquet"%s}, %s"group_by": [%s], "measures": {%s}, "output": {"uri": "LAKE/out/"}}`, more, where, strings.Join(groups, ", "), measures)
}

// Whoever wrote the file, and however, the result is what DuckDB makes of it.
func TestParquetOfAllMakes(t *testing.T) {
	files, err := filepath.Glob(parquetSamples + "p*.parquet")
	more, errMore := filepath.Glob(parquetSamples + "duckdb.parquet")
	if err != nil || errMore != nil || len(files) < 10 || len(more) != 1 {
		t.Fatal(files, more, err, errMore)
	}
	for _, path := range append(files, more...) {
		name := strings.TrimSuffix(filepath.Base(path), ".parquet")
		if strings.Contains(name, "names") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			l := newLake(t)
			l.sampled(name)
			section := overParquet("id >= 10", "text;s.b.c;small",
				`"n": {"count": "*"}, "i": {"sum": "u32"}, "d": {"sum": "dec9"}, "e": {"max": "dec38"}, "t": {"max": "ts_ns"}, "z": {"min": "ts_tz"}, "y": {"min": "day"}, "l": {"sum": "len(list)"}, "f": {"sum": "f64"}, "u": {"max": "u64"}, "b": {"min": "blob"}, "c": {"max": "cat"}, "h": {"max": "time_us"}`, "")
			out, err := l.run(section, 1)
			if err != nil {
				t.Fatal(err)
			}
			want := query(t, "SELECT text, s.b.c, small, count(*), CAST(sum(u32) AS DECIMAL(38,0)), sum(dec9), max(dec38), max(ts_ns), min(ts_tz), min(day), CAST(sum(len(list)) AS DECIMAL(38,0)), sum(f64), max(u64), min(blob), max(cat), max(time_us) FROM read_parquet('"+path+
				"') WHERE id >= 10 GROUP BY ALL ORDER BY 1 NULLS LAST, 2 NULLS LAST, 3 NULLS LAST")
			got := l.rows(out)
			slices.Sort(got)
			slices.Sort(want)
			compareRows(t, got, want)
		})
	}
}

// Row groups make splits, and the result is the same.
func TestParquetInSplits(t *testing.T) {
	l := newLake(t)
	l.written("a.parquet", "SELECT range AS i, range % 10 AS k, 'x' || range % 1000 AS s FROM range(100000)", ", ROW_GROUP_SIZE 10000")
	l.written("b.parquet", "SELECT range AS i, range % 10 AS k, 'x' || range % 1000 AS s FROM range(5)", "")
	section := overParquet("", "k", `"n": {"count": "*"}, "s": {"sum": "i"}, "m": {"max": "s"}`, "")
	l.kind = aggregate.NewCutting(20_000)
	out, err := l.run(section, 4)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.stages) < 2 || !strings.HasPrefix(l.stages[1], "map ") {
		t.Errorf("got stages %v", l.stages)
	}
	want := query(t, "SELECT k, count(*), CAST(sum(i) AS DECIMAL(38,0)), max(s) FROM read_parquet('"+l.root+"/in/*.parquet') GROUP BY ALL ORDER BY 1")
	got := l.rows(out)
	slices.Sort(got)
	slices.Sort(want)
	compareRows(t, got, want)
}

func TestParquetCounts(t *testing.T) {
	l := newLake(t)
	l.sampled("pyarrow", "pyarrow_gzip", "polars_no_rows", "pyarrow_empty_group")
	out, err := l.run(overParquet("", "", `"n": {"count": "*"}`, ""), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.rows(out); !slices.Equal(got, []string{"180"}) {
		t.Errorf("got %v", got)
	}
	if last := l.reports[len(l.reports)-1]; last.Rows != 180 {
		t.Errorf("got %d rows", last.Rows)
	}
}

func TestNamesOfParquetColumns(t *testing.T) {
	l := newLake(t)
	l.sampled("pyarrow_names_2rows")
	out, err := l.run(overParquet("", `a;a_1;"x.y";column3;"q""r";é`, `"n": {"count": "*"}`, ""), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.rows(out), []string{"1|3|5|7|9|11|1", "2|4|6|8|10|12|1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Files of one input may have other columns and types.
func TestParquetDrift(t *testing.T) {
	for _, test := range []struct {
		name    string
		files   []string
		section string
		want    []string
		failure string
	}{
		{"a missing column", []string{"SELECT 1 AS a, 'x' AS k", "SELECT 'y' AS k", "SELECT 2 AS A, 'x' AS K, 3 AS more"},
			overParquet("", "k", `"n": {"count": "*"}, "s": {"sum": "a"}, "m": {"max": "more"}`, ""), []string{"x|2|3|3", "y|1|∅|∅"}, ""},
		{"wider numbers", []string{"SELECT 1::TINYINT AS a", "SELECT 3000000000 AS a", "SELECT 18446744073709551615::UBIGINT AS a"},
			overParquet("", "", `"s": {"sum": "a"}, "m": {"max": "a"}`, ""), []string{"18446744076709551616|18446744073709551615"}, ""},
		{"decimals", []string{"SELECT 1.25::DECIMAL(5,2) AS a", "SELECT 2 AS a", "SELECT 0.0001::DECIMAL(9,4) AS a"},
			overParquet("", "", `"s": {"sum": "a"}`, ""), []string{"3.2501"}, ""},
		{"dates and times", []string{"SELECT DATE '2020-01-01' AS a", "SELECT TIMESTAMP_NS '2020-01-01 10:00:00.000001' AS a"},
			overParquet("", "", `"m": {"max": "a"}, "l": {"min": "a"}`, ""), []string{"2020-01-01 10:00:00.000001|2020-01-01 00:00:00"}, ""},
		{"a conflict", []string{"SELECT 1 AS a", "SELECT 'x' AS a"},
			overParquet("", "", `"m": {"max": "a"}`, ""), nil, `column "a" is INTEGER in LAKE/in/0.parquet and VARCHAR in LAKE/in/1.parquet; declare its type under /aggregate/input/columns`},
		{"a conflict that is settled", []string{"SELECT 1 AS a", "SELECT '2' AS a", "SELECT 3.0::DOUBLE AS a"},
			overParquet("", "", `"s": {"sum": "a"}`, `, "columns": {"a": "BIGINT"}`), []string{"6"}, ""},
		{"a value that is not of the declared type", []string{"SELECT 1 AS a", "SELECT unnest(['2', 'x', '3']) AS a"},
			overParquet("", "", `"s": {"sum": "a"}`, `, "columns": {"a": "BIGINT"}`), nil, `LAKE/in/1.parquet, row 2: column "a": "x" is not BIGINT`},
		{"a fraction", []string{"SELECT 1 AS a", "SELECT unnest([2.0, 2.5::DOUBLE]) AS a"},
			overParquet("", "", `"s": {"sum": "a"}`, `, "columns": {"a": "BIGINT"}`), nil, `LAKE/in/1.parquet, row 2: column "a": "2.5" is not BIGINT`},
		{"a conflict in a column that is not used", []string{"SELECT 1 AS a, 1 AS b", "SELECT 2 AS a, 'x' AS b"},
			overParquet("", "", `"s": {"sum": "a"}`, ""), []string{"3"}, ""},
		{"an unknown column", []string{"SELECT 1 AS abc"},
			overParquet("", "", `"s": {"sum": "abd"}`, ""), nil, `unknown column "abd"; did you mean "abc"? (columns are abc)`},
		{"an unknown declared column", []string{"SELECT 1 AS abc"},
			overParquet("", "", `"s": {"sum": "abc"}`, `, "columns": {"abd": "BIGINT"}`), nil, `unknown column "abd"; did you mean "abc"?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, largest := range []int64{1 << 30, 1} {
				l := newLake(t)
				l.kind = aggregate.NewCutting(largest)
				for i, sql := range test.files {
					l.written(fmt.Sprintf("%d.parquet", i), sql, "")
				}
				if test.failure != "" {
					f := l.mustFail(test.section, 4)
					if got := strings.ReplaceAll(f.Message, l.base, "LAKE"); !strings.Contains(got, test.failure) || f.Class != proto.CLASS_FINAL {
						t.Errorf("got %s (%s)", got, f.Class)
					}
					continue
				}
				out, err := l.run(test.section, 4)
				if err != nil {
					t.Fatal(err)
				}
				if got := l.rows(out); !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}
		})
	}
}

func TestBrokenParquet(t *testing.T) {
	good, err := os.ReadFile(parquetSamples + "pyarrow.parquet")
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(good)
	for i := 4; i < 4000; i++ {
		damaged[i] ^= 0x5a
	}
	for _, test := range []struct{ name, content, want string }{
		{"text", strings.Repeat("a,b\n", 10), "object LAKE/in/x.parquet is not a Parquet file, or damaged: it does not end in PAR1"},
		{"empty", "", "object LAKE/in/x.parquet is not a Parquet file, or damaged: it has only 0 bytes"},
		{"cut short", string(good[:len(good)/2]), "object LAKE/in/x.parquet is not a Parquet file, or damaged"},
		{"encrypted", string(good[:len(good)-4]) + "PARE", "object LAKE/in/x.parquet is an encrypted Parquet file"},
		{"damaged pages", string(damaged), "object LAKE/in/x.parquet cannot be read: "},
	} {
		l := newLake(t)
		l.sampled("pyarrow")
		l.put("in/x.parquet", test.content)
		f := l.mustFail(overParquet("", "text", `"s": {"sum": "id"}`, ""), 1)
		if got := strings.ReplaceAll(f.Message, l.base, "LAKE"); !strings.HasPrefix(got, test.want) || f.Class != proto.CLASS_FINAL || strings.Contains(got, "rows-") {
			t.Errorf("%s: got %s (%s)", test.name, got, f.Class)
		}
	}
}

// Row groups that the filter excludes are not read, and the result is that of all rows.
func TestParquetRowGroupsAreLeftOut(t *testing.T) {
	l := newLake(t)
	l.sampled("pyarrow", "polars", "pyarrow_no_statistics", "pyarrow_gzip") // groups of 25, 25 and 10 rows each
	const all = 240
	whole := "read_parquet('" + l.root + "/in/*.parquet', union_by_name=true)"
	for _, test := range []struct {
		where string
		rows  int64 // that are read
	}{
		{"", all},
		{"id < 25", 25*3 + 60}, // 60 of the file without statistics
		{"id >= 50", 10*3 + 60},
		{"10 > id AND small IS NOT NULL", 25*3 + 60},
		{"id = 30", 25*3 + 60},
		{"id IN (1, 55)", 35*3 + 60},
		{"id BETWEEN 26 AND 49", 25*3 + 60},
		{"id < 25 OR id > 50", all},
		{"id < 24.5", 25*3 + 60},
		{"id < -1e300", 60},
		{"id IS NULL", 60},
		{"f64 > 1000", all}, // NaN is larger
		{"f64 = 'NaN'::DOUBLE", all},
		{"f64 < -1", 60},
		{"f32 >= 3.125 AND f32 < 3.13", 50*3 + 60},
		{"text > '日本'", 60},
		{"text = 'zzz'", all}, // there may be
		{"day < '1960-01-01'", 60},
		{"day >= DATE '2200-01-01'", 60},
		{"ts_us >= TIMESTAMP '2020-02-20 00:00:00'", 10*3 + 60},
		{"ts_ns >= '2020-02-20'", 10*3 + 60},
		{"ts_tz < TIMESTAMPTZ '2020-01-02 00:00:00+00'", 25*3 + 60},
		{"u64 < 18446744073709551566", all},
		{"dec9 > 0.28", 60 * 3}, // that of polars is not of fixed length
		{"cat = 'w'", 60},
		{"s.a = 3", all},
		{"u32 < 0", 60},
	} {
		out, err := l.run(overParquet(test.where, "id", `"n": {"count": "*"}, "f": {"max": "f64"}`, ""), 1)
		if err != nil {
			t.Fatalf("%s: %v", test.where, err)
		}
		where := ""
		if test.where != "" {
			where = " WHERE " + test.where
		}
		want := query(t, "SELECT id, count(*), max(f64) FROM "+whole+where+" GROUP BY ALL ORDER BY 1")
		got := l.rows(out)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", test.where, got, want)
		}
		read := l.reports[len(l.reports)-1].Rows
		if read != test.rows {
			t.Errorf("%s: %d rows were read, want %d", test.where, read, test.rows)
		}
	}
}

// Rows with a value that does not fit its declared type are kept with the numbers that they have in their files.
func TestBadRowsOfParquet(t *testing.T) {
	section := func(most int) string {
		return fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "parquet", "columns": {"b": "BIGINT", "d": "DATE"}, "bad_rows": {"max": %d, "quarantine": "LAKE/bad/"}},
			"where": "i >= 2048", "measures": {"n": {"count": "*"}, "s": {"sum": "b"}, "d": {"max": "d"}}, "output": {"uri": "LAKE/out/"}}`, most)
	}
	for _, largest := range []int64{1 << 30, 1} {
		l := newLake(t)
		l.kind = aggregate.NewCutting(largest)
		l.written("1.parquet", "SELECT range AS i, CASE range WHEN 5 THEN 'x' WHEN 3000 THEN 'many' WHEN 6000 THEN '2.5' ELSE '1' END AS b, TIMESTAMP '2020-01-01' AS d FROM range(8192)", ", ROW_GROUP_SIZE 2048")
		l.written("2.parquet", "SELECT 4000 AS i, unnest([1, 2.5, NULL])::DOUBLE AS b, unnest([TIMESTAMP '2020-01-01', '2020-01-02', '2020-01-02 01:00:00']) AS d", "")
		out, err := l.run(section(4), 4)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := l.rows(out), []string{fmt.Sprintf("%d|%d|2020-01-01", 6144-2+1, 6144-2+1)}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if out.BadRows != 4 {
			t.Errorf("got %d bad rows", out.BadRows)
		}
		want := []string{
			`1.parquet:3001: column "b": "many" is not BIGINT: {"i":3000,"b":"many","d":"2020-01-01 00:00:00"}`,
			`1.parquet:6001: column "b": "2.5" is not BIGINT: {"i":6000,"b":"2.5","d":"2020-01-01 00:00:00"}`,
			`2.parquet:2: column "b": "2.5" is not BIGINT: {"i":4000,"b":2.5,"d":"2020-01-02 00:00:00"}`,
			`2.parquet:3: column "d": "2020-01-02 01:00:00" is not DATE: {"i":4000,"b":null,"d":"2020-01-02 01:00:00"}`,
		}
		if got := l.kept(fmt.Sprintf("test-%d", l.runs)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if f := l.mustFail(section(3), 4); !strings.Contains(f.Message, "more than 3 rows are bad") {
			t.Errorf("got %s", f.Message)
		}
	}
}

// Folders are columns of Parquet files, too, before columns of that name in the files.
func TestParquetInFolders(t *testing.T) {
	l := newLake(t)
	l.written("month=1/a.parquet", "SELECT range AS i, 99 AS month FROM range(10)", "")
	l.written("month=2/a.parquet", "SELECT range AS i FROM range(20)", "")
	l.written("month=__HIVE_DEFAULT_PARTITION__/a.parquet", "SELECT range AS i FROM range(40)", "")
	for _, test := range []struct {
		where string
		want  []string
		read  int64
	}{
		{"", []string{"1|10|45", "2|20|190", "∅|40|780"}, 70},
		{"month = 2 AND i >= 10", []string{"2|10|145"}, 20},
		{"month IS NOT NULL AND i < 2", []string{"1|2|1", "2|2|1"}, 30},
		{"month IS NULL", []string{"∅|40|780"}, 40},
	} {
		for _, largest := range []int64{1 << 30, 1} {
			l.kind = aggregate.NewCutting(largest)
			out, err := l.run(overParquet(test.where, "month", `"n": {"count": "*"}, "s": {"sum": "i"}`, ""), 4)
			if err != nil {
				t.Fatal(err)
			}
			got := l.rows(out)
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("%q: got %v, want %v", test.where, got, test.want)
			}
			if read := l.reports[len(l.reports)-1].Rows; largest > 1 && read != test.read {
				t.Errorf("%q: %d rows were read, want %d", test.where, read, test.read)
			}
		}
	}
}

// Files that the plan has not looked at are understood by the tasks that read them.
func TestParquetFilesThatThePlanDoesNotLookAt(t *testing.T) {
	aggregate.ReadFooters(t, 3, 2) // the first and the last
	l := newLake(t)
	for i := range 6 {
		l.written(fmt.Sprintf("%d.parquet", i), fmt.Sprintf("SELECT %d * 10 + range AS i FROM range(10)", i), "")
	}
	l.written("3.parquet", "SELECT 30::SMALLINT AS i, 'x' AS more", "")
	section := overParquet("i >= 25", "", `"n": {"count": "*"}, "s": {"sum": "i"}`, "")
	for _, largest := range []int64{1 << 30, 1} {
		l.kind = aggregate.NewCutting(largest)
		out, err := l.run(section, 4)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := l.rows(out), []string{"26|1155"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if read := l.reports[len(l.reports)-1].Rows; largest > 1 && read != 31 {
			t.Errorf("%d rows were read", read)
		}
	}
	l.written("2.parquet", "SELECT 'y' AS i", "")
	f := l.mustFail(section, 4)
	if got := strings.ReplaceAll(f.Message, l.base, "LAKE"); !strings.Contains(got, `column "i" is VARCHAR in LAKE/in/2.parquet and BIGINT in LAKE/in/0.parquet`) {
		t.Errorf("got %s", got)
	}
}
