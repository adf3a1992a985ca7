package input

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/storage"
)

// Files that come and go between runs are read once each, in whatever order they come.
func TestSince(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []byte
		read := map[string]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "runs") {
			keys := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-cé/"]{1,3}`), 0, 8, rapid.ID).Draw(t, "keys")
			slices.Sort(keys)
			set := &Set{Partitions: []string{"p"}}
			for _, key := range keys {
				set.Files = append(set.Files, File{Key: key, ETag: "v" + key})
			}
			var before io.Reader
			if list != nil {
				before = bytes.NewReader(list)
			}
			var after bytes.Buffer
			fresh, err := set.Since(before, &after)
			if err != nil {
				t.Fatal(err)
			}
			list = after.Bytes()
			var want, got []string
			for _, key := range keys {
				if !read[key] {
					want = append(want, key)
				}
				read[key] = true
			}
			for _, file := range fresh.Files {
				got = append(got, file.Key)
			}
			if !slices.Equal(got, want) || len(fresh.Partitions) != 1 {
				t.Fatalf("got %q, want %q of %q", got, want, keys)
			}
		}
	})
}

func TestSinceChanged(t *testing.T) {
	set := &Set{Base: storage.URI{Scheme: "s3", Bucket: "data"}, Files: []File{{Key: "a", ETag: "1"}, {Key: "b", ETag: "1"}}}
	var list bytes.Buffer
	if _, err := set.Since(nil, &list); err != nil {
		t.Fatal(err)
	}
	set.Files[1].ETag = "2"
	_, err := set.Since(&list, io.Discard)
	var failure *task.Failure
	if !errors.As(err, &failure) || !strings.HasPrefix(failure.Message, "s3://data/b has changed") || failure.Pointer != "/aggregate/input/new_since" {
		t.Errorf("got %v", err)
	}
}

func FuzzSince(f *testing.F) {
	for _, seed := range []string{"", "{\"key\":\"a\",\"etag\":\"1\"}\n", "{\"key\":\"b\"}\n{\"key\":\"a\"}\n", "{", "null\n"} {
		f.Add([]byte(seed))
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		set := &Set{Files: []File{{Key: "a", ETag: "1"}, {Key: "m", ETag: "1"}}}
		if _, err := set.Since(bytes.NewReader(list), io.Discard); err == nil && len(list) > 0 && !bytes.HasPrefix(list, []byte{0x28, 0xb5, 0x2f, 0xfd}) && list[0]&0xf0 != 0x50 {
			t.Fatalf("%q was taken for a list", list)
		}
		var after bytes.Buffer
		if _, err := set.Since(bytes.NewReader(encoder.EncodeAll(list, nil)), &after); err != nil {
			return
		}
		if fresh, err := set.Since(&after, io.Discard); err != nil || len(fresh.Files) > 0 {
			t.Fatalf("the list that was written has not all: %v, %v", fresh, err)
		}
	})
}
