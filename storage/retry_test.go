package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/faults"
)

var quick = storage.Backoff{Attempts: 3, Base: time.Microsecond, Max: time.Microsecond}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFaulty(t)
		var tries []time.Duration
		start := time.Now()
		f.script = func(c faults.Call) faults.Fault { tries = append(tries, time.Since(start)); return refuse(c) }
		s := storage.WithRetry(f, storage.Backoff{Attempts: 6, Base: time.Second, Max: 5 * time.Second})
		_, err := s.Stat(t.Context(), "k")
		if !errors.Is(err, storage.ErrUnavailable) || !strings.HasPrefix(err.Error(), "give up after 6 attempts: ") {
			t.Errorf("got error %v", err)
		}
		if len(tries) != 6 || tries[0] != 0 {
			t.Fatalf("got tries at %v, want 6 of them, the first at once", tries)
		}
		for i, most := range []time.Duration{1, 2, 4, 5, 5} {
			most *= time.Second
			if wait := tries[i+1] - tries[i]; wait < most/2 || wait > most {
				t.Errorf("wait %d: got %s, want %s to %s", i+1, wait, most/2, most)
			}
		}
	})
}

func TestWaitsAsLongAsTheServerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for asked, want := range map[time.Duration]time.Duration{7 * time.Second: 7 * time.Second, time.Hour: time.Minute} {
			f, _ := newFaulty(t)
			s := storage.WithRetry(asking{f, asked}, quick)
			start := time.Now()
			_, err := s.Stat(t.Context(), "k")
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("got error %v", err)
			}
			if got := time.Since(start); got != 2*want {
				t.Errorf("three tries took %s, want two waits of %s", got, want)
			}
		}
	})
}

// asking refuses every stat and says for how long.
type asking struct {
	*faulty
	after time.Duration
}

func (a asking) Stat(context.Context, string) (storage.Object, error) {
	return storage.Object{}, &storage.Error{Op: "stat", URI: "k", Kind: storage.ErrUnavailable, After: a.after}
}

func TestContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFaulty(t)
		f.script = refuse
		s := storage.WithRetry(f, storage.Backoff{Attempts: 100, Base: time.Hour, Max: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := s.Stat(ctx, "k")
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("got error %v, want the context's alone", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %s, want a minute", took)
		}
	})
}

func TestFinalErrorsAreNotRetried(t *testing.T) {
	f, _ := newFaulty(t)
	calls := 0
	f.script = func(faults.Call) faults.Fault { calls++; return faults.Fault{} }
	s := storage.WithRetry(f, quick)
	if _, err := s.Stat(t.Context(), "none"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
	if calls != 1 {
		t.Errorf("got %d calls, want 1", calls)
	}
}

// A listing that breaks at any objects, as long as it moves on in between,
// yields every object once and in order.
func TestListingsGoOn(t *testing.T) {
	f, below := newFaulty(t)
	var want []string
	for i := range 40 {
		key := fmt.Sprintf("%d/%02d", i/10, i)
		if _, err := storage.WriteAll(t.Context(), below, key, nil, storage.Always); err != nil {
			t.Fatal(err)
		}
		want = append(want, key)
	}
	s := storage.WithRetry(f, quick)
	rapid.Check(t, func(t *rapid.T) {
		cuts := rapid.SliceOfN(rapid.Int64Range(0, 3), 0, 100).Draw(t, "objects before each fault")
		var got []string
		failures, seen := -1, 0 // calls that broke since the listing moved on to there
		f.script = func(faults.Call) faults.Fault {
			if failures++; len(got) > seen {
				failures, seen = 1, len(got)
			}
			if len(cuts) == 0 || failures == quick.Attempts-1 && len(got) == len(want) {
				return faults.Fault{}
			}
			after := cuts[0]
			cuts = cuts[1:]
			if failures == quick.Attempts-1 {
				after = max(after, 1)
			}
			return faults.Fault{Effect: faults.Cut, After: after}
		}
		for obj, err := range s.List(context.Background(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, obj.Key)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
	f.script = refuse
	for _, err := range s.List(t.Context(), "", "") {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("got error %v, want ErrUnavailable", err)
		}
	}
}

// patient outlasts what drawFaults can do.
var patient = storage.Backoff{Attempts: 21, Base: time.Microsecond, Max: time.Microsecond}

// drawFaults lets up to 20 calls fail, in every way.
func drawFaults(t *rapid.T) faults.Script {
	left := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) faults.Fault {
		return faults.Fault{
			Effect: rapid.SampledFrom([]faults.Effect{faults.None, faults.Refuse, faults.Lose, faults.Cut, faults.Cut}).Draw(t, "effect"),
			After:  rapid.Int64Range(0, 100).Draw(t, "after"),
		}
	}), 0, 20).Draw(t, "faults")
	return func(faults.Call) faults.Fault {
		if len(left) == 0 {
			return faults.Fault{}
		}
		first := left[0]
		left = left[1:]
		return first
	}
}

