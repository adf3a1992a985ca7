package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"
)

// result is what was measured with one store and number of agents. Times are of the wall clock.
type result struct {
	heap       int64   // bytes in use with all tasks pending
	perPending float64 // bytes

	passWire time.Duration // one offer of each agent, none of use, until the last was declined
	passCore time.Duration // the step of it

	few, all launched // a tenth of the tasks, and all

	ends      float64 // tasks a second whose end was reported, stored and acknowledged
	sustained float64 // tasks a second that were launched, ran, ended, all acknowledged
}

// launched is what it took to launch tasks that go on running, and to come back to them.
type launched struct {
	tasks     int
	rate      float64 // tasks a second from the first offer to the last ACCEPT
	p50, p99  time.Duration
	writes    int
	longest   time.Duration // write to the store
	loaded    time.Duration // taking over and reading the store
	made      time.Duration // the core from the records
	reconcile time.Duration // from SUBSCRIBED to the last answer
}

// patience bounds each wait.
const patience = 5 * time.Minute

// until polls until done, an error, or patience ends.
func (i *instance) until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-poll.C:
			if err := i.failed(); err != nil {
				return fmt.Errorf("wait for %s: %w", what, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}

// measurement is one in progress.
type measurement struct {
	load   load
	open   records
	log    *slog.Logger
	master *master
	*instance
}

// measure measures the whole scheduler with records in that store.
func measure(ctx context.Context, l load, open records, log *slog.Logger) (r result, err error) {
	m := &measurement{load: l, open: open, log: log}
	if m.master, err = newMaster(l.agents, l.agent()); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.master.close()) }()
	if m.instance, err = startInstance(ctx, open, m.master.url, log); err != nil {
		return r, err
	}
	defer func() {
		if m.instance != nil {
			err = errors.Join(err, m.stop())
		}
	}()
	if err := m.prepare(ctx, l.each); err != nil {
		return r, err
	}
	steps := []func(context.Context, *result) error{m.fewRunning, m.pending, m.allRunning, m.sustained}
	for _, step := range steps {
		if err := step(ctx, &r); err != nil {
			return r, errors.Join(err, errors.Join(m.master.look().wrong...))
		}
	}
	return r, m.check()
}

// check says what the master found wrong.
func (m *measurement) check() error {
	saw := m.master.look()
	if saw.kills > 0 {
		saw.wrong = append(saw.wrong, fmt.Errorf("%d KILL calls", saw.kills))
	}
	return errors.Join(saw.wrong...)
}

// fewRunning launches a tenth of the runs, fails over, and lets them end.
func (m *measurement) fewRunning(ctx context.Context, r *result) error {
	runs := max(1, m.load.runs/10)
	if err := m.begin(ctx, runs); err != nil {
		return err
	}
	if err := m.launch(ctx, &r.few, runs); err != nil {
		return err
	}
	if err := m.failOver(ctx, &r.few); err != nil {
		return err
	}
	_, err := m.finish(ctx, runs)
	return err
}

// pending starts all runs while nothing is offered, and then offers what nothing fits into.
func (m *measurement) pending(ctx context.Context, r *result) error {
	before := heap()
	if err := m.begin(ctx, m.load.runs); err != nil {
		return err
	}
	r.heap = heap()
	r.perPending = float64(r.heap-before) / float64(m.load.tasks())
	m.core.longestStep()
	var passes []time.Duration
	for range 3 {
		m.master.forget()
		m.master.offerTooLittle()
		err := m.until(ctx, "all offers to come back", func() (bool, error) {
			return m.master.look().declined == m.load.agents, nil
		})
		if err != nil {
			return err
		}
		saw := m.master.look()
		passes = append(passes, saw.lastReturn.Sub(saw.firstOffer))
	}
	slices.Sort(passes)
	r.passWire, r.passCore = passes[1], m.core.longestStep()
	return nil
}

