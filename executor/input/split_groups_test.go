package input_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/executor/input"
)

func TestCutGroups(t *testing.T) {
	group := func(file, group int, length int64) input.Segment {
		return input.Segment{File: file, Group: group, Groups: 1, Length: length}
	}
	for _, test := range []struct {
		name string
		in   []input.Segment
		want []input.Split
	}{
		{"nothing", nil, []input.Split{nil}},
		{"neighbours are one", []input.Segment{group(0, 0, 40), group(0, 1, 40), group(0, 3, 10)},
			[]input.Split{{{File: 0, Group: 0, Groups: 2, Length: 80}, group(0, 3, 10)}}},
		{"a large file is cut", []input.Segment{group(0, 0, 90), group(0, 1, 90), group(0, 2, 90)},
			[]input.Split{{group(0, 0, 90)}, {group(0, 1, 90)}, {group(0, 2, 90)}}},
		{"small files are together", []input.Segment{group(0, 0, 30), group(1, 0, 30), group(2, 0, 30), group(3, 0, 30)},
			[]input.Split{{group(0, 0, 30), group(1, 0, 30), group(2, 0, 30)}, {group(3, 0, 30)}}},
		{"whole files stay apart", []input.Segment{{File: 0, Length: 10}, {File: 1, Length: 10}},
			[]input.Split{{{File: 0, Length: 10}, {File: 1, Length: 10}}}},
		{"no bytes at all", []input.Segment{group(0, 0, 0), group(1, 0, 0)},
			[]input.Split{{group(0, 0, 0), group(1, 0, 0)}}},
	} {
		if diff := cmp.Diff(test.want, input.CutGroups(test.in, 100)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.name, diff)
		}
	}
}
