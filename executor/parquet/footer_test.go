package parquet

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

// footerBytes is the encoded footer of a file, and the size of what is before it.
func footerBytes(t testing.TB, name string) ([]byte, int64) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	end := len(data) - tail
	begin := end - int(binary.LittleEndian.Uint32(data[end:]))
	return data[begin:end], int64(begin)
}

// decodeFooter is what another reader makes of it.
func decodeFooter(t testing.TB, name string, into *format.FileMetaData) {
	t.Helper()
	data, _ := footerBytes(t, name)
	if err := thrift.Unmarshal(&thrift.CompactProtocol{}, data, into); err != nil {
		t.Fatal(err)
	}
}

func TestFootersAreReadLikeOthersReadThem(t *testing.T) {
	for _, name := range samples(t) {
		var want format.FileMetaData
		decodeFooter(t, name, &want)
		data, size := footerBytes(t, name)
		got, err := parse(data, size)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Rows != want.NumRows || len(got.Columns) != int(want.Schema[0].NumChildren.V) {
			t.Errorf("%s: got %d rows, %d columns", name, got.Rows, len(got.Columns))
		}
		groups := 0
		for _, g := range want.RowGroups {
			if g.NumRows == 0 {
				continue
			}
			if got.Groups[groups].Rows != g.NumRows {
				t.Errorf("%s: got %d rows in group %d", name, got.Groups[groups].Rows, groups)
			}
			for i, c := range g.Columns {
				offset := c.MetaData.DataPageOffset
				if d := c.MetaData.DictionaryPageOffset; d > 0 {
					offset = d
				}
				if chunk := got.Groups[groups].chunks[i]; chunk.offset != offset || chunk.length != c.MetaData.TotalCompressedSize {
					t.Errorf("%s: column %d of group %d is at %d, %d bytes", name, i, groups, chunk.offset, chunk.length)
				}
			}
			groups++
		}
		if groups != len(got.Groups) {
			t.Errorf("%s: got %d groups, want %d", name, len(got.Groups), groups)
		}
	}
}