// allRunning launches all tasks, fails over, and lets them end.
func (m *measurement) allRunning(ctx context.Context, r *result) error {
	if err := m.launch(ctx, &r.all, m.load.runs); err != nil {
		return err
	}
	if err := m.failOver(ctx, &r.all); err != nil {
		return err
	}
	took, err := m.finish(ctx, m.load.runs)
	r.ends = float64(m.load.tasks()) / took.Seconds()
	return err
}

// launch offers everything until the tasks of so many runs run.
func (m *measurement) launch(ctx context.Context, l *launched, runs int) error {
	l.tasks = runs * m.load.each
	m.commits.take()
	m.master.forget()
	m.master.resume(false)
	err := m.until(ctx, "all tasks to run", func() (bool, error) {
		saw := m.master.look()
		return saw.running >= l.tasks, errors.Join(saw.wrong...)
	})
	m.master.pause()
	if err != nil {
		return err
	}
	saw := m.master.look()
	if saw.launches != l.tasks {
		return fmt.Errorf("%d tasks were launched, and %d are there", saw.launches, l.tasks)
	}
	l.rate = float64(l.tasks) / saw.lastAccept.Sub(saw.firstOffer).Seconds()
	slices.Sort(saw.toAccept)
	l.p50, l.p99 = quantile(saw.toAccept, 0.5), quantile(saw.toAccept, 0.99)
	l.writes, l.longest = m.commits.take()
	return nil
}

// failOver stops the scheduler and starts another one, which has to ask for all tasks.
func (m *measurement) failOver(ctx context.Context, l *launched) error {
	old := m.instance
	m.instance = nil
	if err := old.stop(); err != nil {
		return err
	}
	runtime.GC()
	m.master.forget()
	var err error
	if m.instance, err = startInstance(ctx, m.open, m.master.url, m.log); err != nil {
		return err
	}
	l.loaded, l.made = m.loaded, m.made
	var answered time.Time
	err = m.until(ctx, "answers to reconciliation", func() (bool, error) {
		var n int
		n, answered = m.core.reconciled()
		return n >= l.tasks, nil
	})
	saw := m.master.look()
	if l.reconcile = answered.Sub(saw.subscribed); err == nil && saw.asked != l.tasks {
		err = fmt.Errorf("%d tasks were asked about, and %d run", saw.asked, l.tasks)
	}
	return err
}

// finish lets all tasks end, and forgets their runs. It says how long the ends took.
func (m *measurement) finish(ctx context.Context, runs int) (took time.Duration, err error) {
	m.master.forget()
	begin := time.Now()
	m.master.finishAll()
	if err := m.ended(ctx, runs); err != nil {
		return 0, err
	}
	return m.master.look().lastAck.Sub(begin), nil
}

// ended waits for so many runs to succeed and forgets them.
func (m *measurement) ended(ctx context.Context, runs int) error {
	want := runs * m.load.each
	err := m.until(ctx, "the ends of all tasks", func() (bool, error) {
		saw := m.master.look()
		return saw.finished >= want, errors.Join(saw.wrong...)
	})
	if err != nil {
		return err
	}
	var ids []string
	err = m.until(ctx, "the ends of all runs", func() (bool, error) {
		var err error
		ids, err = m.succeeded()
		return len(ids) == runs, err
	})
	if err != nil {
		return err
	}
	return m.forget(ctx, ids)
}

// sustained runs all runs with tasks that end at once.
func (m *measurement) sustained(ctx context.Context, r *result) error {
	if err := m.begin(ctx, m.load.runs); err != nil {
		return err
	}
	m.master.forget()
	m.master.resume(true)
	if err := m.ended(ctx, m.load.runs); err != nil {
		return err
	}
	saw := m.master.look()
	if saw.launches != m.load.tasks() || saw.finished != m.load.tasks() {
		return fmt.Errorf("%d tasks were launched and %d have ended, of %d", saw.launches, saw.finished, m.load.tasks())
	}
	r.sustained = float64(m.load.tasks()) / saw.lastAck.Sub(saw.firstOffer).Seconds()
	return nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// heap is what is in use after collecting garbage.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
