package aggregate

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/tidemill/tidemill/executor/aggregate/segment"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// Partial aggregates go from map tasks to reduce tasks in partitions: a group is in the partition that the hash of its
// keys names. There are few or many, always a power of two; a segment holds the groups of 1, 2, 4, … of them, so that
// those of few groups are not torn into tiny files.

const (
	// mostPartitions is how many there are if there is anything to divide.
	mostPartitions = 256
	// rowsPerSegment is about how many rows make a segment of its own worth its while.
	rowsPerSegment = 1 << 14
	// batchesPerSplit is more than any split has batches.
	batchesPerSplit = 1 << 24
)

// exchanged is a relation that reduce tasks get.
type exchanged struct {
	table string // whose number of rows is about that of the relation
	query string // with the columns split, whose order is that of the input, k0, k1, …, and others
}

// exchange is what compute has made of a split, for those who merge: the number of a relation in merge is that here.
func (s *shape) exchange(split int) []exchanged {
	query := fmt.Sprintf("SELECT CAST(%d AS BIGINT) + split AS split, %s FROM partial", split*batchesPerSplit, s.partialColumns())
	return []exchanged{{"partial", query}}
}

// exchangeKeys are the keys that decide where a group is merged: whatever may be of one session comes together.
func (s *shape) exchangeKeys() engine.List {
	keys := engine.Numbered("k", len(s.keys))
	if s.window.Session != 0 {
		return keys[1:]
	}
	return keys
}

// partition is the SQL for the number of a row's partition. The keys' hash is hashed once more, so that the groups of one
// partition are still spread well by the hash, which is how the engine merges them.
func (s *shape) partition(of int) string {
	keys := s.exchangeKeys()
	if of == 1 || len(keys) == 0 {
		return "0"
	}
	return fmt.Sprintf("CAST(hash(hash(%s)) >> %d AS INTEGER)", keys, 64-bits.Len(uint(of-1)))
}

// outgoing writes the object of one map task.
type outgoing struct {
	stage      *stage
	session    *engine.Session
	shape      *shape
	partitions int
	split      int
	scratch    *os.File
	segments   *segment.Writer
	groups     int64
	folders    int
}

func (t *stage) newOutgoing(session *engine.Session, sh *shape, p *plan, split int) (*outgoing, error) {
	scratch, err := os.Create(filepath.Join(t.Dir, "map"))
	if err != nil {
		return nil, fmt.Errorf("write partial results: %w", err)
	}
	return &outgoing{
		stage: t, session: session, shape: sh, partitions: p.Partitions, split: split,
		scratch: scratch, segments: segment.NewWriter(scratch),
	}, nil
}

// Close ends the use of the scratch file.
func (o *outgoing) Close() error { return o.scratch.Close() }

// write adds what is in the tables.
func (o *outgoing) write(ctx context.Context) error {
	for number, relation := range o.shape.exchange(o.split) {
		rows, err := o.session.Int(ctx, "SELECT count(*) FROM "+relation.table)
		if err != nil {
			return lake.Failure("count partial results", err)
		}
		if number == 0 {
			o.groups += rows
		}
		if err := o.writeRelation(ctx, number, relation.query, granularity(rows, o.partitions)); err != nil {
			return err
		}
	}
	return nil
}

// granularity is into how many segments that many rows are divided: a power of two.
func granularity(rows int64, partitions int) int {
	n := 1
	for n < partitions && int64(n)*rowsPerSegment < rows {
		n *= 2
	}
	return n
}

// intermediate is how segments are stored: compressed little, because they are read once.
const intermediate = "FORMAT parquet, COMPRESSION lz4_raw"

// partFolder is where the engine puts the rows of a part.
var partFolder = regexp.MustCompile(`^part=([0-9]+)$`)

// writeRelation adds a relation, in one pass over it, in so many segments at most: one without rows is left out, but for
// the only one, which tells the columns.
func (o *outgoing) writeRelation(ctx context.Context, number int, query string, segments int) error {
	o.folders++
	to := filepath.Join(o.stage.Dir, fmt.Sprintf("segments-%d", o.folders))
	options := intermediate + ", RETURN_STATS"
	if segments > 1 {
		query = fmt.Sprintf("SELECT *, %s AS part FROM (%s)", o.shape.partition(segments), query)
		options += ", PARTITION_BY (part)"
	}
	type written struct {
		segment.Segment
		path string
	}
	var files []written
	span := o.partitions / segments
	err := o.session.Query(ctx, fmt.Sprintf("COPY (%s) TO %s (%s)", query, engine.Literal(to), options), func(row []driver.Value) error {
		path, okPath := row[0].(string)
		rows, okRows := row[1].(uint64)
		if !okPath || !okRows {
			return fmt.Errorf("read what was written: got %T and %T", row[0], row[1])
		}
		f := written{segment.Segment{Relation: number, Last: o.partitions, Rows: int64(rows)}, path}
		if segments > 1 {
			part, err := partOf(path)
			if err != nil {
				return err
			}
			f.First, f.Last = part*span, (part+1)*span
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return lake.Failure("write partial results", err)
	}
	slices.SortStableFunc(files, func(a, b written) int { return cmp.Compare(a.First, b.First) })
	for _, f := range files {
		if err := o.add(f.Segment, f.path); err != nil {
			return err
		}
	}
	return os.RemoveAll(to)
}

// partOf reads the number of a part from the path of its file.
func partOf(path string) (int, error) {
	m := partFolder.FindStringSubmatch(filepath.Base(filepath.Dir(path)))
	if m == nil {
		return 0, fmt.Errorf("read what was written: %q is in no part", filepath.Base(path))
	}
	return strconv.Atoi(m[1])
}

// add moves a file into the object.
func (o *outgoing) add(s segment.Segment, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write partial results: %w", err)
	}
	err = o.segments.Add(s, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

// put stores the object and gives its size.
func (o *outgoing) put(ctx context.Context, store storage.Store, key string) (int64, error) {
	body, size := o.segments.Finish()
	if _, err := store.Put(ctx, key, body, size, storage.Always); err != nil {
		return 0, fmt.Errorf("upload partial results: %w", err)
	}
	return size, nil
}

// upload stores the object where reduce tasks look for it.
func (o *outgoing) upload(ctx context.Context) (*proto.AggregateMapOutput, error) {
	size, err := o.put(ctx, o.stage.output.Work, o.stage.workURI("map", mapName(o.split, o.stage.Data.Attempt)).Key)
	if err != nil {
		return nil, err
	}
	return &proto.AggregateMapOutput{Bytes: size, Groups: o.groups, PartitionBytes: partitionBytes(o.segments.Index(), o.partitions)}, nil
}

// partitionBytes is how many bytes of an object are of each partition, by as few equal spans of them as tell all that is
// known.
func partitionBytes(index segment.Index, partitions int) []int64 {
	span := partitions
	for _, s := range index {
		span = min(span, s.Last-s.First)
	}
	all := make([]int64, partitions/span)
	for _, s := range index {
		n := int64(s.Last-s.First) / int64(span)
		for i := range n {
			all[s.First/span+int(i)] += s.Length*(i+1)/n - s.Length*i/n
		}
	}
	return all
}
