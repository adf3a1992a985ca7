package sketch_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/jobs/sketch"
)

// written are files that DataSketches' own libraries have written: see testdata/README.md.
func written(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.sk")
	if err != nil || len(paths) < 30 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = data
	}
	return all
}

var numberOfValues = regexp.MustCompile(`_n([0-9]+)_`)

// What other libraries have written is read, says what was put in, and can be merged and written again.
func TestReadsWhatOthersWrite(t *testing.T) {
	kinds := map[string]sketch.Kind{"hll": sketch.KindHLL, "kll": sketch.KindKLL, "bf": sketch.KindBloom, "theta": sketch.KindTheta, "frequent": sketch.KindFrequent}
	for name, data := range written(t) {
		s, err := sketch.Read(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for prefix, kind := range kinds {
			if strings.HasPrefix(name, prefix) && s.Kind() != kind {
				t.Errorf("%s: it is taken for a %s", name, s.Kind())
			}
		}
		if m := numberOfValues.FindStringSubmatch(name); m != nil {
			n, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			checkNumber(t, name, s, n)
		}
		merged, err := sketch.Merge([]*sketch.Any{s, s})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := merged.Bytes()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := sketch.Read(again); err != nil {
			t.Errorf("%s, merged with itself and written: %v", name, err)
		}
	}
}

// checkNumber compares with how many values DataSketches' generators have put in: 0, 1, … or 1, 2, ….
func checkNumber(t *testing.T, name string, s *sketch.Any, n float64) {
	facts, err := s.Facts()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for _, fact := range facts {
		got, ok := fact.Value.(float64)
		if whole, isWhole := fact.Value.(int64); isWhole {
			got, ok = float64(whole), true
		}
		want := n
		if s.Kind() == sketch.KindBloom {
			want = n / 10 // a tenth of what the filter is made for
		}
		switch {
		case fact.Name != "estimate" && fact.Name != "values" && fact.Name != "count":
		case !ok || math.Abs(got-want) > 0.06*want:
			t.Errorf("%s: %s is %v, want about %g", name, fact.Name, fact.Value, want)
		}
	}
	if s.Kind() == sketch.KindKLL && n > 0 {
		if median, err := s.Quantile(0.5); err != nil || math.Abs(median-n/2) > 0.03*n+1 {
			t.Errorf("%s: the median is %g, %v", name, median, err)
		}
	}
	if s.Kind() == sketch.KindBloom && n > 0 {
		var buffer [8]byte
		for i := range int64(n) / 10 {
			if in, err := s.Contains(sketch.Long(i, &buffer)); !in || err != nil {
				t.Fatalf("%s: %d is no member, %v", name, i, err)
			}
		}
	}
}

func TestSetOperations(t *testing.T) {
	set := func(from, to int) *sketch.Any {
		var s sketch.Theta
		for i := from; i < to; i++ {
			s.Add([]uint64{hash(int64(i)).Theta()})
		}
		read, err := sketch.Read(s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	a, b, c := set(0, 3000), set(2000, 4000), set(2500, 2600)
	for name, test := range map[string]struct {
		operation func([]*sketch.Any) (*sketch.Any, error)
		want      float64
	}{"union": {sketch.Union, 4000}, "intersection": {sketch.Intersect, 100}, "difference": {sketch.Difference, 2000}} {
		result, err := test.operation([]*sketch.Any{a, b, c})
		if err != nil {
			t.Fatal(err)
		}
		facts, err := result.Facts()
		if err != nil || facts[0].Name != "estimate" || facts[0].Value != test.want {
			t.Errorf("%s: got %v, %v", name, facts, err)
		}
	}
	other, err := sketch.Read(sketch.NewFilter(10, 0.1).Published())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sketch.Union([]*sketch.Any{a, other}); err == nil {
		t.Error("a filter is united with a set")
	}
	if _, err := sketch.Merge([]*sketch.Any{a, other}); err == nil {
		t.Error("a filter is merged with a set")
	}
}

// Broken bytes are an error, not a panic, and take little memory.
func FuzzRead(f *testing.F) {
	for _, data := range written(f) {
		f.Add(data[:min(len(data), 4000)])
	}
	f.Add(binary.LittleEndian.AppendUint64(nil, math.MaxUint64))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := bytes.Clone(data)
		s, err := sketch.Read(data)
		if !bytes.Equal(data, kept) {
			t.Fatal("reading changes the bytes")
		}
		if err != nil {
			return
		}
		if _, err := sketch.Merge([]*sketch.Any{s, s}); err != nil {
			return
		}
		if _, err := s.Facts(); err != nil {
			t.Fatalf("what was read cannot be asked: %v", err)
		}
		if _, err := s.Top(3); err != nil && s.Kind() == sketch.KindFrequent {
			t.Fatal(err)
		}
	})
}

func FuzzMerge(f *testing.F) {
	f.Add((&sketch.Distinct{}).Bytes())
	f.Add((&sketch.Theta{}).Bytes())
	f.Add(sketch.NewFilter(10, 0.1).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range []interface {
			Merge([]byte) error
			Bytes() []byte
		}{&sketch.Distinct{}, &sketch.Theta{}, sketch.NewFilter(10, 0.1)} {
			if s.Merge(data) != nil {
				continue
			}
			if err := s.Merge(s.Bytes()); err != nil {
				t.Fatalf("what was merged from %x cannot be read: %v", data, err)
			}
		}
		frequent, err := sketch.NewFrequent(3, true)
		if err != nil {
			t.Fatal(err)
		}
		_ = frequent.Merge(data) // only must not panic
	})
}
