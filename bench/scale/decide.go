package main

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// decided is what the decision core does by itself, on one core.
type decided struct {
	rate    float64       // placing decisions a second of CPU, collecting garbage included
	clock   float64       // the same by the clock
	pass    time.Duration // a step with an offer of each agent that no task fits into
	perTask float64       // bytes allocated for each decision
}

// alone is a core without anything around it.
type alone struct {
	core *scheduler.Core
	n    uint64
}

func (a *alone) step(event scheduler.Event) (scheduler.Actions, error) {
	a.n++
	acts := a.core.Step(scheduler.Input{Now: time.Now(), Random: a.n * 0x9e3779b97f4a7c15, Event: event})
	for _, reply := range acts.Replies {
		if reply.Err != nil {
			return acts, reply.Err
		}
	}
	return acts, nil
}

// decide measures a core with all tasks of l pending that gets an offer of each agent: first of too little, then of enough.
func decide(l load) (d decided, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	core, err := scheduler.New(configuration(), nil)
	if err != nil {
		return d, err
	}
	a := &alone{core: core}
	if err := a.prepare(l); err != nil {
		return d, err
	}
	runtime.GC()
	for range 3 {
		begin := time.Now()
		acts, err := a.step(l.offers(amount{200, 100_000, 1_000_000}))
		if err != nil {
			return d, err
		}
		took := time.Since(begin)
		if d.pass == 0 || took < d.pass {
			d.pass = took
		}
		if n := launches(acts); n > 0 {
			return d, fmt.Errorf("%d tasks were launched on too little", n)
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	offers := l.offers(l.agent()) // room for all tasks in each step, which launches a bounded number of them
	begin, cpu := time.Now(), cpuTime()
	for n := 0; n < l.tasks(); {
		acts, err := a.step(offers)
		if err != nil {
			return d, err
		}
		more := launches(acts)
		if n += more; more == 0 || n > l.tasks() {
			return d, fmt.Errorf("%d tasks were launched, of %d", n, l.tasks())
		}
	}
	took, used := time.Since(begin), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	d.rate = float64(l.tasks()) / used.Seconds()
	d.clock = float64(l.tasks()) / took.Seconds()
	d.perTask = float64(after.TotalAlloc-before.TotalAlloc) / float64(l.tasks())
	return d, nil
}

// prepare lets all tasks wait.
func (a *alone) prepare(l load) error {
	events := []scheduler.Event{
		scheduler.Command{Body: scheduler.RegisterVersion{Artifact: version()}},
		scheduler.Command{Body: scheduler.SetChannel{Name: jobs.DefaultChannel, Version: version().Description.Version}},
		scheduler.Subscribed{FrameworkID: framework, Master: "http://127.0.0.1:1"},
	}
	for n := range shapes {
		events = append(events, scheduler.Command{Body: scheduler.PutJob{Spec: spec(n, l.each)}})
	}
	for n := range l.runs {
		events = append(events, scheduler.Command{Body: scheduler.StartRun{Job: jobName(n % shapes)}})
	}
	var errs []error
	for _, event := range events {
		_, err := a.step(event)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// offers are one of each agent, half of them to each role.
func (l load) offers(each amount) scheduler.Offers {
	var all scheduler.Offers
	for i := range l.agents {
		host := fmt.Sprintf("agent-%05d.example", i)
		all.Offers = append(all.Offers, scheduler.Offer{
			ID:         fmt.Sprintf("8d5c1675-5721-4ac8-827a-139ce88adaf2-O%d", i),
			AgentID:    fmt.Sprintf("8d5c1675-5721-4ac8-827a-139ce88adaf2-S%d", i),
			Host:       host,
			Role:       roles[i%len(roles)],
			CPUs:       float64(each[0]) / 1000,
			Memory:     each[1] / 1000 << 20,
			Disk:       each[2] / 1000 << 20,
			Attributes: map[string]string{"hostname": host, "zone": "a"},
		})
	}
	return all
}

func launches(acts scheduler.Actions) (n int) {
	for _, call := range acts.Calls {
		if accept, ok := call.(scheduler.Accept); ok {
			n += len(accept.Launches)
		}
	}
	return n
}

// cpuTime is what this process has used of all cores.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(fmt.Sprintf("read CPU time: %v", err)) // Linux knows it always
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
