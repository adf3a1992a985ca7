package task

import (
	"strings"

	"github.com/tidemill/tidemill/proto"
)

// What a status update may carry of a failure: updates are stored by the scheduler and go through Mesos' memory.
const (
	maxMessage  = 4 << 10 // bytes
	maxDetail   = 500     // bytes of one problem
	maxProblems = 20
)

// Shorten cuts f to what a status update may carry, and gives f back.
func Shorten(f *proto.Failure) *proto.Failure {
	f.Message = Cut(f.Message, maxMessage)
	f.Pointer = Cut(f.Pointer, maxDetail)
	f.Problems = f.Problems[:min(len(f.Problems), maxProblems)]
	for i := range f.Problems {
		f.Problems[i].Pointer = Cut(f.Problems[i].Pointer, maxDetail)
		f.Problems[i].Detail = Cut(f.Problems[i].Detail, maxDetail)
	}
	return f
}

// Cut is s as valid UTF-8, in at most so many bytes.
func Cut(s string, most int) string {
	const more = "…"
	if len(s) > most {
		s = s[:most-len(more)] + more
	}
	return strings.ToValidUTF8(s, "")
}
