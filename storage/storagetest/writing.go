package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/tidemill/tidemill/storage"
)

// bigSize makes every implementation that has parts use several.
const bigSize = 40 << 20

func testOverwrite(t *testing.T, target Target) {
	s := target.Empty(t)
	first := put(t, s, "k", "first, and longer")
	second := put(t, s, "k", "second")
	if first.ETag == second.ETag {
		t.Errorf("got ETag %q for both versions", first.ETag)
	}
	if got, obj := get(t, s, "k", storage.Range{}); got != "second" || obj.ETag != second.ETag || obj.Size != 6 {
		t.Errorf("got %q, %+v, want the second version", got, obj)
	}
	clean(t, target, s)
}

func testConditions(t *testing.T, target Target) {
	s := target.Empty(t)
	write := func(content string, cond storage.Condition) (storage.Object, error) {
		return storage.WriteAll(t.Context(), s, "dir/pointer", []byte(content), cond)
	}
	_, err := write("x", storage.IfMatch("no-such-version"))
	want(t, "replace what is not there", err, storage.ErrCondition)
	_, err = write("x", storage.IfMatch(""))
	want(t, "replace no version", err, storage.ErrCondition)
	if got := list(t, s, "", ""); len(got) != 0 {
		t.Errorf("got %q after writes that failed", got)
	}
	one, err := write("one", storage.IfAbsent)
	if err != nil {
		t.Fatal(err)
	}
	_, err = write("two", storage.IfAbsent)
	want(t, "create again", err, storage.ErrCondition)
	_, err = write("two", storage.IfMatch("no-such-version"))
	want(t, "replace another version", err, storage.ErrCondition)
	two, err := write("two", storage.IfMatch(one.ETag))
	if err != nil {
		t.Fatal(err)
	}
	_, err = write("three", storage.IfMatch(one.ETag))
	want(t, "replace an old version", err, storage.ErrCondition)
	if got, obj := get(t, s, "dir/pointer", storage.Range{}); got != "two" || obj.ETag != two.ETag {
		t.Errorf("got %q, %+v, want the second version %+v", got, obj, two)
	}
	if err := s.Delete(t.Context(), "dir/pointer"); err != nil {
		t.Fatal(err)
	}
	_, err = write("three", storage.IfMatch(two.ETag))
	want(t, "replace a deleted version", err, storage.ErrCondition)
	if _, err := write("three", storage.IfAbsent); err != nil {
		t.Errorf("create after delete: %v", err)
	}
	clean(t, target, s)
}

const writers = 8

// race lets writers write under one condition at once and gives what they got.
// What they write differs from round to round too: versions with the same bytes
// may have the same ETag.
func race(t *testing.T, s storage.Store, key string, cond storage.Condition, round int) (errs [writers]error) {
	t.Helper()
	var ready, done sync.WaitGroup
	ready.Add(writers)
	for i := range writers {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			_, errs[i] = storage.WriteAll(t.Context(), s, key, fmt.Appendf(nil, "round %d writer %d", round, i), cond)
		})
	}
	done.Wait()
	return errs
}

// oneWinner checks that one write succeeded, and that its bytes are there.
func oneWinner(t *testing.T, s storage.Store, key string, round int, errs [writers]error) storage.Object {
	t.Helper()
	winner := -1
	for i, err := range errs {
		if err == nil && winner >= 0 {
			t.Errorf("writers %d and %d both won", winner, i)
		}
		if err == nil {
			winner = i
		} else if !errors.Is(err, storage.ErrCondition) {
			t.Errorf("writer %d: got error %v, want ErrCondition", i, err)
		}
	}
	got, obj := get(t, s, key, storage.Range{})
	if want := fmt.Sprintf("round %d writer %d", round, winner); got != want {
		t.Errorf("got content %q, want %q", got, want)
	}
	return obj
}

func testOneCreatorWins(t *testing.T, target Target) {
	s := target.Empty(t)
	for round := range 6 {
		key := fmt.Sprintf("round-%d/claim", round)
		oneWinner(t, s, key, round, race(t, s, key, storage.IfAbsent, round))
	}
	clean(t, target, s)
}

func testOneReplacerWins(t *testing.T, target Target) {
	s := target.Empty(t)
	current := put(t, s, "current", "epoch 0")
	for round := range 6 {
		current = oneWinner(t, s, "current", round, race(t, s, "current", storage.IfMatch(current.ETag), round))
	}
	clean(t, target, s)
}

