package input

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
)

// pagedStore lists keys as S3 does: by pages, each of which takes a while.
type pagedStore struct {
	storage.Store
	keys  []string // in order
	page  int
	delay time.Duration
	calls atomic.Int64
	fails int64 // the number of the call that fails, from 1 on
}

func (s *pagedStore) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		i, _ := slices.BinarySearch(s.keys, max(prefix, after))
		for ; i < len(s.keys) && s.keys[i] <= after; i++ {
		}
		for {
			if n := s.calls.Add(1); n == s.fails {
				yield(storage.Object{}, storage.ErrUnavailable)
				return
			}
			select {
			case <-time.After(s.delay):
			case <-ctx.Done():
				yield(storage.Object{}, ctx.Err())
				return
			}
			for n := 0; n < s.page; n++ {
				if i >= len(s.keys) || !strings.HasPrefix(s.keys[i], prefix) {
					return
				}
				if !yield(storage.Object{Key: strings.Clone(s.keys[i]), Size: 1, ETag: `"0123456789abcdef0123456789abcdef"`}, nil) {
					return
				}
				i++
			}
		}
	}
}

// makers give the i-th key of n, in the shapes that lakes have.
var makers = map[string]func(i, n int) string{
	"numbers": func(i, n int) string { return fmt.Sprintf("lake/t/part-%08d.json.gz", i) },
	"days": func(i, n int) string {
		day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i*1200/n)
		return fmt.Sprintf("lake/t/%s/part-%05d.json.gz", day.Format("year=2006/month=01/day=02"), i)
	},
	"hashes": func(i, n int) string {
		return fmt.Sprintf("lake/t/%016x%016x.json", uint64(i)*0x9e3779b97f4a7c15, uint64(i)*0xd1b54a32d192ed03)
	},
	"one large folder": func(i, n int) string {
		if i < n/20 {
			return fmt.Sprintf("lake/t/tenant=%c/%d.csv", 'a'+i%26, i)
		}
		return fmt.Sprintf("lake/t/tenant=big/2024-01-%02dT%02d:%02d_%d.csv", i%28+1, i%24, i%60, i)
	},
}

func makeKeys(name string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = makers[name](i, n)
	}
	slices.Sort(keys)
	return keys
}

// A million keys at 50 ms a page take 50 s one after another. The clock is that of the bubble.
func TestListingOfAMillionKeys(t *testing.T) {
	for name := range makers {
		t.Run(name, func(t *testing.T) {
			n := 100_000
			if name == "days" {
				n = 1_000_000
			}
			keys, alone := makeKeys(name, n), time.Duration(n/page)*50*time.Millisecond
			synctest.Test(t, func(t *testing.T) {
				store := &pagedStore{keys: keys, page: page, delay: 50 * time.Millisecond}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				began, said := time.Now(), 0
				set, err := List(t.Context(), store, &aggregate.Input{URI: "s3://bucket/lake/t/", Compression: "auto", HivePartitions: true}, "/aggregate/input",
					func(n int) { said = max(said, n) })
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(began)
				runtime.GC()
				runtime.ReadMemStats(&after)
				for i := range keys {
					if set.Files[i].Key != keys[i] {
						t.Fatalf("file %d is %s, want %s", i, set.Files[i].Key, keys[i])
					}
				}
				memory := int64(after.HeapAlloc) - int64(before.HeapAlloc)
				t.Logf("%s, %d calls, %d MB", took, store.calls.Load(), memory>>20)
				if len(set.Files) != len(keys) || said != len(keys) {
					t.Errorf("got %d files, and was told of %d", len(set.Files), said)
				}
				// Finding where to cut costs up to some 300 calls, however many keys there are.
				if took > alone/2 || store.calls.Load() > int64(n/page*3/2+400) || memory > int64(n)*200 {
					t.Errorf("took %s, %d calls and %d MB", took, store.calls.Load(), memory>>20)
				}
				runtime.KeepAlive(set)
			})
		})
	}
}

