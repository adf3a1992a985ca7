package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemill/tidemill/executor/agent"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/proto"
)

const (
	tick                = 100 * time.Millisecond // what is due is looked at so often
	resendAfter         = 10 * time.Second       // an update without acknowledgement, though it was sent
	registrationTimeout = time.Minute            // for the first subscription; the agent kills us then
	firstTaskTimeout    = time.Minute            // an executor without any task ends after this, or its linger time if longer
	defaultKillGrace    = 5 * time.Second
	defaultProgress     = time.Second
	maxProgress         = 2 * time.Second // the longest between two progress messages, whatever is configured
)

// Config is what an executor needs to know.
type Config struct {
	Environment agent.Environment
	Description proto.Description // of this build
	Kinds       process.Kinds
	File        string   // the executable of task processes, which calls process.Serve when given the argument "task"
	Environ     []string // of task processes
	Log         *slog.Logger
}

// Executor is one executor's life. All its fields belong to the goroutine of Run.
type Executor struct {
	config Config
	log    *slog.Logger
	client *agent.Client

	told   chan any      // from all other goroutines
	over   chan struct{} // closed when nobody receives from told any more
	others sync.WaitGroup

	ledger   *ledger
	attempts map[string]*attempt // that run
	shared   attemptEnvironment  // of attempts

	endUploads context.CancelFunc // those that are under way

	link    link
	data    proto.ExecutorData // as of the first subscription
	refusal string             // why no task can be done at all; empty if they can
	killing bool               // the framework understands TASK_KILLING

	sending   bool      // an UPDATE is on its way
	messaging bool      // a MESSAGE is on its way
	progress  time.Time // when the next is due

	idleSince time.Time // no task runs since then; zero while one does, and before the first subscription
	worked    bool      // had a task
	end       *end      // set when it is to end
}

// end is why and until when the executor ends.
type end struct {
	err      error     // what Run returns
	deadline time.Time // for the agent to acknowledge the last updates; zero if there is no agent to wait for
}

// New connects to nothing yet.
func New(config Config) *Executor {
	e := &Executor{
		config: config, log: config.Log, client: agent.NewClient(config.Environment),
		told: make(chan any), over: make(chan struct{}),
		ledger: newLedger(), attempts: map[string]*attempt{},
	}
	e.shared = attemptEnvironment{
		file: config.File, environ: withoutToken(config.Environ),
		sandbox: config.Environment.Sandbox, directory: config.Environment.Directory,
		uploader: &uploader{kinds: config.Kinds.Jobs},
		silence:  silenceMost,
		log:      config.Log, tell: e.tell,
	}
	e.shared.uploads, e.endUploads = context.WithCancel(context.Background())
	return e
}

// withoutToken is environ for processes that do not talk to the agent.
func withoutToken(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		return strings.HasPrefix(variable, agent.TokenVariable+"=")
	})
}

// tell hands something to the executor's goroutine.
func (e *Executor) tell(what any) {
	select {
	case e.told <- what:
	case <-e.over:
	}
}

// Run is the executor's life. It returns nil when it ended by itself, by SHUTDOWN, or because ctx did, which is obeyed like
// SHUTDOWN; an error says that the agent was gone for too long. All tasks have ended when it returns, and all that it started.
func (e *Executor) Run(ctx context.Context) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer e.shared.uploader.close()
	defer e.client.Close()
	defer e.others.Wait()
	defer e.endUploads()
	defer cancel()
	defer close(e.over)

	e.link.lost = time.Now()
	e.connect(background)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	stop := ctx.Done()
	for !e.finished() {
		select {
		case what := <-e.told:
			e.handle(background, what)
		case now := <-ticker.C:
			e.tick(background, now)
		case <-stop:
			stop = nil
			e.log.Info("shutting down on a signal")
			e.shutDown()
		}
	}
	return e.end.err
}

// finished is true when nothing is left to do.
func (e *Executor) finished() bool {
	return e.end != nil && len(e.attempts) == 0 && (e.ledger.settled() || !time.Now().Before(e.end.deadline))
}

func (e *Executor) handle(ctx context.Context, what any) {
	switch what := what.(type) {
	case attemptStarted:
		e.started(what)
	case attemptProgress:
		if a := e.attempts[what.progress.MesosID]; a != nil {
			a.progress = what.progress
		}
	case attemptEnded:
		e.ended(what)
	case linkEvent:
		e.event(what.event)
	case linkLost:
		e.lost(what.err)
	case updateSent:
		e.updateSent(what)
	case messageSent:
		e.messaging = false
		e.answered(what.err)
	default:
		panic(fmt.Sprintf("executor was told a %T", what))
	}
	e.flush(ctx)
}

// tick does what is due.
func (e *Executor) tick(ctx context.Context, now time.Time) {
	e.watchLink(ctx, now)
	e.flush(ctx)
	e.sendProgress(ctx, now)
	if e.end == nil && e.ledger.settled() && e.lingered(now) {
		e.log.Info("ending: no more tasks came")
		e.end = &end{}
	}
}

// lingered is true when the executor has waited long enough for another task.
func (e *Executor) lingered(now time.Time) bool {
	wait := e.data.Linger
	if !e.worked {
		wait = max(wait, firstTaskTimeout)
	}
	return !e.idleSince.IsZero() && now.Sub(e.idleSince) >= wait
}

// shutDown ends the tasks and then the executor, within the grace period that the agent gives.
func (e *Executor) shutDown() {
	e.stopAll(&end{deadline: time.Now().Add(e.config.Environment.ShutdownGrace * 9 / 10)})
}

// giveUp ends the tasks and then the executor, without an agent.
func (e *Executor) giveUp(err error) {
	e.log.Error("ending: the agent is gone", "error", err)
	e.stopAll(&end{err: err})
}

// stopAll shares the grace period out: first the tasks may end gently, then logs may still be uploaded, and what is left is for
// the last updates.
func (e *Executor) stopAll(why *end) {
	if e.end != nil {
		return
	}
	e.end = why
	grace := e.config.Environment.ShutdownGrace
	for _, a := range e.attempts {
		a.request(stopRequest{reason: shutDown, grace: grace * 4 / 10})
	}
	time.AfterFunc(grace*7/10, e.endUploads)
}

// errAgentGone is what Run returns when it ended for want of an agent.
var errAgentGone = errors.New("agent is gone")

// self is the file of this program, also when that was replaced.
const self = "/proc/self/exe"
