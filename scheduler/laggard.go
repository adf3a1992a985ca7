package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// When an attempt lags behind its siblings so far that a second one is worth its price.
const (
	laggardLeast   = 4                // tasks of a stage: the median of fewer says nothing
	laggardAge     = 10 * time.Second // an attempt that has run shorter is none
	laggardTimes   = 2                // it has run for more than so many medians
	laggardLeft    = 5 * time.Second  // one that needs less from now on is none: a new one has to start first
	laggardShare   = 10               // a tenth of the stage's tasks, and at least one, may have a second attempt at a time
	mostSeconds    = 2                // second attempts that one task ever gets
	laggardListens = 10 * time.Second // without a word on its progress until none is taken for made
)

// pace is how a stage goes: all that the decision on second attempts rests on.
type pace struct {
	tasks  int             // of the stage
	took   []time.Duration // by the attempts that finished, one for each task that has, from launch to end, shortest first
	beside int             // tasks that have a second attempt
	alone  []runner        // the attempts of the other tasks
}

// runner is an attempt that lives, the only one of its task.
type runner struct {
	task     int           // its index in the stage
	attempt  uint32        // its number
	age      time.Duration // since its launch
	works    time.Duration // since it runs; 0: it does not yet
	listened time.Duration // for how long word of its progress could have come
	fraction float64       // of its work that is done, as far as known
	seconds  int           // second attempts that its task has had
}

// laggard is a task that is to get a second attempt.
type laggard struct {
	task int
	why  string // a sentence without a full stop
}

// laggards finds the tasks that are to get a second attempt now, the slowest first. A stage must have half of its tasks
// behind it. An attempt lags if it has run for more than twice as long as the finished ones took, by their median, and
// at its pace needs longer from now on than they did.
func laggards(p pace) []laggard {
	if p.tasks < laggardLeast || 2*len(p.took) < p.tasks {
		return nil
	}
	room := max(1, p.tasks/laggardShare) - p.beside
	if room <= 0 {
		return nil
	}
	median := p.took[len(p.took)/2]
	slow := slices.DeleteFunc(slices.Clone(p.alone), func(r runner) bool { return !r.lags(median) })
	slices.SortFunc(slow, func(a, b runner) int {
		return cmp.Or(-cmp.Compare(a.left(), b.left()), -cmp.Compare(a.age, b.age), cmp.Compare(a.task, b.task))
	})
	var all []laggard
	for _, r := range slow[:min(room, len(slow))] {
		all = append(all, laggard{r.task, r.explain(len(p.took), p.tasks, median)})
	}
	return all
}

func (r runner) lags(median time.Duration) bool {
	known := r.fraction > 0 || r.listened >= laggardListens
	return known && r.seconds < mostSeconds && r.age > max(laggardAge, laggardTimes*median) && r.left() > max(laggardLeft, median)
}

// forever is how long an attempt needs that gets nowhere.
const forever = time.Duration(1<<63 - 1)

// left is how long an attempt still needs at its pace.
func (r runner) left() time.Duration {
	if !(r.fraction > 0) || r.works <= 0 { // NaN, too
		return forever
	}
	left := float64(r.works) * (1 - min(r.fraction, 1)) / r.fraction
	if left >= float64(forever) {
		return forever
	}
	return time.Duration(left)
}

func (r runner) explain(finished, tasks int, median time.Duration) string {
	pace := "has shown no progress"
	if left := r.left(); left < forever {
		pace = fmt.Sprintf("needs %s more at its pace", left.Round(time.Second))
	}
	return fmt.Sprintf("attempt %d has taken %s so far and %s; %d of %d tasks have finished, half of them within %s",
		r.attempt, r.age.Round(time.Second), pace, finished, tasks, roundFine(median))
}

// roundFine is a duration for people, short ones in milliseconds.
func roundFine(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
