package commit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mode says what becomes of the result before. The words are those of the spec.
type Mode string

// Modes. The empty one is Replace, as in manifests from before there were modes.
const (
	Replace           Mode = ""
	ReplacePartitions Mode = "replace_partitions"
	Append            Mode = "append"
	FailIfExists      Mode = "fail_if_exists"
)

func (m Mode) known() bool {
	return slices.Contains([]Mode{Replace, ReplacePartitions, Append, FailIfExists}, m)
}

// builds says that a result names files of the one before.
func (m Mode) builds() bool { return m == Append || m == ReplacePartitions }

var (
	// ErrExists is given to a run that wanted to be the first one. Nothing of it will be visible.
	ErrExists = errors.New("there is a result already")
	// ErrIncompatible is given to a run that cannot build on the result before. Nothing of it will be visible; a run that
	// replaces that result makes way for those that build on it.
	ErrIncompatible = errors.New("it does not fit the result before")
)

// fits says why own cannot build on base: an error that matches ErrIncompatible. A reader wants one set of columns.
func fits(base, own *Manifest) error {
	describe := func(columns []Column) string {
		var all []string
		for _, c := range columns {
			all = append(all, c.Name+" "+c.Type)
		}
		return strings.Join(all, ", ")
	}
	switch {
	case !slices.Equal(base.Schema, own.Schema):
		return fmt.Errorf("%w: that of run %q has the columns %s, this one has %s", ErrIncompatible, base.Run, describe(base.Schema), describe(own.Schema))
	case !slices.Equal(base.PartitionBy, own.PartitionBy):
		return fmt.Errorf("%w: that of run %q is partitioned by %q, this one by %q", ErrIncompatible, base.Run, base.PartitionBy, own.PartitionBy)
	case base.format() != own.format() && base.format() != "" && own.format() != "":
		return fmt.Errorf("%w: the files of run %q are %s, these are %s", ErrIncompatible, base.Run, base.format(), own.format())
	}
	return nil
}

// format is that of the files; empty if it is not known, because there are none.
func (m *Manifest) format() string {
	if m.Format != "" || len(m.Entries) == 0 {
		return m.Format
	}
	name := m.Entries[0].URL // of a manifest from before they said
	name = name[strings.LastIndexByte(name, '/')+1:]
	for _, format := range []string{"parquet", "csv", "jsonl"} {
		if strings.Contains(name, "."+format) {
			return format
		}
	}
	return ""
}

// onto is the result after a run that builds on base: its entries, and those of base that stay. Given the same two
// manifests it is always the same.
func (m *Manifest) onto(base *Manifest) *Manifest {
	result := *m
	result.Base = base.Run
	result.Entries = nil
	dropped, without := map[string]bool{}, map[string]bool{} // partitions: of base; of m
	if m.Mode == ReplacePartitions {
		for _, e := range m.Entries {
			dropped[e.partition()] = true
		}
		for _, e := range base.Entries {
			// What a later run has written is not replaced by an earlier one.
			if key := e.partition(); dropped[key] && e.later(base, m) {
				without[key] = true
			}
		}
	}
	result.Rows = base.Rows + m.Rows
	for _, e := range base.Entries {
		if key := e.partition(); dropped[key] && !without[key] {
			result.Rows -= e.rows()
			continue
		}
		if e.Run == "" {
			e.Run, e.Created = base.Run, &base.Created
		}
		result.Entries = append(result.Entries, e)
	}
	for _, e := range m.Entries {
		if without[e.partition()] {
			result.Rows -= e.rows()
			continue
		}
		result.Entries = append(result.Entries, e)
	}
	return &result
}

// later says that a run which wrote an entry of base was asked for after m was.
func (e Entry) later(base, m *Manifest) bool {
	run, created := e.Run, e.Created
	if run == "" {
		run, created = base.Run, &base.Created
	}
	return created != nil && order(Result{Run: run, Created: *created}, Result{Run: m.Run, Created: m.Created}) < 0
}

func (e Entry) rows() int64 {
	if e.Meta.RecordCount == nil {
		return 0
	}
	return *e.Meta.RecordCount
}

// partition is a text that names the partition among those of one schema.
func (e Entry) partition() string {
	if len(e.Partition) == 0 {
		return ""
	}
	var names []string
	for name := range e.Partition {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		if value := e.Partition[name]; value != nil {
			fmt.Fprintf(&b, "%q=%q ", name, *value)
		} else {
			fmt.Fprintf(&b, "%q ", name)
		}
	}
	return b.String()
}
