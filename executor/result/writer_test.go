package result

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is an engine, and a store whose files it can read.
type bench struct {
	t       testing.TB
	session *engine.Session
	scratch string
	root    string
	store   storage.Store
}

func newBench(t testing.TB) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, scratch: filepath.Join(dir, "scratch"), root: filepath.Join(dir, "store")}
	for _, made := range []string{b.scratch, b.root} {
		if err := os.Mkdir(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.session, err = engine.Open(t.Context(), engine.Config{Dir: dir, Memory: 128 << 20, Threads: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.session.Close(); err != nil {
			t.Error(err)
		}
	})
	if b.store, err = file.Open(file.Config{Root: b.root}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) writer(out aggregate.Output) *Writer {
	if out.FileSize == 0 {
		out.FileSize = 256 << 20
	}
	if out.RowGroupSize == 0 {
		out.RowGroupSize = 64 << 20
	}
	return NewWriter(Config{
		Session: b.session, Memory: 128 << 20, Output: out, Pointer: "/aggregate/output", Dir: b.scratch,
		Store: b.store, Folder: storage.URI{Scheme: "file", Key: "out"},
	})
}

// write writes queries, and checks that nothing is left in the scratch directory and that the files are what it says.
func (b *bench) write(out aggregate.Output, queries ...string) []File {
	b.t.Helper()
	w := b.writer(out)
	for _, query := range queries {
		if err := w.Write(b.t.Context(), query, 100); err != nil {
			b.t.Fatal(err)
		}
	}
	files, err := w.Finish(b.t.Context(), true)
	if err != nil {
		b.t.Fatal(err)
	}
	if left, err := os.ReadDir(b.scratch); err != nil || len(left) > 0 {
		b.t.Errorf("left in the scratch directory: %v, %v", left, err)
	}
	for _, f := range files {
		if info, err := os.Stat(b.path(f)); err != nil || info.Size() != f.Bytes {
			b.t.Errorf("%+v is not there: %v", f, err)
		}
	}
	return files
}

func (b *bench) path(f File) string { return filepath.Join(b.root, "out", f.Name) }

func (b *bench) rows(query string) (all []string) {
	b.t.Helper()
	err := b.session.Query(b.t.Context(), query, func(row []driver.Value) error {
		all = append(all, strings.Trim(fmt.Sprint(row), "[]"))
		return nil
	})
	if err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return all
}

func TestTextFormats(t *testing.T) {
	const row = `SELECT * FROM (VALUES
		(1, 'ä "x", y', 'nan'::DOUBLE, 0.5::DOUBLE, '\xAA\xBB'::BLOB, [{'v': 'a', 'n': 2}], TIMESTAMP '2013-01-31 10:00:00.5', 12345678901234567890123456789.5::DECIMAL(38,1)),
		(2, '', '-inf'::DOUBLE, 'inf'::DOUBLE, NULL, NULL, NULL, NULL)) AS t(n, s, nan, d, b, l, ts, dec)`
	for _, test := range []struct{ format, compression, name, want string }{
		{"csv", "none", "part-00000.csv", "n,s,nan,d,b,l,ts,dec\n" +
			`1,"ä ""x"", y",nan,0.5,qrs=,"[{""v"":""a"",""n"":2}]",2013-01-31 10:00:00.5,12345678901234567890123456789.5` + "\n" + `2,"",-inf,inf,,,,` + "\n"},
		{"jsonl", "none", "part-00000.jsonl", `{"n":1,"s":"ä \"x\", y","nan":"NaN","d":0.5,"b":"qrs=","l":[{"v":"a","n":2}],"ts":"2013-01-31 10:00:00.5","dec":12345678901234567890123456789.5}` + "\n" +
			`{"n":2,"s":"","nan":"-Infinity","d":"Infinity","b":null,"l":null,"ts":null,"dec":null}` + "\n"},
		{"jsonl", "gzip", "part-00000.jsonl.gz", "\x1f\x8b"},
		{"jsonl", "zstd", "part-00000.jsonl.zst", "\x28\xb5\x2f\xfd"},
		{"csv", "gzip", "part-00000.csv.gz", "\x1f\x8b"},
		{"csv", "zstd", "part-00000.csv.zst", "\x28\xb5\x2f\xfd"},
		{"parquet", "zstd", "part-00000.parquet", "PAR1"},
		{"parquet", "none", "part-00000.parquet", "PAR1"},
	} {
		t.Run(test.format+" "+test.compression, func(t *testing.T) {
			b := newBench(t)
			files := b.write(aggregate.Output{Format: test.format, Compression: test.compression}, row)
			if len(files) != 1 || files[0].Name != test.name || files[0].Rows != 2 {
				t.Fatalf("got %+v", files)
			}
			data, err := os.ReadFile(b.path(files[0]))
			if err != nil || !strings.HasPrefix(string(data), test.want) || test.compression == "none" && test.format != "parquet" && string(data) != test.want {
				t.Errorf("got  %q, %v\nwant %q", data, err, test.want)
			}
		})
	}
}

func TestNoRows(t *testing.T) {
	b := newBench(t)
	out := aggregate.Output{Format: "parquet", Compression: "zstd"}
	files := b.write(out, "SELECT 1::BIGINT AS n, 'x' AS s WHERE false", "SELECT 1::BIGINT AS n, 'x' AS s WHERE false")
	if len(files) != 1 || files[0].Rows != 0 {
		t.Fatalf("got %+v", files)
	}
	if got := fmt.Sprint(b.rows("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '" + b.path(files[0]) + "')")); got != "[n BIGINT s VARCHAR]" {
		t.Errorf("got %s", got)
	}
	w := b.writer(out)
	if err := w.Write(t.Context(), "SELECT 1 AS n WHERE false", 1); err != nil {
		t.Fatal(err)
	}
	if files, err := w.Finish(t.Context(), false); err != nil || len(files) != 0 {
		t.Errorf("got %+v, %v", files, err)
	}
	out.PartitionBy = []string{"s"}
	if files := b.write(out, "SELECT 1 AS n, 'x' AS s WHERE false"); len(files) != 0 {
		t.Errorf("got %+v", files)
	}
}

// Values of every type, among them those that look like paths, and what Hive keeps for itself.
func TestPartitions(t *testing.T) {
	for _, test := range []struct {
		kind   string
		values []string // SQL
		want   []string // folders
	}{
		{"VARCHAR", []string{"'UA'", "NULL", "''", "'a/b'", "'../x'", "'ü 日本'", "'50%'", "'a=b'", "'__HIVE_DEFAULT_PARTITION__'", "chr(10) || 'x' || chr(0)", "' '", "'NULL'"},
			[]string{"p=UA", "p=__HIVE_DEFAULT_PARTITION__", "p=", "p=a%2Fb", "p=..%2Fx", "p=ü 日本", "p=50%25", "p=a%3Db", "p=%5F_HIVE_DEFAULT_PARTITION__", "p=%0Ax%00", "p= ", "p=NULL"}},
		{"DOUBLE", []string{"1.5", "'nan'", "'-inf'", "1e300", "NULL"}, []string{"p=1.5", "p=nan", "p=-inf", "p=1e+300", "p=__HIVE_DEFAULT_PARTITION__"}},
		{"BIGINT", []string{"-1", "0"}, []string{"p=-1", "p=0"}},
		{"DECIMAL(10,2)", []string{"1.5"}, []string{"p=1.50"}},
		{"BOOLEAN", []string{"true", "false"}, []string{"p=true", "p=false"}},
		{"DATE", []string{"'2013-01-31'"}, []string{"p=2013-01-31"}},
		{"TIMESTAMP", []string{"'2013-01-31 10:00:00'"}, []string{"p=2013-01-31 10%3A00%3A00"}},
		{"TIMESTAMPTZ", []string{"'2013-01-31 10:00:00+02'"}, []string{"p=2013-01-31 08%3A00%3A00+00"}},
		{"BLOB", []string{`'\xAAb'`}, []string{`p=%5CxAAb`}},
		{"INTEGER[]", []string{"[1, 2]"}, []string{`p=%5B1, 2%5D`}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			b := newBench(t)
			var rows []string
			for i, value := range test.values {
				rows = append(rows, fmt.Sprintf("(%d, CAST(%s AS %s))", i, value, test.kind))
			}
			query := "SELECT * FROM (VALUES " + strings.Join(rows, ", ") + ") AS t(n, p), (VALUES (1), (2)) AS twice(m) ORDER BY m DESC, n"
			files := b.write(aggregate.Output{Format: "parquet", Compression: "zstd", PartitionBy: []string{"p"}}, query)
			if len(files) != len(test.values) {
				t.Fatalf("got %d files of %d values", len(files), len(test.values))
			}
			for _, f := range files {
				got := b.rows("SELECT * FROM read_parquet('" + strings.ReplaceAll(strings.ReplaceAll(b.path(f), "[", "[[]"), "'", "''") + "', hive_partitioning=false)")
				var n, m int
				if len(got) != 2 || f.Rows != 2 || !strings.HasSuffix(got[0], " 2") || !strings.HasSuffix(got[1], " 1") {
					t.Fatalf("%s: got %v", f.Name, got)
				}
				if _, err := fmt.Sscan(got[0], &n, &m); err != nil {
					t.Fatal(err)
				}
				if want := test.want[n] + "/part-00000.parquet"; f.Name != want {
					t.Errorf("value %d: got %s, want %s", n, f.Name, want)
				}
				if (f.Values[0] == nil) != (test.values[n] == "NULL") {
					t.Errorf("value %d: got %v", n, f.Values[0])
				}
			}
		})
	}
}

func FuzzFolder(f *testing.F) {
	for _, seed := range []string{"", "a", "a/b=c", "__HIVE_DEFAULT_PARTITION__", "%", "\x00\n", "日本"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, column, value string) {
		missing, _, _ := strings.Cut(Folder(column, nil), "=")
		name, encoded, found := strings.Cut(Folder(column, &value), "=")
		back, err := url.PathUnescape(encoded)
		if !found || err != nil || back != value || name != missing || strings.Contains(encoded, "/") || encoded == missingPartition {
			t.Fatalf("%q is %q and comes back as %q, %v", value, encoded, back, err)
		}
		if back, err := url.PathUnescape(name); err != nil || back != column {
			t.Fatalf("column %q comes back as %q, %v", column, back, err)
		}
	})
}

