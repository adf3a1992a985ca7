package storagetest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/storage"
)

func testList(t *testing.T, target Target) {
	s := target.Empty(t)
	if got := list(t, s, "", ""); len(got) != 0 {
		t.Errorf("empty: got %q", got)
	}
	// A folder's slash sorts after '-' and '.', and before digits and letters.
	keys := []string{"a-b/x", "a.b", "a/b-c", "a/b/c", "a/b/d", "a/b0", "a0", "ab", "b/1", "b/10", "b/2", "ü", "日本"}
	for i := range keys {
		put(t, s, keys[(i*5)%len(keys)], "x")
	}
	tests := []struct {
		prefix, after string
		want          []string
	}{
		{"", "", keys},
		{"a", "", keys[:8]},
		{"a/", "", keys[2:6]},
		{"a/b", "", keys[2:6]},
		{"a/b/", "", keys[3:5]},
		{"a/b/c", "", keys[3:4]},
		{"b/1", "", keys[8:10]},
		{"none", "", nil},
		{"a/b/c/d", "", nil},
		{"", "a/b/c", keys[4:]},
		{"", "a/b", keys[2:]},
		{"", "a/c", keys[6:]},
		{"a/", "a/b/c", keys[4:6]},
		{"b/", "a", keys[8:11]},
		{"a", "b", nil},
		{"", "日本", nil},
	}
	for _, tt := range tests {
		if got := list(t, s, tt.prefix, tt.after); !slices.Equal(got, tt.want) {
			t.Errorf("list %q after %q: got %q, want %q", tt.prefix, tt.after, got, tt.want)
		}
	}
	for range s.List(t.Context(), "", "") {
		break // and nothing bad happens
	}
}

func testMany(t *testing.T, target Target) {
	s := target.Empty(t)
	const n = 1005
	keys := make([]string, n)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for i := range keys {
		keys[i] = fmt.Sprintf("many/%d/%05d", i/400, i)
		group.Go(func() error {
			_, err := storage.WriteAll(ctx, s, keys[i], []byte(keys[i]), storage.Always)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s, "many/", ""); !slices.Equal(got, keys) {
		t.Errorf("got %d keys %.200q, want %d in order", len(got), got, n)
	}
	if got, want := list(t, s, "", keys[1000]), keys[1001:]; !slices.Equal(got, want) {
		t.Errorf("after the first thousand: got %d keys, want %d", len(got), len(want))
	}
	if err := s.Delete(t.Context(), keys[:n-1]...); err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, s, "", ""), keys[n-1:]; !slices.Equal(got, want) {
		t.Errorf("after deleting: got %q, want %q", got, want)
	}
}

func testRanges(t *testing.T, target Target) {
	s := target.Empty(t)
	put(t, s, "digits", "0123456789")
	put(t, s, "empty", "")
	tests := []struct {
		key            string
		offset, length int64
		want           string
	}{
		{"digits", 0, 0, "0123456789"},
		{"digits", 0, 1, "0"},
		{"digits", 3, 4, "3456"},
		{"digits", 3, 0, "3456789"},
		{"digits", 9, 0, "9"},
		{"digits", 9, 1, "9"},
		{"digits", 8, 100, "89"},
		{"digits", 0, 10, "0123456789"},
		{"digits", 0, 11, "0123456789"},
		{"empty", 0, 0, ""},
		{"empty", 0, 5, ""},
	}
	for _, tt := range tests {
		got, obj := get(t, s, tt.key, storage.Range{Offset: tt.offset, Length: tt.length})
		if got != tt.want {
			t.Errorf("%s %d+%d: got %q, want %q", tt.key, tt.offset, tt.length, got, tt.want)
		}
		stat, err := s.Stat(t.Context(), tt.key)
		if err != nil {
			t.Fatal(err)
		}
		if obj.Key != stat.Key || obj.Size != stat.Size || obj.ETag != stat.ETag || !obj.Modified.Equal(stat.Modified) {
			t.Errorf("%s %d+%d: get describes %+v, stat %+v", tt.key, tt.offset, tt.length, obj, stat)
		}
	}
	for _, r := range []storage.Range{{Offset: 10}, {Offset: 10, Length: 1}, {Offset: 1000}, {Offset: -1}, {Length: -1}} {
		_, _, err := s.Get(t.Context(), "digits", r)
		want(t, fmt.Sprintf("range %+v", r), err, storage.ErrInvalid)
	}
	_, _, err := s.Get(t.Context(), "empty", storage.Range{Offset: 1})
	want(t, "range of an empty object", err, storage.ErrInvalid)
}

func testVersions(t *testing.T, target Target) {
	s := target.Empty(t)
	before := time.Now().Add(-2 * time.Second) // S3 knows whole seconds only
	old := put(t, s, "versioned", "one")
	if old.ETag == "" || old.Size != 3 || old.Key != "versioned" {
		t.Errorf("put: got %+v", old)
	}
	stat, err := s.Stat(t.Context(), "versioned")
	if err != nil {
		t.Fatal(err)
	}
	if stat.ETag != old.ETag || stat.Size != 3 || stat.Modified.Before(before) || stat.Modified.After(time.Now().Add(2*time.Second)) {
		t.Errorf("stat: got %+v after put gave %+v", stat, old)
	}
	for listed, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if listed.ETag != stat.ETag || listed.Size != stat.Size || !listed.Modified.Equal(stat.Modified) {
			t.Errorf("list: got %+v, stat gave %+v", listed, stat)
		}
	}
	if got, _ := get(t, s, "versioned", storage.Range{ETag: old.ETag, Offset: 1}); got != "ne" {
		t.Errorf("got %q of the version that is there", got)
	}
	put(t, s, "versioned", "two")
	_, _, err = s.Get(t.Context(), "versioned", storage.Range{ETag: old.ETag})
	want(t, "get of an old version", err, storage.ErrCondition)
	r := storage.NewReader(t.Context(), s, old, storage.Range{}, storage.ReadAhead{})
	_, err = io.ReadAll(r)
	want(t, "reader of an old version", errors.Join(err, r.Close()), storage.ErrCondition)
}

