package storagetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/tidemill/tidemill/storage"
)

// Target is an implementation under test.
type Target struct {
	// Empty makes a bucket or folder without objects.
	Empty func(t *testing.T) storage.Store
	// Missing is a store over a bucket or folder that does not exist.
	Missing storage.Store
	// Denied is a store over a bucket that exists, opened with wrong keys; nil
	// where there are no keys.
	Denied storage.Store
	// Leftovers names what unfinished writes have left in a store that Empty
	// made.
	Leftovers func(t *testing.T, s storage.Store) []string
}

// Run checks everything that storage.Store promises.
func Run(t *testing.T, target Target) {
	tests := []struct {
		name string
		test func(*testing.T, Target)
	}{
		{"List", testList},
		{"ListManyAndDeleteThem", testMany},
		{"Ranges", testRanges},
		{"Versions", testVersions},
		{"OddKeys", testOddKeys},
		{"RefusedKeys", testRefusedKeys},
		{"Overwrite", testOverwrite},
		{"Conditions", testConditions},
		{"OneCreatorWins", testOneCreatorWins},
		{"OneReplacerWins", testOneReplacerWins},
		{"BigObject", testBigObject},
		{"BigConditions", testBigConditions},
		{"BrokenSource", testBrokenSource},
		{"Copy", testCopy},
		{"Delete", testDelete},
		{"MissingObject", testMissingObject},
		{"MissingBucket", testMissingBucket},
		{"WrongKeys", testWrongKeys},
		{"CancelledContext", testCancelledContext},
		{"CancelledTransfer", testCancelledTransfer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, target) })
	}
}

// put writes an object or ends the test.
func put(t *testing.T, s storage.Store, key, content string) storage.Object {
	t.Helper()
	obj, err := storage.WriteAll(t.Context(), s, key, []byte(content), storage.Always)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// get reads a range or ends the test.
func get(t *testing.T, s storage.Store, key string, r storage.Range) (string, storage.Object) {
	t.Helper()
	body, obj, err := s.Get(t.Context(), key, r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data), obj
}

// list gives the keys of a listing or ends the test.
func list(t *testing.T, s storage.Store, prefix, after string) []string {
	t.Helper()
	keys := []string{}
	for obj, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, obj.Key)
	}
	return keys
}

// want checks the kind of an error.
func want(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want %v", what, err, kind)
	}
	if kind != storage.ErrUnavailable && errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("%s: got error %v, which would be retried", what, err)
	}
}

// noise is the same bytes for the same size, and no two stretches alike.
func noise(size int) []byte {
	data := make([]byte, size)
	source := rand.NewChaCha8([32]byte{1})
	if _, err := source.Read(data); err != nil {
		panic(err) // ChaCha8 never fails
	}
	return data
}

// sameContent compares an object with data, read ahead in parallel.
func sameContent(t *testing.T, s storage.Store, obj storage.Object, data []byte) {
	t.Helper()
	r := storage.NewReader(t.Context(), s, obj, storage.Range{}, storage.ReadAhead{Chunk: 5 << 20, Parallel: 3})
	var got bytes.Buffer
	got.Grow(len(data))
	_, err := io.Copy(&got, r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		t.Errorf("object %q: got other bytes than were written (%d and %d)", obj.Key, got.Len(), len(data))
	}
}

// clean checks that nothing of unfinished writes is left.
func clean(t *testing.T, target Target, s storage.Store) {
	t.Helper()
	if left := target.Leftovers(t, s); len(left) > 0 {
		t.Errorf("got leftovers %q of unfinished writes, want none", left)
	}
}