// A result cut into files and folders in any way has the rows of the query, each file in its order.
func TestAnyCut(t *testing.T) {
	b := newBench(t)
	rapid.Check(t, func(rt *rapid.T) {
		if err := os.RemoveAll(filepath.Join(b.root, "out")); err != nil {
			rt.Fatal(err)
		}
		rows := rapid.IntRange(1, 1500).Draw(rt, "rows")
		out := aggregate.Output{
			Format: "parquet", Compression: rapid.SampledFrom([]string{"zstd", "none"}).Draw(rt, "compression"),
			FileSize:     int64(rapid.IntRange(4_000, 50_000).Draw(rt, "file size")),
			RowGroupSize: 1 << 20,
			PartitionBy:  rapid.SampledFrom([][]string{nil, {"a"}, {"b", "a"}}).Draw(rt, "partition by"),
		}
		relation := fmt.Sprintf("SELECT i %% %d AS a, CASE WHEN i %% 5 > 0 THEN CAST(i %% 3 AS VARCHAR) END AS b, hash(i) AS h, i FROM range(%d) AS t(i)", rapid.IntRange(1, 20).Draw(rt, "values"), rows)
		w := b.writer(out)
		if err := w.Write(b.t.Context(), relation+" ORDER BY h", int64(rapid.IntRange(1, 2).Draw(rt, "known")*rows/2)); err != nil {
			rt.Fatal(err)
		}
		files, err := w.Finish(b.t.Context(), true)
		if err != nil {
			rt.Fatal(err)
		}
		var sum int64
		for _, f := range files {
			sum += f.Rows
			if got := b.rows("SELECT count(*) FROM (SELECT h, lag(h) OVER () AS before FROM '" + b.path(f) + "') WHERE before > h"); got[0] != "0" {
				rt.Fatalf("%s is not in order", f.Name)
			}
		}
		read := fmt.Sprintf("SELECT CAST(a AS BIGINT) AS a, CAST(b AS VARCHAR) AS b, h, i FROM read_parquet('%s/out/**/*.parquet', hive_partitioning=%t)", b.root, out.PartitionBy != nil)
		if got := b.rows(fmt.Sprintf("SELECT count(*) FROM ((%s EXCEPT ALL %s) UNION ALL (%s EXCEPT ALL %s))", read, relation, relation, read)); got[0] != "0" || sum != int64(rows) {
			rt.Fatalf("%s rows differ, files have %d, want %d", got[0], sum, rows)
		}
	})
}

