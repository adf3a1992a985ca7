package aggregate

import (
	"fmt"
	"math"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// partials is what map tasks have put out, by partition: bytes, as stored.
type partials []int64

// span is the partitions [first, last) of one reduce task.
type span struct{ first, last int }

// mostBytes is as much as counts of one map output, so that sums cannot overflow.
const mostBytes = math.MaxInt64 / maxSplits

// mapped adds up what the map tasks report.
func mapped(done jobs.StageResult, partitions int) (partials, error) {
	all := make(partials, partitions)
	for i, data := range done.Outputs {
		var out proto.AggregateMapOutput
		if err := proto.Decode(data, &out); err != nil {
			return nil, fmt.Errorf("read output of split %d: %w", i, err)
		}
		if out.Bytes < 0 || out.Groups < 0 {
			return nil, fmt.Errorf("read output of split %d: %d bytes and %d groups", i, out.Bytes, out.Groups)
		}
		sizes := out.PartitionBytes
		if len(sizes) == 0 {
			sizes = []int64{out.Bytes}
		}
		if err := all.add(sizes); err != nil {
			return nil, fmt.Errorf("read output of split %d: %w", i, err)
		}
	}
	return all, nil
}

// add adds one output's sizes, each of as many consecutive partitions.
func (p partials) add(sizes []int64) error {
	if len(p)%len(sizes) != 0 {
		return fmt.Errorf("it has sizes of %d parts of %d partitions", len(sizes), len(p))
	}
	n := int64(len(p) / len(sizes))
	for i, size := range sizes {
		if size < 0 {
			return fmt.Errorf("part %d has %d bytes", i, size)
		}
		size = min(size, mostBytes/int64(len(sizes)))
		for k := range n {
			p[int64(i)*n+k] += size*(k+1)/n - size*k/n
		}
	}
	return nil
}

// Bounds on what one reduce task takes, in stored bytes.
const (
	leastPerReduce   = 16 << 20
	mostPerReduce    = 256 << 20
	defaultPerReduce = 64 << 20
	// inOneWave is how much more than that a task takes before there are more tasks than may run at a time.
	inOneWave = 8
)

// perReduce is how much one reduce task takes before there is a second one: about what merges in its memory at one go,
// for partial results are some four times as large there.
func perReduce(memory int64) int64 {
	if memory <= 0 {
		return defaultPerReduce
	}
	return min(max(memory/8, leastPerReduce), mostPerReduce)
}

// tasks is how many reduce tasks there are: as many as the bytes are worth, but no more than may run at a time unless
// each had very much to do. A task merges whatever it gets within its memory, so more of them would only cost.
func (p partials) tasks(spec *jobs.Spec) int {
	var total int64
	for _, size := range p {
		total += size
	}
	each := perReduce(int64(spec.Resources.Memory))
	worth := (total + each - 1) / each
	needed := (total + inOneWave*each - 1) / (inOneWave * each)
	return int(max(1, min(worth, max(int64(spec.Parallelism), needed), int64(len(p)))))
}

// divide gives each reduce task consecutive partitions, of about as many bytes as the others have. One large partition
// is a task of its own; every task has a partition at least.
func (p partials) divide(spec *jobs.Spec) []span {
	tasks := p.tasks(spec)
	var left int64
	for _, size := range p {
		left += size
	}
	spans := make([]span, 0, tasks)
	at := 0
	for i := range tasks {
		rest := tasks - i // this one and those behind it
		s := span{first: at, last: at + 1}
		got := p[at]
		share := left / int64(rest)
		for s.last < len(p)-(rest-1) && (rest == 1 || got+p[s.last]/2 < share) {
			got += p[s.last]
			s.last++
		}
		left -= got
		at = s.last
		spans = append(spans, s)
	}
	return spans
}
