package source

import (
	"context"
	"slices"

	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/parquet"
)

// Footers is how many footers of Parquet files are looked at: of more files than Most only Some, spread over all of them.
// What the others have to say shows when they are read.
type Footers struct{ Most, Some int }

// UsualFooters are few enough to be read in seconds.
var UsualFooters = Footers{Most: 10_000, Some: 1_000}

// planParquet finds the columns and row groups of an input of Parquet files. What is read of a file that was not looked
// at is guessed from the others.
func (t *Source) planParquet(ctx context.Context, set *input.Set) ([]Column, []input.Segment, error) {
	files := input.Spread(len(set.Files), len(set.Files))
	if len(files) > t.Footers.Most {
		files = input.Spread(len(set.Files), t.Footers.Some)
	}
	t.parquet = t.newParquetFiles(set) // which a run of one task goes on with
	p := t.parquet
	filter := newFilter(t.Where, set.Partitions)
	looked := make(map[int][]rowGroup, len(files))
	done := 0
	err := p.lookAt(ctx, files, func(file int, footer *parquet.Footer, l *layout) error {
		looked[file] = filter.rowGroups(file, footer, l)
		if done++; done%1000 == 0 {
			t.Report("reading footers", 0.05*float64(done)/float64(len(files)))
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	var layouts []*layout
	for _, l := range p.layouts {
		layouts = append(layouts, l)
	}
	slices.SortFunc(layouts, func(a, b *layout) int { return a.file - b.file })
	columns, err := p.columns(layouts)
	if err != nil {
		return nil, nil, err
	}
	var groups []rowGroup
	var needed, stored int64
	for _, file := range files {
		stored += set.Files[file].Size
		for _, group := range looked[file] {
			needed += group.bytes
		}
		groups = append(groups, looked[file]...)
	}
	possible, err := p.possible(ctx, filter, groups, columns)
	if err != nil {
		return nil, nil, err
	}
	if left := len(groups) - len(possible); left > 0 {
		t.Log.Info("left out row groups that the filter excludes", "row_groups", left, "of", len(groups))
	}
	all := segments(possible)
	if len(files) == len(set.Files) {
		return columns, all, nil
	}
	share := float64(needed) / float64(max(stored, 1))
	for file, f := range set.Files {
		if _, ok := looked[file]; !ok {
			all = append(all, input.Segment{File: file, Length: int64(float64(f.Size) * share)})
		}
	}
	slices.SortStableFunc(all, func(a, b input.Segment) int { return a.File - b.File })
	return columns, all, nil
}