func TestSizes(t *testing.T) {
	const query = "SELECT i, hash(i) AS h, md5(CAST(i AS VARCHAR)) AS m FROM range(150000) AS t(i) ORDER BY i"
	for _, format := range []string{"parquet", "csv"} {
		for _, known := range []int64{100, 150_000} {
			b := newBench(t)
			compression := map[string]string{"parquet": "zstd", "csv": "gzip"}[format]
			w := b.writer(aggregate.Output{Format: format, Compression: compression, FileSize: 1 << 20, RowGroupSize: 1 << 20})
			if err := w.Write(t.Context(), query, known); err != nil {
				t.Fatal(err)
			}
			files, err := w.Finish(t.Context(), true)
			if err != nil || len(files) < 3 {
				t.Fatalf("got %d files, %v", len(files), err)
			}
			for _, f := range files {
				if f.Bytes < 1<<19 || f.Bytes > 2<<20 {
					t.Errorf("%s has %d bytes, want about 1 MiB", f.Name, f.Bytes)
				}
			}
			if format == "csv" {
				continue
			}
			got := b.rows("SELECT min(n), max(n), bool_and(statistics) FROM (SELECT row_group_id, any_value(row_group_num_rows) AS n, bool_and(stats_min_value IS NOT NULL AND stats_max_value IS NOT NULL) AS statistics " +
				"FROM parquet_metadata('" + b.path(files[0]) + "') GROUP BY ALL HAVING row_group_id = 0)")
			var least, most int
			var statistics bool
			if _, err := fmt.Sscan(got[0], &least, &most, &statistics); err != nil || most*48 > 2<<20 || most*48 < 1<<19 || !statistics {
				t.Errorf("row groups have %s rows and statistics, want about 1 MiB of 48 bytes each: %v", got[0], err)
			}
		}
	}
}

