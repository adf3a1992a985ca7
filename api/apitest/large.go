package apitest

import (
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// ExampleLarge adds a run of so many map tasks to what Example has made, most of them done: some ran twice, the last one
// lags and has a second attempt. It returns the run's ID.
func (s *Scheduler) ExampleLarge(now time.Time, tasks int) string {
	e := example{now: now, ids: map[string]string{}}
	s.Update(func(v *scheduler.View) {
		e.view = v
		view := e.run("flights-by-carrier", "large", "1.4.0", proto.RUN_RUNNING, 5*time.Minute,
			proto.Stage{Name: "plan", Tasks: 1, Done: true}, proto.Stage{Name: "map", Tasks: uint32(tasks)})
		const slots = 24
		begin := view.Run.Created.Add(2 * time.Second)
		for i, task := range launched(view, tasks+1) {
			start := begin.Add(time.Duration(i/slots) * 3 * time.Second)
			a := e.attempt(task, i, proto.TASK_FINISHED)
			end := start.Add(time.Duration(1500+i*37%1200) * time.Millisecond)
			a.Launched, a.Running, a.Ended = start, &start, &end
			task.Task.Counters = counters(1)
			switch {
			case i == tasks:
				a.State, a.Ended, task.Task.State = proto.TASK_RUNNING, nil, proto.TASK_RUNNING
				b := e.attempt(task, i+1, proto.TASK_RUNNING)
				late := now.Add(-20 * time.Second)
				b.Launched, b.Running = late, &late
				b.Second = "attempt 1 has taken 3m20s so far and has shown no progress; 1999 of 2000 tasks have finished, half of them within 2.1s"
				task.Progress = &proto.TaskProgress{MesosID: b.MesosID, Fraction: 0.4, Phase: "aggregating", Counters: counters(1)}
			case i%500 == 250:
				a.State, a.Failure = proto.TASK_FAILED, &proto.Failure{Class: proto.CLASS_PASSING, Kind: "unavailable", Message: "S3 answered SlowDown: " + Hostile}
				again := e.attempt(task, i+1, proto.TASK_FINISHED)
				from, to := end.Add(5*time.Second), end.Add(7*time.Second)
				again.Launched, again.Running, again.Ended = from, &from, &to
			}
		}
		view.Progress = 0.94
	})
	return e.ids["large"]
}