// A rewritten footer says of what was kept what it said before, but for indexes and filters.
func TestRewrittenFooters(t *testing.T) {
	for _, name := range samples(t) {
		var want, got format.FileMetaData
		decodeFooter(t, name, &want)
		data, size := footerBytes(t, name)
		f, err := parse(data, size)
		if err != nil || len(f.Groups) < 2 {
			continue
		}
		keep := all(len(f.Columns))
		keep[1] = false
		end := f.rewrite([]int{1}, keep)
		if length := int(binary.LittleEndian.Uint32(end[len(end)-tail:])); length != len(end)-tail {
			t.Errorf("%s: its length is %d, got %d", name, len(end)-tail, length)
		}
		if err := thrift.Unmarshal(&thrift.CompactProtocol{}, end[:len(end)-tail], &got); err != nil {
			t.Fatal(err)
		}
		want.RowGroups = slices.DeleteFunc(want.RowGroups, func(g format.RowGroup) bool { return g.NumRows == 0 })
		want.NumRows = want.RowGroups[1].NumRows
		want.RowGroups = want.RowGroups[1:2]
		group := &want.RowGroups[0]
		group.Columns = append(group.Columns[:1:1], group.Columns[2:]...)
		group.SortingColumns = nil
		for i := range group.Columns {
			c := &group.Columns[i]
			c.OffsetIndexOffset, c.OffsetIndexLength, c.ColumnIndexOffset, c.ColumnIndexLength = 0, 0, 0, 0
			c.MetaData.BloomFilterOffset, c.MetaData.BloomFilterLength = 0, 0
		}
		if len(want.ColumnOrders) > 0 {
			want.ColumnOrders = append(want.ColumnOrders[:1:1], want.ColumnOrders[2:]...)
		}
		want.Schema = append(want.Schema[:2:2], want.Schema[3:]...)
		want.Schema[0].NumChildren.V--
		for i, at := 0, 1; i < len(f.Columns); i++ {
			if keep[i] {
				want.Schema[at].Name = Name(i)
				at += f.Columns[i].elements
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// write makes a store with one object.
func write(t testing.TB, content string) (storage.Store, storage.Object) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := file.Open(file.Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	object, err := store.Stat(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return store, object
}

func TestBrokenFiles(t *testing.T) {
	data, err := os.ReadFile("testdata/pyarrow.parquet")
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	footer, begin := footerBytes(t, "pyarrow.parquet")
	length := func(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }
	for _, test := range []struct {
		name, content string
		want          error
		text          string
	}{
		{"empty", "", ErrDamaged, "it has only 0 bytes"},
		{"short", "PAR1PAR1", ErrDamaged, "it has only 8 bytes"},
		{"text", strings.Repeat("a,b\n", 100), ErrDamaged, "it does not end in PAR1"},
		{"cut short", good[:len(good)-1], ErrDamaged, "it does not end in PAR1"},
		{"cut short to the beginning", "PAR1" + good[len(good)-8:], ErrDamaged, "its footer would have"},
		{"encrypted", good[:len(good)-4] + "PARE", ErrEncrypted, "encrypted"},
		{"an endless footer", good[:len(good)-8] + length(1<<31) + magic, ErrDamaged, "its footer would have 2147483648 bytes"},
		{"half a footer", good[:len(good)-8] + length(uint32(len(footer)/2)) + magic, ErrDamaged, "damaged"},
		{"no footer", good[:begin] + length(0) + magic, ErrDamaged, "it ends too early"},
		{"data are missing", "PAR1" + string(footer) + good[len(good)-8:], ErrDamaged, "the file has 4 before its footer"},
	} {
		store, object := write(t, test.content)
		_, _, err := Read(t.Context(), store, object)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}

// A footer longer than what is read at first takes a second read, of what is missing.
func TestLongFooter(t *testing.T) {
	content, err := os.ReadFile("testdata/pyarrow.parquet")
	if err != nil {
		t.Fatal(err)
	}
	footer, begin := footerBytes(t, "pyarrow.parquet")
	padded := append([]byte{}, footer[:len(footer)-1]...) // without the end, behind which a field is added
	var pad encoder
	pad.text(100, strings.Repeat("x", 3*guess))
	padded = append(append(padded, pad.data...), 0)
	whole := append(append([]byte{}, content[:begin]...), padded...)
	whole = append(binary.LittleEndian.AppendUint32(whole, uint32(len(padded))), magic...)
	store, object := write(t, string(whole))
	recorded := &recorder{Store: store}
	f, n, err := Read(t.Context(), recorded, object)
	if err != nil || f.Rows != 60 {
		t.Fatalf("got %v", err)
	}
	if want := int64(len(padded) + tail); n != want || len(recorded.ranges) != 2 || recorded.ranges[0].begin != object.Size-guess || recorded.ranges[1] != (span{begin, object.Size - guess}) {
		t.Errorf("got %d bytes, ranges %v of %d, want %d", n, recorded.ranges, object.Size, want)
	}
}

// Claims cost nothing.
func TestLyingFootersTakeNoMemory(t *testing.T) {
	for _, claim := range [][]byte{
		{0x29, 0xfc, 0xff, 0xff, 0xff, 0x07},                                 // 2^31 elements of schema
		{0x49, 0xfc, 0xff, 0xff, 0xff, 0x07},                                 // as many row groups
		{0x68, 0xff, 0xff, 0xff, 0x07},                                       // a long text
		append([]byte{0x49, 0xfc, 0x80, 0x80, 0x40}, make([]byte, 1<<20)...), // a million empty row groups
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := parse(append(claim, 0), 1<<40); !errors.Is(err, ErrDamaged) {
			t.Errorf("%x: got %v", claim[:5], err)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%x: it took %d bytes", claim[:5], took)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"polars_no_rows.parquet", "pyarrow_names_2rows.parquet", "duckdb_v2.parquet", "pyarrow_no_rows.parquet"} {
		data, size := footerBytes(f, name)
		f.Add(data, size)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		footer, err := parse(data, size)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrEncrypted) {
				t.Errorf("got %v", err)
			}
			return
		}
		keep := all(len(footer.Columns))
		groups := make([]int, len(footer.Groups))
		for g := range groups {
			groups[g] = g
			for _, c := range footer.Columns {
				footer.Groups[g].Bounds(c)
			}
		}
		for _, s := range footer.ranges(groups, keep) {
			if s.begin < int64(len(magic)) || s.end <= s.begin || s.end > size {
				t.Errorf("it would read %v of %d", s, size)
			}
		}
		again, err := parse(footer.rewrite(groups, keep), size)
		if err == nil && (again.Rows != footer.Rows || len(again.Groups) != len(footer.Groups) || len(again.Columns) != len(footer.Columns)) {
			t.Errorf("rewritten, it has %d rows, %d groups, %d columns", again.Rows, len(again.Groups), len(again.Columns))
		}
	})
}