// counting stores nothing, and sees how much waits in the scratch directory.
type counting struct {
	storage.Store
	dir  string
	most atomic.Int64
	puts atomic.Int64
}

func (c *counting) Put(_ context.Context, key string, body io.ReaderAt, size int64, _ storage.Condition) (storage.Object, error) {
	c.puts.Add(1)
	if waiting, err := os.ReadDir(c.dir); err == nil {
		c.most.Store(max(c.most.Load(), int64(len(waiting))))
	}
	return storage.Object{Key: key, Size: size}, nil
}

func TestTenThousandPartitions(t *testing.T) {
	b := newBench(t)
	store := &counting{dir: b.scratch}
	b.store = store
	w := b.writer(aggregate.Output{Format: "parquet", Compression: "zstd", PartitionBy: []string{"p"}})
	if err := w.Write(t.Context(), "SELECT i % 10000 AS p, i FROM range(50000) AS t(i)", 50_000); err != nil {
		t.Fatal(err)
	}
	files, err := w.Finish(t.Context(), true)
	if err != nil || len(files) != 10_000 || store.puts.Load() != 10_000 {
		t.Fatalf("got %d files in %d puts, %v", len(files), store.puts.Load(), err)
	}
	if most := store.most.Load(); most > parallel+2 { // those that are stored, and the one that is written
		t.Errorf("%d files were waiting", most)
	}
}

func TestLimits(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct{ query, want string }{
		{"SELECT 1 AS n, repeat('ä', 200) AS p", "the folder p=äää"},
		{"SELECT 1 AS n, i AS p FROM range(100001) AS t(i)", "the result has more than 100000 partitions"},
	} {
		w := b.writer(aggregate.Output{Format: "parquet", Compression: "zstd", PartitionBy: []string{"p"}})
		err := w.Write(t.Context(), test.query, 1)
		var failure *task.Failure
		if !errors.As(err, &failure) || failure.Pointer != "/aggregate/output/partition_by" || !strings.Contains(failure.Message, test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
		if _, err := w.Finish(t.Context(), false); err != nil {
			t.Error(err)
		}
		if err := b.session.Exec(t.Context(), "DROP TABLE "+table); err != nil {
			t.Error(err)
		}
	}
}

func TestFailingStore(t *testing.T) {
	b := newBench(t)
	b.store = failing{}
	w := b.writer(aggregate.Output{Format: "csv", Compression: "none"})
	err := w.Write(t.Context(), "SELECT 1 AS n", 1)
	if _, finishErr := w.Finish(t.Context(), true); !errors.Is(errors.Join(err, finishErr), storage.ErrUnavailable) {
		t.Errorf("got %v, %v", err, finishErr)
	}
	if left, err := os.ReadDir(b.scratch); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return !e.IsDir() }) {
		t.Errorf("left in the scratch directory: %v, %v", left, err)
	}
}

type failing struct{ storage.Store }

func (failing) Put(context.Context, string, io.ReaderAt, int64, storage.Condition) (storage.Object, error) {
	return storage.Object{}, storage.ErrUnavailable
}