func testOddKeys(t *testing.T, target Target) {
	s := target.Empty(t)
	keys := []string{
		"a b", "a+b", "a%20b", "a%2Fb", "100%", "q?x=1&y=2", "h#1", "dir with space/ä+%/ö.csv", "=", "~tilde", "quote'\"<>", "semi;colon,comma",
		"back\\slash", "star*", "{brace}", "day=2013-01-01/part-0.gz", "emoji-😀", "...", ".hidden", "e\u0301",
	}
	slices.Sort(keys)
	for _, key := range keys {
		put(t, s, key, "content of "+key)
	}
	if got := list(t, s, "", ""); !slices.Equal(got, keys) {
		t.Errorf("list: got %q, want %q", got, keys)
	}
	for _, key := range keys {
		if got, _ := get(t, s, key, storage.Range{}); got != "content of "+key {
			t.Errorf("get %q: got %q", key, got)
		}
		if got := list(t, s, key, ""); !slices.Contains(got, key) {
			t.Errorf("list %q: got %q, want the key", key, got)
		}
		copied := "copies/" + key
		if err := s.Copy(t.Context(), key, copied); err != nil {
			t.Errorf("copy %q: %v", key, err)
		} else if got, _ := get(t, s, copied, storage.Range{}); got != "content of "+key {
			t.Errorf("get copy of %q: got %q", key, got)
		}
		if err := s.Delete(t.Context(), copied); err != nil {
			t.Errorf("delete %q: %v", copied, err)
		}
	}
	if err := s.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s, "", ""); len(got) != 0 {
		t.Errorf("got %q after all were deleted", got)
	}
}

func testRefusedKeys(t *testing.T, target Target) {
	s := target.Empty(t)
	for _, key := range []string{"", "nul\x00", "bad\xff", "line\nbreak", strings.Repeat("x", 1025)} {
		_, err := s.Stat(t.Context(), key)
		want(t, fmt.Sprintf("stat %.20q", key), err, storage.ErrInvalid)
		_, _, err = s.Get(t.Context(), key, storage.Range{})
		want(t, fmt.Sprintf("get %.20q", key), err, storage.ErrInvalid)
		_, err = storage.WriteAll(t.Context(), s, key, nil, storage.Always)
		want(t, fmt.Sprintf("put %.20q", key), err, storage.ErrInvalid)
		want(t, fmt.Sprintf("delete %.20q", key), s.Delete(t.Context(), key), storage.ErrInvalid)
		want(t, fmt.Sprintf("copy from %.20q", key), s.Copy(t.Context(), key, "to"), storage.ErrInvalid)
		want(t, fmt.Sprintf("copy to %.20q", key), s.Copy(t.Context(), "from", key), storage.ErrInvalid)
	}
}