func testBigObject(t *testing.T, target Target) {
	s := target.Empty(t)
	data := noise(bigSize + 12345)
	obj, err := s.Put(t.Context(), "big", bytes.NewReader(data), int64(len(data)), storage.Always)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := s.Stat(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	if stat.Size != int64(len(data)) || stat.ETag != obj.ETag {
		t.Errorf("stat: got %+v, put gave %+v", stat, obj)
	}
	sameContent(t, s, obj, data)
	const middle, length = 17<<20 + 1, 1000
	if got, _ := get(t, s, "big", storage.Range{Offset: middle, Length: length}); got != string(data[middle:middle+length]) {
		t.Error("got other bytes in the middle than were written")
	}
	if err := s.Copy(t.Context(), "big", "copy"); err != nil {
		t.Fatal(err)
	}
	stat, err = s.Stat(t.Context(), "copy")
	if err != nil {
		t.Fatal(err)
	}
	sameContent(t, s, stat, data)
	clean(t, target, s)
}

func testBigConditions(t *testing.T, target Target) {
	s := target.Empty(t)
	data := noise(20 << 20)
	write := func(cond storage.Condition) (storage.Object, error) {
		return s.Put(t.Context(), "big", bytes.NewReader(data), int64(len(data)), cond)
	}
	_, err := write(storage.IfMatch("no-such-version"))
	want(t, "replace what is not there", err, storage.ErrCondition)
	first, err := write(storage.IfAbsent)
	if err != nil {
		t.Fatal(err)
	}
	data[0]++
	_, err = write(storage.IfAbsent)
	want(t, "create again", err, storage.ErrCondition)
	if stat, err := s.Stat(t.Context(), "big"); err != nil || stat.ETag != first.ETag {
		t.Errorf("got %+v, %v after a write that failed, want %+v", stat, err, first)
	}
	second, err := write(storage.IfMatch(first.ETag))
	if err != nil {
		t.Fatal(err)
	}
	_, err = write(storage.IfMatch(first.ETag))
	want(t, "replace an old version", err, storage.ErrCondition)
	sameContent(t, s, second, data)
	clean(t, target, s)
}

var errBroken = errors.New("disk on fire")

// brokenAt fails from an offset on.
type brokenAt struct {
	data   []byte
	offset int64
}

func (b brokenAt) ReadAt(p []byte, offset int64) (int, error) {
	if offset+int64(len(p)) > b.offset {
		return 0, errBroken
	}
	return copy(p, b.data[offset:]), nil
}

func testBrokenSource(t *testing.T, target Target) {
	s := target.Empty(t)
	for _, size := range []int{100_000, 20 << 20} {
		source := brokenAt{data: noise(size), offset: int64(size) - 1000}
		_, err := s.Put(t.Context(), "broken", source, int64(size), storage.Always)
		want(t, "put of what cannot be read", err, storage.ErrInvalid)
		want(t, "put of what cannot be read", err, errBroken)
		_, err = s.Put(t.Context(), "short", bytes.NewReader(source.data[1:]), int64(size), storage.Always)
		want(t, "put of less than was said", err, storage.ErrInvalid)
	}
	_, err := s.Put(t.Context(), "negative", bytes.NewReader(nil), -1, storage.Always)
	want(t, "put of a negative size", err, storage.ErrInvalid)
	if got := list(t, s, "", ""); len(got) != 0 {
		t.Errorf("got %q after writes that failed", got)
	}
	clean(t, target, s)
}

func testCopy(t *testing.T, target Target) {
	s := target.Empty(t)
	put(t, s, "from/a", "content")
	put(t, s, "to/b", "what was there before")
	for range 2 { // may be repeated
		if err := s.Copy(t.Context(), "from/a", "to/b"); err != nil {
			t.Fatal(err)
		}
	}
	if got, obj := get(t, s, "to/b", storage.Range{}); got != "content" || obj.Key != "to/b" {
		t.Errorf("copy: got %q, %+v", got, obj)
	}
	if got, _ := get(t, s, "from/a", storage.Range{}); got != "content" {
		t.Errorf("original: got %q", got)
	}
	want(t, "copy of nothing", s.Copy(t.Context(), "from/none", "to/c"), storage.ErrNotFound)
	if got, wanted := list(t, s, "", ""), []string{"from/a", "to/b"}; !slices.Equal(got, wanted) {
		t.Errorf("got %q, want %q", got, wanted)
	}
}

func testDelete(t *testing.T, target Target) {
	s := target.Empty(t)
	put(t, s, "a/b/c", "x")
	put(t, s, "a/d", "x")
	if err := s.Delete(t.Context()); err != nil {
		t.Errorf("delete nothing: %v", err)
	}
	for range 2 { // may be repeated
		if err := s.Delete(t.Context(), "a/b/c", "none", "a/none/x"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if got, wanted := list(t, s, "", ""), []string{"a/d"}; !slices.Equal(got, wanted) {
		t.Errorf("got %q, want %q", got, wanted)
	}
	put(t, s, "a/b", "where a folder was")
	if got, _ := get(t, s, "a/b", storage.Range{}); got != "where a folder was" {
		t.Errorf("got %q", got)
	}
}

// readAll reads a body to its end and closes it.
func readAll(body io.ReadCloser) error {
	_, err := io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}
