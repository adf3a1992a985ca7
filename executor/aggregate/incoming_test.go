package aggregate

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/executor/aggregate/segment"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

// Rounds take each partition once, in order, and no more than fits, unless it is in one partition.
func TestRounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const partitions = 256
		sh := &shape{keys: make([]scalar, 1), parts: make([]part, 2)}
		work := &stage{Work: &task.Work{Data: &proto.TaskData{Disk: rapid.Int64Range(1, 1<<30).Draw(t, "disk")}, Memory: rapid.Int64Range(1<<20, 1<<30).Draw(t, "memory")}}
		in := &incoming{stage: work, shape: sh, partitions: partitions}
		in.first = rapid.IntRange(0, partitions-1).Draw(t, "first")
		in.last = rapid.IntRange(in.first+1, partitions).Draw(t, "last")
		rows, stored := make([]float64, partitions), make([]float64, partitions)
		for range rapid.IntRange(0, 5).Draw(t, "objects") {
			span := partitions >> rapid.IntRange(0, 8).Draw(t, "segments")
			largest := int64(1) << rapid.IntRange(0, 30).Draw(t, "largest")
			object := &segment.Object{}
			for first := 0; first < partitions; first += span {
				s := segment.Segment{First: first, Last: first + span, Rows: rapid.Int64Range(0, largest).Draw(t, "rows")}
				s.Length = 36 * s.Rows // about what it weighs in memory, so that rows alone decide
				if s.First < in.last && in.first < s.Last {
					object.Index = append(object.Index, s)
				}
				for p := s.First; p < s.Last; p++ {
					rows[p] += float64(s.Rows) / float64(span)
					stored[p] += float64(s.Length) / float64(span)
				}
			}
			in.objects = append(in.objects, object)
		}
		at := in.first
		for _, r := range in.rounds() {
			if r.first != at || r.last <= r.first {
				t.Fatalf("round [%d, %d) follows %d", r.first, r.last, at)
			}
			at = r.last
			if r.last-r.first == 1 {
				continue
			}
			if n := sum(rows[r.first:r.last]); n > 2.001*float64(work.merged(sh)) {
				t.Fatalf("round [%d, %d) has %.0f rows, at most %d fit", r.first, r.last, n, work.merged(sh))
			}
			if n := sum(stored[r.first:r.last]); n > 1.001*float64(work.roundBytes()) {
				t.Fatalf("round [%d, %d) has %.0f bytes, at most %d fit", r.first, r.last, n, work.roundBytes())
			}
		}
		if at != in.last {
			t.Fatalf("rounds end at %d, want %d", at, in.last)
		}
	})
}
