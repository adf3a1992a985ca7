package resource

import (
	"strings"
	"testing"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := []struct{ text, want string }{
		{"cpus:4;mem:4096;disk:10240;ports:[31000-31099]", "cpus:4; mem:4096; disk:10240; ports:[31000-31099]"},
		{" cpus : 0.5 ; ", "cpus:0.5"},
		{"ports:[1-2, 5, 7-9]", "ports:[1-2, 5-5, 7-9]"},
		{"gpus:{a, b}", "gpus:{a, b}"},
		{"", "{}"},
	}
	for _, test := range tests {
		parsed, err := Parse(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
		} else if got := Format(parsed); got != test.want {
			t.Errorf("%q: got %s, want %s", test.text, got, test.want)
		}
	}
	for _, text := range []string{"cpus", ":4", "cpus:four", "cpus:-1", "cpus:NaN", "cpus:1;cpus:2", "ports:[9-1]", "ports:[a-b]", "ports:[1-"} {
		if parsed, err := Parse(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, Format(parsed))
		} else if !strings.HasPrefix(err.Error(), "parse resource ") {
			t.Errorf("%q: the error does not name it: %v", text, err)
		}
	}
}

func TestParseAttributes(t *testing.T) {
	parsed, err := ParseAttributes("zone:a;rack:r1;speed:2.5;when:12:30")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range parsed {
		got = append(got, a.Name+"="+a.GetText().GetValue()+Format([]v1.Resource{Scalar("", a.GetScalar().GetValue())}))
	}
	want := "zone=a:0 rack=r1:0 speed=:2.5 when=12:30:0"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, text := range []string{"zone", "zone:", ":a"} {
		if _, err := ParseAttributes(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestFormatNamesTheRole(t *testing.T) {
	rs := v1.Resources{Scalar(CPUs, 400), Scalar(Mem, 32)}.Allocate("data")
	if got, want := Format(rs), "cpus(allocated: data):400; mem(allocated: data):32"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestContainsAddsUp(t *testing.T) {
	have := []v1.Resource{Scalar(CPUs, 1), Scalar(Mem, 100)}
	half := Scalar(CPUs, 0.6)
	if !Contains(have, []v1.Resource{half}) {
		t.Error("0.6 of 1 CPU does not fit")
	}
	if Contains(have, []v1.Resource{half, half}) {
		t.Error("0.6 and 0.6 of 1 CPU fit")
	}
	if Contains(have, []v1.Resource{Scalar("gpus", 1)}) {
		t.Error("what is not there fits")
	}
}

// drawPorts draws some ranges within [0, 60).
func drawPorts(t *rapid.T, label string) (v1.Resource, map[uint64]bool) {
	members := map[uint64]bool{}
	var spans []v1.Value_Range
	for range rapid.IntRange(1, 4).Draw(t, label+" ranges") {
		begin := rapid.Uint64Range(0, 50).Draw(t, label+" begin")
		end := begin + rapid.Uint64Range(0, 9).Draw(t, label+" length")
		spans = append(spans, v1.Value_Range{Begin: begin, End: end})
		for port := begin; port <= end; port++ {
			members[port] = true
		}
	}
	return v1.Resource{Name: "ports", Type: v1.RANGES.Enum(), Ranges: &v1.Value_Ranges{Range: spans}}, members
}

// TestPortsAreSets compares mesos-go's algebra of ranges with plain sets.
func TestPortsAreSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, inA := drawPorts(t, "a")
		b, inB := drawPorts(t, "b")
		contained := true
		for port := range inB {
			contained = contained && inA[port]
		}
		if got := Contains(Sum([]v1.Resource{a}), []v1.Resource{b}); got != contained {
			t.Fatalf("%s contains %s: got %v, want %v", FormatValue(&a), FormatValue(&b), got, contained)
		}
		if !contained {
			return
		}
		left := map[uint64]bool{}
		for _, r := range Plain([]v1.Resource{a}).Minus(Plain([]v1.Resource{b})...) {
			for _, span := range r.GetRanges().GetRange() {
				for port := span.Begin; port <= span.End; port++ {
					left[port] = true
				}
			}
		}
		for port := range uint64(64) {
			if want := inA[port] && !inB[port]; left[port] != want {
				t.Fatalf("%s minus %s: port %d: got %v, want %v", FormatValue(&a), FormatValue(&b), port, left[port], want)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("cpus:4;mem:4096;disk:10240;ports:[31000-31099]")
	f.Add("gpus:{a,b};ports:[1-2,3]")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse(text)
		if err != nil {
			return
		}
		for i := range parsed {
			if err := parsed[i].Validate(); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		if !Contains(parsed, nil) || !Contains(Sum(parsed), Sum(parsed)) {
			t.Fatalf("%q does not contain itself", text)
		}
	})
}

func FuzzParseAttributes(f *testing.F) {
	f.Add("zone:a;rack:r1;n:1e3")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ParseAttributes(text)
		for _, a := range parsed {
			if err == nil && (a.Name == "" || a.Text == nil && a.Scalar == nil) {
				t.Fatalf("%q: attribute without name or value", text)
			}
		}
	})
}
