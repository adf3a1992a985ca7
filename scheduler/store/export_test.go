package store_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
)

func exported(t testing.TB, records ...scheduler.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	about := store.Header{Version: "1.5.0", Exported: time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC), Epoch: 7}
	if err := store.Export(&out, about, records); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func record(kind scheduler.RecordKind, id, value string) scheduler.Record {
	return scheduler.Record{Key: scheduler.Key{Kind: kind, ID: id}, Value: []byte(value)}
}

// The lines are what other programs may read.
func TestExportIsText(t *testing.T) {
	got := string(exported(t, record(scheduler.KindJob, "a<b", "x")))
	want := `{"format":"tidemill-export-1","version":"1.5.0","exported":"2026-11-23T16:00:00Z","records":1,"epoch":7}
{"kind":"job","id":"a<b","value":"eA=="}
{"records":1,"sha256":"` // and the sum
	if !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 3 {
		t.Errorf("got %s", got)
	}
}

func TestExportComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []scheduler.Record
		ids := rapid.SliceOfNDistinct(rapid.StringN(1, 20, -1), 0, 20, rapid.ID[string]).Draw(t, "ids")
		for _, id := range ids {
			kind := rapid.SampledFrom([]scheduler.RecordKind{scheduler.KindJob, scheduler.KindTask}).Draw(t, "kind")
			value := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")
			want = append(want, scheduler.Record{Key: scheduler.Key{Kind: kind, ID: id}, Value: value})
		}
		var out bytes.Buffer
		about := store.Header{Version: "dev", Exported: time.Unix(1, 0).UTC(), Epoch: 3}
		if err := store.Export(&out, about, want); err != nil {
			t.Fatal(err)
		}
		text := out.Bytes()
		if rapid.Bool().Draw(t, "gzip") {
			text = compressed(t, text)
		}
		header, got, err := store.Import(bytes.NewReader(text))
		if err != nil || header.Epoch != 3 || header.Records != len(want) || !header.Exported.Equal(about.Exported) {
			t.Fatalf("got %+v, %v", header, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func compressed(t interface{ Fatal(...any) }, text []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// However an export is cut or changed, nothing is read from it.
func TestDamagedExportIsRefused(t *testing.T) {
	whole := exported(t, record(scheduler.KindJob, "flights", "one value"), record(scheduler.KindRun, "flights-1", ""), record(scheduler.KindTask, "t", "another"))
	for _, text := range [][]byte{whole, compressed(t, whole)} {
		if _, records, err := store.Import(bytes.NewReader(text)); err != nil || len(records) != 3 {
			t.Fatalf("the whole: got %d records, %v", len(records), err)
		}
		refused(t, "a line more", append(bytes.Clone(text), '\n'))
		refused(t, "twice", append(bytes.Clone(text), text...))
		for i := range text {
			refused(t, fmt.Sprintf("cut off at %d", i), text[:i])
		}
	}
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		refused(t, fmt.Sprintf("changed at %d", i), changed)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	refused(t, "a line missing", bytes.Join([][]byte{lines[0], lines[1], lines[3], lines[4]}, nil))
	refused(t, "lines swapped", bytes.Join([][]byte{lines[0], lines[2], lines[1], lines[3], lines[4]}, nil))
	refused(t, "a key twice", exported(t, record(scheduler.KindJob, "x", "1"), record(scheduler.KindJob, "x", "2")))
	refused(t, "no key", exported(t, record(scheduler.KindJob, "", "1")))
}

func refused(t *testing.T, what string, text []byte) {
	t.Helper()
	header, records, err := store.Import(bytes.NewReader(text))
	if !errors.Is(err, store.ErrExport) || records != nil || header != (store.Header{}) {
		t.Errorf("%s: got %+v, %d records, %v", what, header, len(records), err)
	}
}

func TestExportRefusesKeysThatAreNoText(t *testing.T) {
	err := store.Export(&bytes.Buffer{}, store.Header{}, []scheduler.Record{record(scheduler.KindJob, "a\xff", "1")})
	if err == nil || !strings.Contains(err.Error(), "not text") {
		t.Errorf("got %v", err)
	}
}

// What is read is what was written: reading never fails in another way, and what it takes comes back the same.
func FuzzImport(f *testing.F) {
	whole := exported(f, record(scheduler.KindJob, "flights", "one value"))
	f.Add(whole)
	f.Add(compressed(f, whole))
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		header, records, err := store.Import(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, store.ErrExport) || records != nil {
				t.Fatalf("got %d records, %v", len(records), err)
			}
			return
		}
		var out bytes.Buffer
		if err := store.Export(&out, header, records); err != nil {
			t.Fatal(err)
		}
		again, same, err := store.Import(&out)
		if err != nil || again.Records != header.Records || !cmp.Equal(records, same) {
			t.Fatalf("again: got %+v, %v", again, err)
		}
	})
}
