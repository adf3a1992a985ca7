package scheduler

import (
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// Core is the whole state of the scheduler and the only thing that changes it. See the package's documentation for
// what its caller must do.
type Core struct {
	cfg Config

	// The step that is being done.
	now      time.Time
	skew     time.Duration // by which now is ahead of the caller's clock
	random   uint64
	launches int // of this step
	out      *Actions
	changes  changes

	leading   bool
	resumed   bool // the first step after New has looked at everything that was loaded
	framework *proto.Framework
	mesos     connection

	jobs        map[string]*job
	runs        map[string]*run
	tasks       int // of runs that have not ended, never launched ones included
	keys        keys
	pins        pins
	collector   collector
	versions    map[string]*version
	retired     map[string]*proto.Retired // deleted versions
	channels    map[string]*channel
	checks      map[CheckKey]*check
	checkers    map[string]*owner // of checks, by version
	settled     []CheckKey        // checks with an answer, oldest first
	checking    []*check          // those without, oldest first
	executors   map[string]*executor
	executorsAt map[string][]*executor // by agent, oldest first
	attempts    map[string]*attempt    // by Mesos task ID; all of every run that is kept
	agents      map[string]*agent
	inverse     map[string]*agent // by the inverse offer that told of maintenance
	swept       time.Time         // when agents were forgotten last

	roles  []string // to be subscribed with; see Roles
	demand demand
	timers timers
	view   viewCache
}

// connection is the subscription to the master.
type connection struct {
	master  string    // empty while there is none
	refused string    // why Mesos did not take over the framework as it is configured
	since   time.Time // since when it has been listened to without a break
	asking  asking
	calls   callRepeats
}

func (m *connection) up() bool { return m.master != "" }

// New builds a Core from what is stored. A record that cannot be understood, or that names another that is not there,
// is an error that names its key.
func New(cfg Config, records []Record) (*Core, error) {
	c := &Core{
		cfg:         cfg,
		leading:     true,
		jobs:        map[string]*job{},
		runs:        map[string]*run{},
		keys:        keys{byKey: map[runKey]*proto.IdempotencyKey{}},
		pins:        pins{},
		versions:    map[string]*version{},
		retired:     map[string]*proto.Retired{},
		channels:    map[string]*channel{},
		checks:      map[CheckKey]*check{},
		checkers:    map[string]*owner{},
		executors:   map[string]*executor{},
		attempts:    map[string]*attempt{},
		agents:      map[string]*agent{},
		executorsAt: map[string][]*executor{},
		inverse:     map[string]*agent{},
	}
	for _, role := range cfg.Roles {
		c.join(role)
	}
	if err := c.load(records); err != nil {
		return nil, err
	}
	return c, nil
}

// Step handles one event and returns all that follows from it. It never blocks.
func (c *Core) Step(in Input) Actions {
	if !c.leading {
		return refuse(in.Event)
	}
	var out Actions
	c.out = &out
	c.advanceClock(in.Now)
	c.random = in.Random
	c.launches = 0
	if !c.resumed {
		c.resumed = true
		c.resume()
	}
	c.fireTimers()
	c.handle(in.Event)
	c.mesos.asking.flush(c)
	c.steerOffers()
	out.Store = c.changes.take()
	if wake := c.timers.next(); !wake.IsZero() {
		out.Wake = wake.Add(-c.skew)
	}
	c.out = nil
	return out
}

// deafAfter is how long the core must not have been called until it takes itself for having been asleep. It is called
// every second; see [Tick].
const deafAfter = 5 * time.Second

// advanceClock takes over the time of a step. A clock that was put back must not undo what has happened or hold up what
// is due: from then on the core's own time is ahead of it. After a sleep of this process (a stopped process, a paused
// machine) what was said meanwhile has not been heard yet, so that nothing is concluded from silence.
func (c *Core) advanceClock(now time.Time) {
	now = now.UTC().Round(0).Add(c.skew)
	if now.Before(c.now) {
		c.skew += c.now.Sub(now)
		now = c.now
	}
	if c.mesos.up() && now.Sub(c.now) > deafAfter {
		c.mesos.since = now
	}
	c.now = now
}

// clock is what the caller's clock shows at a moment of the core's own time.
func (c *Core) clock(t time.Time) time.Time { return t.Add(-c.skew) }

func (c *Core) handle(event Event) {
	switch e := event.(type) {
	case Tick:
	case Offers:
		c.offered(e.Offers)
	case Update:
		c.updated(e)
	case Message:
		c.heard(e)
	case Command:
		c.command(e)
	case InverseOffers:
		c.inverseOffered(e.Offers)
	case RescindInverse:
		c.rescindInverse(e.OfferID)
	case FrameworkUpdated:
		c.frameworkUpdated(e)
	case Rescind:
		c.count(MetricRescinds, 1)
	case Failure:
		c.failed(e)
	case CallFailed:
		c.callFailed(e)
	case Subscribed:
		c.subscribed(e)
	case Disconnected:
		c.disconnected(e)
	case SteppedDown:
		c.leading = false
		c.mesos.master = ""
		c.view.changed = true
		c.note(slog.LevelWarn, "stepped down")
	}
}

// command answers a wish from the API.
func (c *Core) command(cmd Command) {
	var value any
	var err *Error
	switch body := cmd.Body.(type) {
	case CheckSpec:
		value, err = c.checkSpec(body)
	case PutJob:
		value, err = c.putJob(body)
	case DeleteJob:
		value, err = c.deleteJob(body)
	case StartRun:
		value, err = c.startRun(body)
	case CancelRun:
		value, err = c.cancelRun(body)
	case MoveRun:
		value, err = c.moveRun(body)
	case RegisterVersion:
		value, err = c.registerVersion(body)
	case DeleteVersion:
		value, err = c.deleteVersion(body)
	case SetChannel:
		value, err = c.setChannel(body)
	case DeleteChannel:
		value, err = c.deleteChannel(body)
	case SteerRollout:
		value, err = c.steerRollout(body)
	case ArchiveRuns:
		value = c.archiveRuns(body)
	case ForgetFramework:
		value, err = c.forgetFramework()
	default:
		err = errorf(Internal, "handle command: %T is not known", cmd.Body)
	}
	if err != nil {
		value = nil
	}
	c.out.Replies = append(c.out.Replies, Reply{Ticket: cmd.Ticket, Value: value, Err: err})
}

// refuse is all that a Core does that leads no more.
func refuse(event Event) Actions {
	cmd, ok := event.(Command)
	if !ok {
		return Actions{}
	}
	err := errorf(Unavailable, "this instance does not lead any more; try again")
	return Actions{Replies: []Reply{{Ticket: cmd.Ticket, Err: err}}}
}

func (c *Core) call(call Call) { c.out.Calls = append(c.out.Calls, call) }

func (c *Core) note(level slog.Level, text string, attrs ...slog.Attr) {
	c.out.Notes = append(c.out.Notes, Note{Level: level, Text: text, Attrs: attrs})
}

func (c *Core) count(metric string, value float64, labels ...string) {
	c.out.Counts = append(c.out.Counts, Count{Metric: metric, Labels: labels, Value: value})
}

// roll returns the next random number of this step (splitmix64).
func (c *Core) roll() uint64 {
	c.random += 0x9e3779b97f4a7c15
	z := c.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// jitter returns d, give or take a quarter.
func (c *Core) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(float64(d)/2*float64(c.roll()>>11)/(1<<53))
}
