package aggregate

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/aggregate/segment"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/storage"
)

// incoming is what map tasks have written for some consecutive partitions, as one reduce task reads it: round by round,
// each of as many partitions as it can merge within its memory, and each downloaded while the one before is merged.
type incoming struct {
	stage       *stage
	shape       *shape
	partitions  int                // of the plan
	first, last int                // of these, [first, last)
	objects     []*segment.Object  // in the order of the splits
	near        []map[int64]string // by object and offset: segments that came with the index and lie in scratch files
	samples     segment.Index      // of the first object, one for each relation: they tell its columns
}

// round is consecutive partitions [first, last) that are merged at one time.
type round struct {
	first, last int
	files       []arrived // in the order of the input
}

// arrived is a segment in a scratch file.
type arrived struct {
	segment.Segment
	path string
	near bool // it stays for later rounds
}

// fetches is how many objects are read at a time.
const fetches = 8

// openIncoming reads the indexes of some objects.
func (t *stage) openIncoming(ctx context.Context, sh *shape, partitions, first, last int, places []place) (*incoming, error) {
	in := &incoming{
		stage: t, shape: sh, partitions: partitions, first: first, last: last,
		objects: make([]*segment.Object, len(places)), near: make([]map[int64]string, len(places)),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetches)
	for i, at := range places {
		group.Go(func() error { return in.open(ctx, i, at) })
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read partial results: %w", err)
	}
	return in, nil
}

// open reads one index, and what has come with it.
func (in *incoming) open(ctx context.Context, i int, at place) error {
	object, err := segment.Open(ctx, at.store, at.key)
	if err != nil {
		return err
	}
	for _, s := range object.Index {
		if s.First < 0 || s.First >= s.Last || s.Last > in.partitions {
			return fmt.Errorf("read %q: it has a segment of partitions %d to %d of %d", at.key, s.First, s.Last, in.partitions)
		}
	}
	if i == 0 {
		in.samples = samples(object.Index)
	}
	object.Index = between(object.Index, in.first, in.last)
	in.objects[i] = object
	defer object.Forget()
	if !object.Here(object.Index) {
		return nil
	}
	in.near[i] = map[int64]string{}
	return object.Copy(ctx, object.Index, storage.ReadAhead{}, func(s segment.Segment) (io.WriteCloser, error) {
		path := in.path(i, s, 0)
		in.near[i][s.Offset] = path
		return os.Create(path)
	})
}

// path is a scratch file for a segment of an object.
func (in *incoming) path(object int, s segment.Segment, number int) string {
	return filepath.Join(in.stage.Dir, fmt.Sprintf("in-%d-%d-%d", object, s.Offset, number))
}

// samples are the first segments of each relation.
func samples(index segment.Index) segment.Index {
	var some segment.Index
	for _, s := range index {
		if s.Relation == len(some) {
			some = append(some, s)
		}
	}
	return some
}

// between are the segments with rows of partitions [first, last).
func between(index segment.Index, first, last int) segment.Index {
	var some segment.Index
	for _, s := range index {
		if s.First < last && first < s.Last {
			some = append(some, s)
		}
	}
	return some
}

// inMemory is how much larger than its segment a relation may be while it is merged, if its values are long.
const inMemory = 4

