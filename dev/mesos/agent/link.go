package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/queue"
)

// Bounds of the pause between two attempts to register.
const (
	minRegisterPause = 20 * time.Millisecond
	maxRegisterPause = time.Second
)

// errLeft ends the connection for good.
var errLeft = errors.New("agent has left its master")

// stayRegistered connects to the master and again whenever the connection ends,
// until ctx does or the master does not want the agent any more.
func (a *Agent) stayRegistered(ctx context.Context) {
	select {
	case <-a.recovered:
	case <-ctx.Done():
		return
	}
	defer a.client.CloseIdleConnections()
	var watching sync.WaitGroup
	watching.Go(func() { a.masters.watch(ctx) })
	defer watching.Wait()
	pause := minRegisterPause
	for ctx.Err() == nil {
		base, changed, err := a.masters.next()
		registered := false
		if err == nil {
			registered, err = a.connect(ctx, base, changed)
		}
		switch {
		case errors.Is(err, ErrGone):
			a.log.Warn("master does not want this agent any more")
			a.dismiss()
			return
		case errors.Is(err, errLeft):
			return
		}
		if registered {
			a.masters.keep()
			pause = minRegisterPause
		}
		a.log.Debug("connection to the master ended", "error", err)
		select {
		case <-ctx.Done():
		case <-changed:
			pause = minRegisterPause
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxRegisterPause)
	}
}

// connect registers and stays until the connection ends, with the reason; it ends when
// another master leads.
func (a *Agent) connect(ctx context.Context, base string, changed <-chan struct{}) (registered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	defer waiting.Wait()
	defer cancel()
	if err := a.network.pass(ctx); err != nil {
		return false, err
	}
	a.mu.Lock()
	if a.leaving {
		a.mu.Unlock()
		return false, errLeft
	}
	registration := a.registration()
	reports := queue.New[link.Report]()
	a.reports = reports
	a.mu.Unlock()
	if times, err := a.meddle(ctx, hook.Message{Point: hook.AgentReport, Type: "REGISTER"}); times == 0 {
		return false, cmp.Or(err, errBroken)
	}
	response, err := a.post(ctx, base+link.RegisterPath, "", registration)
	if err != nil {
		return false, err
	}
	defer response.Body.Close() //nolint:errcheck // the connection is over either way
	if response.StatusCode == http.StatusGone {
		return false, ErrGone
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) //nolint:errcheck // only a hint
		return false, fmt.Errorf("register: %s: %s", response.Status, text)
	}
	commands := json.NewDecoder(response.Body)
	first := link.Command{}
	if err := commands.Decode(&first); err != nil || first.Registered == nil {
		return false, fmt.Errorf("register: no answer: %w", err)
	}
	if err := a.accepted(first.Registered); err != nil {
		return false, err
	}
	sent := make(chan error, 1)
	go func() {
		defer cancel() // ends the reading too
		sent <- a.sendReports(ctx, base, first.Registered, reports)
	}()
	err = a.readCommands(ctx, commands)
	cancel()
	return true, errors.Join(err, <-sent)
}

func (a *Agent) post(ctx context.Context, url, streamID string, body any) (*http.Response, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if streamID != "" {
		request.Header.Set(link.StreamHeader, streamID)
	}
	if a.cfg.Principal != "" {
		request.SetBasicAuth(a.cfg.Principal, a.cfg.Secret)
	}
	return a.client.Do(request)
}

// registration tells all that lives here.
func (a *Agent) registration() *link.Registration {
	r := &link.Registration{Agent: link.Encode(a.info), PID: a.pid(), TLS: a.cfg.TLS != nil, Total: a.total, Infos: map[string]link.Proto{}}
	for id, f := range a.frameworks {
		if f.terminating {
			continue
		}
		r.Infos[id] = link.Encode(f.info)
		for _, e := range f.executors {
			if e.phase != terminated {
				r.Executors = append(r.Executors, link.KnownExecutor{Framework: id, Info: link.Encode(e.info), Command: e.command})
			}
			for _, t := range e.order {
				r.Tasks = append(r.Tasks, link.KnownTask{
					Framework: id, Executor: e.id(), Info: link.Encode(t.info), Latest: link.Encode(t.status()),
				})
			}
		}
	}
	return r
}

