package aggregate

import (
	"slices"

	"github.com/tidemill/tidemill/jobs"
)

// checkPartitions makes sure that partition_by names columns of the result, each once, and leaves some for the files; and
// that a mode that is about partitions has some.
func (s *Section) checkPartitions(d *jobs.Decoder) {
	out := d.At("output")
	if !out.Sound() || !d.At("group_by").Sound() || !d.At("measures").Sound() || !d.At("window").Sound() {
		return
	}
	columns, by := s.ResultColumns(), out.At("partition_by")
	for i, name := range s.Output.PartitionBy {
		switch {
		case !slices.Contains(columns, name):
			by.Index(i).Unknown("result column", name, columns)
		case slices.Contains(s.Output.PartitionBy[:i], name):
			by.Index(i).Problem("column %q is named twice", name)
		}
	}
	switch mode := out.At("mode"); {
	case !by.Sound():
	case len(columns) > 0 && len(s.Output.PartitionBy) == len(columns):
		by.Problem("the result has no other columns: files would be empty")
	case s.Output.Mode == ReplacePartitions && len(s.Output.PartitionBy) == 0:
		mode.Problem("mode %q needs partition_by", ReplacePartitions)
	}
}
