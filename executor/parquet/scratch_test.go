package parquet

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go/format"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a store that remembers which ranges were asked for.
type recorder struct {
	storage.Store
	mu     sync.Mutex
	ranges []span
}

func (r *recorder) Get(ctx context.Context, key string, of storage.Range) (io.ReadCloser, storage.Object, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ranges = append(r.ranges, span{of.Offset, of.Offset + of.Length})
	return r.Store.Get(ctx, key, of)
}

func openTestdata(t testing.TB) *recorder {
	t.Helper()
	root, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	store, err := file.Open(file.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return &recorder{Store: store}
}

func samples(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(names) < 15 {
		t.Fatalf("got %d files, %v", len(names), err)
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names
}

func read(t testing.TB, store storage.Store, name string) (*Footer, storage.Object) {
	t.Helper()
	object, err := store.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	footer, _, err := Read(t.Context(), store, object)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return footer, object
}

// openEngine starts an engine that reaches dir.
func openEngine(t testing.TB, dir string) *engine.Session {
	t.Helper()
	session, err := engine.Open(t.Context(), engine.Config{Dir: dir, Memory: 256 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}

// rows are the rows of a query, sorted, as text.
func rows(t testing.TB, session *engine.Session, sql string) []string {
	t.Helper()
	var all []string
	err := session.Query(t.Context(), sql, func(row []driver.Value) error {
		all = append(all, fmt.Sprint(row))
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	slices.Sort(all)
	return all
}

func all(n int) []bool { return slices.Repeat([]bool{true}, n) }

// copySample puts a file where the engine reaches it.
func copySample(t testing.TB, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return engine.Literal(filepath.Join(dir, name))
}

// oneByOne are the samples of which each column is read alone, too.
var oneByOne = []string{"pyarrow_v2_index.parquet", "duckdb_v2.parquet"}

// The engine reads of a scratch file what it reads of the whole one, whichever groups and columns it has.
func TestScratchFilesReadLikeTheWhole(t *testing.T) {
	store := openTestdata(t)
	dir := t.TempDir()
	session := openEngine(t, dir)
	for _, name := range samples(t) {
		footer, object := read(t, store, name)
		whole := copySample(t, dir, name)
		types := rows(t, session, "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet("+whole+"))")
		if len(types) != len(footer.Columns) {
			t.Errorf("%s: got %d columns, the engine sees %d", name, len(footer.Columns), len(types))
		}
		choices := [][]int{nil}
		for g := range footer.Groups {
			choices = append(choices, []int{g})
		}
		if len(footer.Groups) > 2 {
			choices = append(choices, []int{0, 2})
		}
		for i, groups := range choices {
			keeps := [][]bool{all(len(footer.Columns))}
			if i == 1 && slices.Contains(oneByOne, name) {
				for only := range footer.Columns {
					keeps = append(keeps, make([]bool, len(footer.Columns)))
					keeps[only+1][only] = true
				}
			}
			for _, keep := range keeps {
				checkScratch(t, session, store, footer, object, groups, keep, whole, dir)
			}
		}
	}
}

func checkScratch(t *testing.T, session *engine.Session, store storage.Store, footer *Footer, object storage.Object, groups []int, keep []bool, whole, dir string) {
	t.Helper()
	path := filepath.Join(dir, "scratch")
	footer.whole = nil // as if it were large
	var fetched atomic.Int64
	if err := footer.Fetch(t.Context(), store, object, groups, keep, path, storage.ReadAhead{Chunk: 1000, Parallel: 3}, &fetched); err != nil {
		t.Fatalf("%s: %v", object.Key, err)
	}
	var names, numbers []string
	for i := range footer.Columns {
		if keep[i] {
			numbers = append(numbers, Name(i))
		}
	}
	where := []string{"false"}
	for _, g := range groups {
		group := footer.Groups[g]
		where = append(where, fmt.Sprintf("file_row_number >= %d AND file_row_number < %d", group.First, group.First+group.Rows))
	}
	for i, line := range ordered(t, session, "SELECT column_name FROM (DESCRIBE FROM read_parquet("+whole+"))") {
		if keep[i] {
			names = append(names, engine.Name(line))
		}
	}
	text := func(list []string) string {
		for i, name := range list {
			list[i] = "CAST(" + name + " AS VARCHAR), typeof(" + name + ")"
		}
		return strings.Join(list, ", ")
	}
	got := rows(t, session, "SELECT "+text(numbers)+" FROM read_parquet("+engine.Literal(path)+")")
	want := rows(t, session, "SELECT "+text(names)+" FROM read_parquet("+whole+", file_row_number=true) WHERE "+strings.Join(where, " OR "))
	if !slices.Equal(got, want) {
		t.Errorf("%s, groups %v, columns %v:\ngot  %q\nwant %q", object.Key, groups, keep, got, want)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}

// ordered are the texts of a query, in its order.
func ordered(t testing.TB, session *engine.Session, sql string) []string {
	t.Helper()
	texts, err := session.Strings(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// What is fetched is what is needed: the chunks of the kept columns and groups, and what lies in small gaps between them.
func TestOnlyNeededRangesAreFetched(t *testing.T) {
	store := openTestdata(t)
	footer, object := read(t, store, "pyarrow.parquet")
	if len(store.ranges) != 1 || store.ranges[0] != (span{0, object.Size}) {
		t.Errorf("to read the footer, got %v", store.ranges)
	}
	keepAll := all(len(footer.Columns))
	if err := footer.Fetch(t.Context(), store, object, []int{0}, keepAll, filepath.Join(t.TempDir(), "small"), storage.ReadAhead{}, nil); err != nil || len(store.ranges) != 1 {
		t.Errorf("of a small object, got %v, %v", store.ranges, err)
	}
	var metadata format.FileMetaData
	decodeFooter(t, "pyarrow.parquet", &metadata)
	for _, column := range []int{0, 11} {
		keep := make([]bool, len(footer.Columns))
		keep[column] = true
		store.ranges, footer.whole = nil, nil // as if it were large
		var fetched atomic.Int64
		if err := footer.Fetch(t.Context(), store, object, []int{1}, keep, filepath.Join(t.TempDir(), "scratch"), storage.ReadAhead{}, &fetched); err != nil {
			t.Fatal(err)
		}
		m := metadata.RowGroups[1].Columns[column].MetaData
		if want := []span{{m.DictionaryPageOffset, m.DictionaryPageOffset + m.TotalCompressedSize}}; !slices.Equal(store.ranges, want) || m.DictionaryPageOffset == 0 {
			t.Errorf("got %v, want %v", store.ranges, want)
		}
		if fetched.Load() != m.TotalCompressedSize || footer.Bytes([]int{1}, keep) != m.TotalCompressedSize {
			t.Errorf("got %d bytes, of %d, want %d", fetched.Load(), footer.Bytes([]int{1}, keep), m.TotalCompressedSize)
		}
	}
}

func TestNearRangesAreOne(t *testing.T) {
	f := &Footer{Columns: []Column{{leaves: 1}, {first: 1, leaves: 1}, {first: 2, leaves: 1}}}
	f.Groups = []Group{
		{chunks: []chunk{{offset: 4, length: 10}, {offset: 14, length: near}, {offset: 14 + near, length: near + 1}}},
		{chunks: []chunk{{offset: 15 + 3*near, length: 5}, {offset: 50 * near, length: 1}, {offset: 20 + 3*near, length: 0}}},
	}
	for _, test := range []struct {
		keep []bool
		want []span
	}{
		{[]bool{true, false, true}, []span{{4, 20 + 3*near}}},
		{[]bool{true, false, false}, []span{{4, 14}, {15 + 3*near, 20 + 3*near}}},
		{[]bool{false, true, false}, []span{{14, 14 + near}, {50 * near, 50*near + 1}}},
	} {
		if got := f.ranges([]int{0, 1}, test.keep); !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, want %v", test.keep, got, test.want)
		}
	}
}

// No value of a column is beyond its bounds, and where a group has no missing values they say so.
func TestBoundsHold(t *testing.T) {
	store := openTestdata(t)
	dir := t.TempDir()
	session := openEngine(t, dir)
	bounded := map[string]int{}
	for _, name := range samples(t) {
		footer, _ := read(t, store, name)
		whole := copySample(t, dir, name)
		names := ordered(t, session, "SELECT column_name FROM (DESCRIBE FROM read_parquet("+whole+"))")
		for g := range footer.Groups {
			group := &footer.Groups[g]
			for i, column := range footer.Columns {
				b := group.Bounds(column)
				value := engine.Name(names[i])
				from := fmt.Sprintf(" FROM read_parquet(%s, file_row_number=true) WHERE file_row_number >= %d AND file_row_number < %d", whole, group.First, group.First+group.Rows)
				if nulls, err := session.Int(t.Context(), "SELECT count(*) - count("+value+")"+from); err != nil || b.Nulls >= 0 && b.Nulls != nulls {
					t.Errorf("%s, group %d, %s: got %d missing, want %d, %v", name, g, names[i], b.Nulls, nulls, err)
				}
				for bound, compare := range map[*string]string{b.Min: "<", b.Max: ">"} {
					if bound == nil {
						continue
					}
					bounded[name+" "+column.Name]++
					cast := fmt.Sprintf("CAST(%s AS %s)", engine.Literal(*bound), rows(t, session, "SELECT DISTINCT typeof("+value+")"+from)[0])
					cast = strings.NewReplacer("[", "", "]", "").Replace(cast)
					beyond, err := session.Int(t.Context(), fmt.Sprintf("SELECT count(*)%s AND %s %s %s AND CAST(%[2]s AS VARCHAR) <> 'nan'", from, value, compare, cast))
					if err != nil || beyond != 0 {
						t.Errorf("%s, group %d, %s: %d values are %s %s, %v", name, g, names[i], beyond, compare, *bound, err)
					}
				}
			}
		}
	}
	for _, want := range []string{"id", "small", "u8", "u32", "u64", "f32", "f64", "flag", "text", "day", "ts_ms", "ts_us", "ts_ns", "ts_tz", "cat"} {
		for _, name := range []string{"pyarrow.parquet", "duckdb.parquet", "polars.parquet"} {
			if bounded[name+" "+want] == 0 {
				t.Errorf("%s: column %s has no bounds", name, want)
			}
		}
	}
	for bound := range bounded {
		if strings.HasPrefix(bound, "pyarrow_no_statistics") {
			t.Errorf("%s is bounded", bound)
		}
	}
}