// Whatever breaks on the way, a read gives the bytes of its range.
func TestReadsUnderFaults(t *testing.T) {
	f, below := newFaulty(t)
	s := storage.WithRetry(f, patient)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		f.script = never
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		obj, err := storage.WriteAll(ctx, below, "k", data, storage.Always)
		if err != nil {
			t.Fatal(err)
		}
		offset := rapid.IntRange(0, max(len(data)-1, 0)).Draw(t, "offset")
		length := rapid.IntRange(0, len(data)+5).Draw(t, "length")
		want := data[offset:]
		if length > 0 {
			want = want[:min(length, len(want))]
		}
		r := storage.Range{Offset: int64(offset), Length: int64(length)}

		f.script = drawFaults(t)
		body, described, err := s.Get(ctx, "k", r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err = errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, want) || described != obj {
			t.Fatalf("get %+v: got %q of %+v, %v, want %q of %+v", r, got, described, err, want, obj)
		}
	})
}

func TestShortBodyIsNoEnd(t *testing.T) {
	f, below := newFaulty(t)
	if _, err := storage.WriteAll(t.Context(), below, "k", []byte("0123456789"), storage.Always); err != nil {
		t.Fatal(err)
	}
	cut := &cutting{Store: f, most: 4}
	s := storage.WithRetry(cut, quick)
	if got, _, err := storage.ReadAll(t.Context(), s, "k", 100); err != nil || string(got) != "0123456789" {
		t.Errorf("got %q, %v", got, err)
	}
	if cut.gets != 3 {
		t.Errorf("got %d requests, want 3", cut.gets)
	}
	if _, _, err := storage.ReadAll(t.Context(), cut, "k", 100); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without retries: got error %v, want ErrUnavailable", err)
	}
}

// cutting ends bodies early without an error.
type cutting struct {
	storage.Store
	most int64
	gets int
}

func (c *cutting) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	c.gets++
	body, obj, err := c.Store.Get(ctx, key, r)
	if err != nil {
		return nil, obj, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, c.most), body}, obj, nil
}

func TestConditionalPutsAreSettled(t *testing.T) {
	before := "before"
	tests := []struct {
		name    string
		late    bool // the write happened although it failed
		faults  int
		between string // another writer's, after the first fault
		replace bool
		want    string
		kind    error
	}{
		{name: "created once", want: "mine"},
		{name: "created, then lost", late: true, faults: 1, want: "mine"},
		{name: "created, always lost", late: true, faults: 1000, want: "mine"},
		{name: "not created, then created", faults: 1, want: "mine"},
		{name: "another came first", faults: 1, between: "their", want: "their", kind: storage.ErrCondition},
		{name: "another of another size", faults: 1, between: "theirs", want: "theirs", kind: storage.ErrCondition},
		{name: "overwritten before it was settled", late: true, faults: 1, between: "their", want: "their", kind: storage.ErrCondition},
		{name: "replaced, then lost", replace: true, late: true, faults: 1, want: "mine"},
		{name: "replaced, always lost", replace: true, late: true, faults: 1000, want: "mine"},
		{name: "not replaced, then replaced", replace: true, faults: 1, want: "mine"},
		{name: "another replaced", replace: true, faults: 1, between: "their", want: "their", kind: storage.ErrCondition},
		{name: "never replaced", replace: true, faults: 1000, want: before, kind: storage.ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, below := newFaulty(t)
			cond := storage.IfAbsent
			if tt.replace {
				obj, err := storage.WriteAll(t.Context(), below, "k", []byte(before), storage.Always)
				if err != nil {
					t.Fatal(err)
				}
				cond = storage.IfMatch(obj.ETag)
			}
			effect := faults.Refuse
			if tt.late {
				effect = faults.Lose
			}
			f.script = func(c faults.Call) faults.Fault {
				if c.Label != "put" {
					return faults.Fault{}
				}
				if c.N == 2 && tt.between != "" {
					if _, err := storage.WriteAll(t.Context(), below, "k", []byte(tt.between), storage.Always); err != nil {
						t.Error(err)
					}
				}
				if c.N > tt.faults {
					return faults.Fault{}
				}
				return faults.Fault{Effect: effect}
			}
			obj, err := storage.WriteAll(t.Context(), storage.WithRetry(f, quick), "k", []byte("mine"), cond)
			if !errors.Is(err, tt.kind) {
				t.Errorf("got error %v, want %v", err, tt.kind)
			}
			got, stored, err := storage.ReadAll(t.Context(), below, "k", 100)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v stored, want %q", got, err, tt.want)
			}
			if tt.kind == nil && obj != stored {
				t.Errorf("got %+v, want what is stored, %+v", obj, stored)
			}
		})
	}
}

func TestPlainPutsAreRepeated(t *testing.T) {
	f, below := newFaulty(t)
	puts := 0
	f.script = func(faults.Call) faults.Fault {
		if puts++; puts < 3 {
			return faults.Fault{Effect: faults.Lose}
		}
		return faults.Fault{}
	}
	if _, err := storage.WriteAll(t.Context(), storage.WithRetry(f, quick), "k", []byte("x"), storage.Always); err != nil {
		t.Fatal(err)
	}
	if got, _, err := storage.ReadAll(t.Context(), below, "k", 10); err != nil || string(got) != "x" || puts != 3 {
		t.Errorf("got %q, %v after %d puts", got, err, puts)
	}
}