// However keys look, each is found once, in order, and a few of them cost no call more than one after another.
func TestListingFindsEachKeyOnce(t *testing.T) {
	rapid.Check(t, findsEachKeyOnce)
}

func findsEachKeyOnce(rt *rapid.T) {
	name := rapid.StringMatching(`lake/([a-c0-2é~!]{1,3}[/=-]){0,2}[a-c0-2é~]{1,5}`)
	keys := rapid.SliceOfNDistinct(name, 1, 300, rapid.ID[string]).Draw(rt, "keys")
	slices.Sort(keys)
	store := &pagedStore{keys: keys, page: rapid.IntRange(1, 10).Draw(rt, "page"), delay: 20 * time.Microsecond}
	l := listing{
		store: store, prefix: "lake/", listers: rapid.IntRange(1, 5).Draw(rt, "listers"), enough: rapid.IntRange(1, 20).Draw(rt, "enough"),
		keep:     func(o storage.Object) (File, bool) { return File{Key: o.Key}, true },
		progress: func(int) {},
	}
	files, err := l.run(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	got := make([]string, len(files))
	for i, f := range files {
		got[i] = f.Key
	}
	if !slices.Equal(got, keys) {
		rt.Fatalf("got %q, want %q", got, keys)
	}
	if l.listers == 1 && store.calls.Load() != int64(len(keys)/store.page+1) {
		rt.Fatalf("%d calls for %d keys in pages of %d", store.calls.Load(), len(keys), store.page)
	}
}

func TestListingThatFails(t *testing.T) {
	for _, call := range []int64{1, 2, 5, 20} {
		synctest.Test(t, func(t *testing.T) {
			store := &pagedStore{keys: makeKeys("numbers", 50_000), page: page, delay: time.Second, fails: call}
			_, err := List(t.Context(), store, &aggregate.Input{URI: "s3://bucket/lake/t/"}, "/aggregate/input", func(int) {})
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("call %d: got %v", call, err)
			}
		})
	}
}

func TestPartitions(t *testing.T) {
	store := lay(t, map[string]string{
		"year=2024/month=07/a.csv": "1", "year=2024/month=07/b.csv": "1", "year=2024/month=__HIVE_DEFAULT_PARTITION__/a.csv": "1",
		"year=2025/sub/city=K%C3%B6ln%2F1/a.csv": "1", "year=2025/Month=8/a.csv": "1", "plain/a.csv": "1", "=x/a.csv": "1", "year=%zz/a.csv": "1",
	})
	set, err := List(t.Context(), store, &aggregate.Input{URI: "file:///data/", Compression: "auto", HivePartitions: true}, "/aggregate/input", func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, f := range set.Files {
		line := strings.TrimPrefix(f.Key, "data/") + ":"
		for c, value := range set.Constants(i) {
			if value != nil {
				line += " " + set.Partitions[c] + "=" + *value
			}
		}
		got = append(got, line)
	}
	want := []string{
		"=x/a.csv:", "plain/a.csv:", "year=%zz/a.csv: year=%zz", "year=2024/month=07/a.csv: year=2024 month=07", "year=2024/month=07/b.csv: year=2024 month=07",
		"year=2024/month=__HIVE_DEFAULT_PARTITION__/a.csv: year=2024", "year=2025/Month=8/a.csv: year=2025 month=8",
		"year=2025/sub/city=K%C3%B6ln%2F1/a.csv: year=2025 city=Köln/1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	for _, uri := range []string{"file:///data/year=2024/month=07/", "file:///data/year=2024/month=07/a.csv", "file:///data/plain/"} {
		set, err := List(t.Context(), store, &aggregate.Input{URI: uri, Compression: "auto", HivePartitions: true}, "/aggregate/input", func(int) {})
		if err != nil || len(set.Partitions) > 0 || set.Constants(0) != nil {
			t.Errorf("%s: got %v, %v", uri, set.Partitions, err)
		}
	}
	if got := set.Without(map[int]bool{set.Files[3].Folder: true}); len(got.Files) != 6 || len(set.Files) != 8 {
		t.Errorf("got %v", got.Files)
	}
}