// status is the latest status of a task; one that has none yet is staging.
func (t *task) status() *v1.TaskStatus {
	if t.latest != nil {
		return t.latest
	}
	return &v1.TaskStatus{TaskID: t.info.TaskID, State: v1.TASK_STAGING.Enum()}
}

// accepted notes the registration and delivers again what is pending.
func (a *Agent) accepted(r *link.Registered) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.id() != r.AgentID {
		a.info.ID = &v1.AgentID{Value: r.AgentID}
		if err := a.checkpointAgent(); err != nil {
			return err
		}
	}
	a.log.Info("agent registered", "agent", r.AgentID)
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			for _, t := range e.order {
				a.deliver(t, a.cfg.UpdateRetryInterval)
			}
		}
	}
	return nil
}

// sendReports posts what is queued, in order, and something empty at least every
// fifth of the time that the master bears silence.
func (a *Agent) sendReports(ctx context.Context, base string, r *link.Registered, reports *queue.Queue[link.Report]) error {
	beat := time.NewTicker(max(r.Silence/5, time.Millisecond))
	defer beat.Stop()
	for {
		items, closed := reports.Take()
		for i := range items {
			if err := a.sendReport(ctx, base, r, &items[i]); err != nil {
				return err
			}
		}
		if closed {
			return errLeft
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-reports.Wake():
		case <-beat.C:
			if err := a.sendReport(ctx, base, r, &link.Report{}); err != nil {
				return err
			}
		}
	}
}

func (a *Agent) sendReport(ctx context.Context, base string, r *link.Registered, report *link.Report) error {
	if err := a.network.pass(ctx); err != nil {
		return err
	}
	times, err := a.meddle(ctx, describeReport(report))
	for range times {
		if err = a.postReport(ctx, base, r, report); err != nil {
			break
		}
	}
	return err
}

func (a *Agent) postReport(ctx context.Context, base string, r *link.Registered, report *link.Report) error {
	ctx, cancel := context.WithTimeout(ctx, max(r.Silence, time.Second))
	defer cancel()
	response, err := a.post(ctx, base+link.ReportPath, r.StreamID, report)
	if err != nil {
		return err
	}
	defer response.Body.Close()                 //nolint:errcheck // nothing is left in it
	_, err = io.Copy(io.Discard, response.Body) // so that the connection is used again
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("report: %s", response.Status)
	}
	return err
}

// readCommands carries out what the master says until it says no more.
func (a *Agent) readCommands(ctx context.Context, commands *json.Decoder) error {
	for {
		command := link.Command{}
		if err := commands.Decode(&command); err != nil {
			return err
		}
		if err := a.network.pass(ctx); err != nil {
			return err
		}
		times, err := a.meddle(ctx, describeCommand(&command))
		if err != nil {
			return err
		}
		for range times {
			if err := a.carryOut(&command); err != nil {
				a.log.Error("command from the master failed", "error", err)
			}
		}
	}
}

func (a *Agent) carryOut(command *link.Command) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case command.Run != nil:
		return a.runTask(command.Run)
	case command.Kill != nil:
		return a.killTask(command.Kill)
	case command.Ack != nil:
		a.acknowledged(command.Ack)
	case command.Message != nil:
		a.messageExecutor(command.Message)
	case command.Shutdown != nil:
		a.shutdown(command.Shutdown)
	case command.Drain != nil:
		return a.drain(command.Drain)
	case command.Total != nil:
		return a.setTotal(command.Total)
	}
	return nil
}

// report queues something for the master; without a connection it is lost.
func (a *Agent) report(r link.Report) { a.reports.Put(r) }

// leave tells the master that the agent will not come back; the connection ends when
// that is said.
func (a *Agent) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaving = true
	a.report(link.Report{Leaving: &link.Leaving{}})
	a.reports.Close()
}
