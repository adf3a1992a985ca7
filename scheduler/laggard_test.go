package scheduler

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func seconds(all ...int) []time.Duration {
	var out []time.Duration
	for _, n := range all {
		out = append(out, time.Duration(n)*time.Second)
	}
	return out
}

// running is an attempt that began to work a second after its launch and has been listened to all the time.
func running(task, age int, fraction float64) runner {
	d := time.Duration(age) * time.Second
	return runner{task: task, attempt: 1, age: d, works: d - time.Second, listened: d, fraction: fraction}
}

func TestLaggards(t *testing.T) {
	slow := running(3, 40, 0.25)
	with := func(r runner, change func(*runner)) runner {
		change(&r)
		return r
	}
	for _, tt := range []struct {
		name string
		pace pace
		want string // tasks
	}{
		{"slow", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{slow}}, "3"},
		{"half has finished", pace{tasks: 4, took: seconds(9, 10), alone: []runner{slow}}, "3"},
		{"too few siblings", pace{tasks: 3, took: seconds(9, 10), alone: []runner{slow}}, ""},
		{"less than half has finished", pace{tasks: 5, took: seconds(9, 10), alone: []runner{slow}}, ""},
		{"nothing has", pace{tasks: 8, alone: []runner{slow}}, ""},
		{"not older than two medians", pace{tasks: 4, took: seconds(20, 20, 20), alone: []runner{slow}}, ""},
		{"a moment older", pace{tasks: 4, took: seconds(19, 19, 19), alone: []runner{slow}}, "3"},
		{"older than the median, but too young", pace{tasks: 4, took: seconds(1, 1, 1), alone: []runner{running(3, 10, 0.1)}}, ""},
		{"old enough", pace{tasks: 4, took: seconds(1, 1, 1), alone: []runner{running(3, 11, 0.1)}}, "3"},
		{"nearly done", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{running(3, 40, 0.8)}}, ""},
		{"needs as long as a new one", pace{tasks: 4, took: seconds(13, 13, 13), alone: []runner{running(3, 40, 0.75)}}, ""},
		{"done in five seconds", pace{tasks: 4, took: seconds(1, 1, 1), alone: []runner{running(3, 46, 0.9)}}, ""},
		{"a moment later", pace{tasks: 4, took: seconds(1, 1, 1), alone: []runner{running(3, 47, 0.9)}}, "3"},
		{"no progress at all", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{running(3, 40, 0)}}, "3"},
		{"progress is no number", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{running(3, 40, math.NaN())}}, "3"},
		{"it does not even run", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{with(slow, func(r *runner) { r.works, r.fraction = 0, 0 })}}, "3"},
		{"not listened to yet", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{with(slow, func(r *runner) { r.fraction, r.listened = 0, 9*time.Second })}}, ""},
		{"progress said at once", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{with(slow, func(r *runner) { r.listened = time.Second })}}, "3"},
		{"had two already", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{with(slow, func(r *runner) { r.seconds = 2 })}}, ""},
		{"had one already", pace{tasks: 4, took: seconds(9, 10, 11), alone: []runner{with(slow, func(r *runner) { r.seconds = 1 })}}, "3"},
		{"another one has one", pace{tasks: 6, took: seconds(9, 10, 11), beside: 1, alone: []runner{slow}}, ""},
		{"the slowest", pace{tasks: 6, took: seconds(9, 10, 11), alone: []runner{slow, running(4, 40, 0.2), running(5, 45, 0.5)}}, "4"},
		{"no progress is slowest", pace{tasks: 6, took: seconds(9, 10, 11), alone: []runner{slow, running(4, 30, 0), running(5, 45, 0.1)}}, "4"},
		{"the oldest of those", pace{tasks: 6, took: seconds(9, 10, 11), alone: []runner{running(3, 30, 0), running(4, 31, 0)}}, "4"},
		{"the first of equals", pace{tasks: 6, took: seconds(9, 10, 11), alone: []runner{running(5, 30, 0), running(4, 30, 0)}}, "4"},
		{"a tenth at a time", pace{tasks: 29, took: slices.Repeat(seconds(10), 20), alone: []runner{running(20, 50, 0.5), running(21, 50, 0.1), running(22, 50, 0.2)}}, "21 22"},
		{"what is left of a tenth", pace{tasks: 29, took: slices.Repeat(seconds(10), 20), beside: 1, alone: []runner{running(20, 50, 0.5), running(21, 50, 0.1)}}, "21"},
		{"no outlier moves the median", pace{tasks: 6, took: seconds(9, 10, 10, 500), alone: []runner{slow}}, "3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, l := range laggards(tt.pace) {
				got = append(got, fmt.Sprint(l.task))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLaggardsSayWhy(t *testing.T) {
	p := pace{tasks: 8, took: seconds(9, 10, 11, 12, 300, 400), alone: []runner{running(6, 61, 0.25), running(7, 30, 0.5)}}
	want := "attempt 1 has taken 1m1s so far and needs 3m0s more at its pace; 6 of 8 tasks have finished, half of them within 12s"
	p.took = slices.Delete(p.took, 4, 5)
	p.took = append(p.took, seconds(500)...)
	if got := laggards(p); len(got) != 1 || got[0].why != want {
		t.Errorf("got  %+v\nwant %q", got, want)
	}
	p.alone[0].fraction = 0
	want = "attempt 1 has taken 1m1s so far and has shown no progress; 6 of 8 tasks have finished, half of them within 12s"
	if got := laggards(p); len(got) != 1 || got[0].why != want {
		t.Errorf("got  %+v\nwant %q", got, want)
	}
}

// Whatever a stage looks like, what is chosen lags by the rule, and there is room for it.
func TestLaggardsKeepTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.Map(rapid.Int64Range(0, int64(time.Hour)), func(n int64) time.Duration { return time.Duration(n) })
		p := pace{
			took:   rapid.SliceOfN(span, 0, 30).Draw(t, "took"),
			beside: rapid.IntRange(0, 3).Draw(t, "beside"),
			alone: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) runner {
				return runner{
					task: rapid.IntRange(0, 50).Draw(t, "task"), age: span.Draw(t, "age"), works: span.Draw(t, "works"), listened: span.Draw(t, "listened"),
					fraction: rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1)).Draw(t, "fraction"), seconds: rapid.IntRange(0, 3).Draw(t, "seconds"),
				}
			}), 0, 20).Draw(t, "alone"),
		}
		slices.Sort(p.took)
		p.tasks = len(p.took) + len(p.alone) + p.beside + rapid.IntRange(0, 20).Draw(t, "others")
		all := laggards(p)
		if most := max(1, p.tasks/10); len(all) > max(0, most-p.beside) {
			t.Fatalf("%d of %d tasks beside %d", len(all), p.tasks, p.beside)
		}
		for _, l := range all {
			median := p.took[len(p.took)/2]
			if !slices.ContainsFunc(p.alone, func(r runner) bool {
				return r.task == l.task && r.age > 10*time.Second && r.age > 2*median && r.seconds < 2 && 2*len(p.took) >= p.tasks
			}) {
				t.Fatalf("task %d does not lag: %s", l.task, l.why)
			}
		}
	})
}
