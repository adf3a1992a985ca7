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

// checkIncrement makes sure that a run can merge with the one before.
func (s *Section) checkIncrement(d *jobs.Decoder) {
	if s.Input.NewSince == "" {
		return
	}
	at := d.At("input", "new_since")
	switch {
	case d.At("output", "mode").Sound() && s.Output.Mode != Replace:
		at.Problem("a run that reads only new files merges them into the previous result: want output mode %q, got %q", Replace, s.Output.Mode)
	case s.Window.Session != 0:
		at.Problem("sessions of earlier runs are not joined with those of new files: want tumbling or sliding windows")
	}
}