// rounds divides the partitions. A round has one at least.
func (in *incoming) rounds() []round {
	rows, bytes := make([]float64, in.partitions), make([]float64, in.partitions)
	finest, width := in.partitions, float64(in.shape.width())
	for _, object := range in.objects {
		for _, s := range object.Index {
			span := float64(s.Last - s.First)
			finest = min(finest, s.Last-s.First)
			for p := s.First; p < s.Last; p++ {
				rows[p] += max(float64(s.Rows), float64(s.Length)*inMemory/width) / span
				bytes[p] += float64(s.Length) / span
			}
		}
	}
	mostRows, mostBytes := float64(in.stage.merged(in.shape)), float64(in.stage.roundBytes())
	var all []round
	current := round{first: in.first, last: in.first}
	var sumRows, sumBytes float64
	for p := in.first; p < in.last; {
		// What is in one segment stays together, so that it is read once, unless that is too much.
		next := min((p/finest+1)*finest, in.last)
		if sum(rows[p:next]) > 2*mostRows || sum(bytes[p:next]) > mostBytes {
			next = p + 1
		}
		nextRows, nextBytes := sum(rows[p:next]), sum(bytes[p:next])
		if current.last > current.first && (sumRows+nextRows > mostRows || sumBytes+nextBytes > mostBytes) {
			all = append(all, current)
			current, sumRows, sumBytes = round{first: p}, 0, 0
		}
		current.last, sumRows, sumBytes = next, sumRows+nextRows, sumBytes+nextBytes
		p = next
	}
	return append(all, current)
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

// merged is about how many rows of partial aggregates a task merges at a time without spilling: a hash table, what it is
// made of, and the rows that come out of it, in order.
func (t *stage) merged(sh *shape) int64 { return max(t.Memory/(2*sh.width()), 1000) }

// kept is about how many rows of partial aggregates a task keeps, with room to merge them.
func (t *stage) kept(sh *shape) int64 { return max(t.Memory/(3*sh.width()), 1000) }

// width is about how many bytes a group takes while it is merged.
func (s *shape) width() int64 { return int64(64 + 32*len(s.keys) + 24*len(s.parts)) }

// roundBytes is how many bytes of segments lie in the scratch directory for one round.
func (t *stage) roundBytes() int64 {
	const most = 1 << 30
	if t.Data.Disk == 0 {
		return most
	}
	return min(max(t.Data.Disk/8, 1<<20), most)
}

// each calls merge with one round after another, in the order of the partitions, and removes its files.
func (in *incoming) each(ctx context.Context, merge func(ctx context.Context, number, of int, read []string) error) error {
	rounds := in.rounds()
	group, ctx := errgroup.WithContext(ctx)
	ready := make(chan round)
	group.Go(func() error {
		defer close(ready)
		for number, r := range rounds {
			files, err := in.fetch(ctx, r, number+1)
			if err != nil {
				return fmt.Errorf("read partial results: %w", err)
			}
			r.files = files
			select {
			case ready <- r:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	group.Go(func() error {
		number := 0
		for r := range ready {
			if err := merge(ctx, number, len(rounds), in.relations(r)); err != nil {
				return err
			}
			for _, f := range r.files {
				if !f.near || f.Last <= r.last { // no later round needs it
					if err := os.Remove(f.path); err != nil {
						return fmt.Errorf("remove scratch file: %w", err)
					}
				}
			}
			number++
		}
		return nil
	})
	return group.Wait()
}

// fetch downloads what a round needs and does not lie here yet.
func (in *incoming) fetch(ctx context.Context, r round, number int) ([]arrived, error) {
	all := make([][]arrived, len(in.objects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetches)
	for i, object := range in.objects {
		needed := between(object.Index, r.first, r.last)
		if i == 0 {
			needed = in.withSamples(needed)
		}
		if len(needed) == 0 {
			continue
		}
		group.Go(func() (err error) {
			all[i], err = in.fetchObject(ctx, i, needed, number)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(all...), nil
}

// withSamples adds those of the relations that needed has no segment of.
func (in *incoming) withSamples(needed segment.Index) segment.Index {
	for number, s := range in.samples {
		if !slices.ContainsFunc(needed, func(s segment.Segment) bool { return s.Relation == number }) {
			needed = append(needed, s)
		}
	}
	return needed
}

func (in *incoming) fetchObject(ctx context.Context, i int, needed segment.Index, number int) ([]arrived, error) {
	files := make([]arrived, len(needed))
	var far segment.Index
	for k, s := range needed {
		path, near := in.near[i][s.Offset]
		if files[k] = (arrived{s, path, near}); !near {
			far = append(far, s)
		}
	}
	ahead := storage.ReadAhead{Chunk: source.ReadAhead(in.stage.Memory).Chunk / 2, Parallel: 2}
	err := in.objects[i].Copy(ctx, far, ahead, func(s segment.Segment) (io.WriteCloser, error) {
		k := slices.Index(needed, s)
		files[k].path = in.path(i, s, number)
		return os.Create(files[k].path)
	})
	return files, err
}

// relations are the queries for the rows of a round, by number of the relation.
func (in *incoming) relations(r round) []string {
	queries := make([]string, len(in.samples))
	for number := range queries {
		var paths []string
		inside := true // all of them
		for _, f := range r.files {
			if f.Relation == number {
				paths = append(paths, f.path)
				inside = inside && f.First >= r.first && f.Last <= r.last
			}
		}
		queries[number] = "(FROM " + reading(paths)
		if !inside {
			queries[number] += fmt.Sprintf(" WHERE %s BETWEEN %d AND %d", in.shape.partition(in.partitions), r.first, r.last-1)
		}
		queries[number] += ")"
	}
	return queries
}

// reading is the table function for Parquet files, in that order.
func reading(files []string) string {
	return "read_parquet(" + engine.Literals(files) + ", hive_partitioning=false)"
}
