package mesos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/tidemill/tidemill/scheduler"
)

const apiPath = "/api/v1/scheduler"

// subscription is one SUBSCRIBE and what follows from it.
type subscription struct {
	connection   *Connection
	registration *registration
	deliver      func(scheduler.Event)
	lost         <-chan struct{} // closed when another master leads

	master      *url.URL // the one that answered, after redirects
	frameworkID string   // empty until the master has given one
	wanted      []byte   // mesos.FrameworkInfo
	streamID    string
	patience    time.Duration // with a master that is silent
	since       time.Time     // of SUBSCRIBED; zero before
	ended       time.Time
	ctx         context.Context // ends with the subscription
	drop        context.CancelCauseFunc
	watchdog    *time.Timer // drops the subscription when nothing comes
}

// run blocks until the subscription has ended and says why. Events after SUBSCRIBED are delivered, and Disconnected last.
func (s *subscription) run(ctx context.Context) (err error) {
	s.ctx, s.drop = context.WithCancelCause(ctx)
	s.watchdog = time.AfterFunc(s.connection.pace.subscribe, func() { s.drop(errNoAnswer) })
	unwatch := s.dropWhenLost()
	defer func() {
		s.watchdog.Stop()
		s.drop(errEnded)
		unwatch()
		s.connection.current.CompareAndSwap(s, nil)
		if s.since.IsZero() {
			return
		}
		s.ended = time.Now()
		s.deliver(scheduler.Disconnected{Reason: err.Error()})
	}()

	response, err := s.subscribe()
	if err != nil {
		return s.cause(err)
	}
	defer func() { err = errors.Join(err, closeBody(response.Body)) }()
	return s.read(newRecords(response.Body))
}

// dropWhenLost ends the subscription when another master leads. The returned function waits until that has ended.
func (s *subscription) dropWhenLost() (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-s.lost:
			s.drop(errNewLeader)
		case <-s.ctx.Done():
		}
	}()
	return func() { <-done }
}

// read takes records off the stream until it ends. A record that trickles in is silence, as none at all is.
func (s *subscription) read(stream *records) error {
	for {
		record, err := stream.next()
		if errors.Is(err, io.EOF) {
			err = errEnded
		}
		if err != nil {
			return s.cause(err)
		}
		event, err := decode(record)
		if err != nil {
			return err
		}
		// Handing an event on may take as long as it takes; only the master's silence is counted.
		s.watchdog.Stop()
		if err := s.handle(event); err != nil {
			return err
		}
		if s.ctx.Err() != nil {
			return s.cause(errEnded)
		}
		s.watchdog.Reset(s.patience)
	}
}

// cause prefers the reason for which the stream was dropped over the read error that this led to.
func (s *subscription) cause(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return err
}

func (s *subscription) lasted() time.Duration {
	if s.since.IsZero() {
		return 0
	}
	return s.ended.Sub(s.since)
}

// handle does what one event asks for. An error ends the subscription.
func (s *subscription) handle(event *sched.Event) error {
	switch {
	case event.Type == sched.Event_ERROR:
		return s.refusal(event.Error.GetMessage())
	case event.Type == sched.Event_SUBSCRIBED:
		return s.subscribed(event.Subscribed)
	case s.since.IsZero():
		return fmt.Errorf("read events: %s came before SUBSCRIBED", event.Type)
	}
	if e := translate(event); e != nil {
		s.deliver(e)
	}
	return nil
}

func (s *subscription) subscribed(body *sched.Event_Subscribed) error {
	id := value(body.GetFrameworkID())
	switch {
	case id == "":
		return errors.New("read SUBSCRIBED: it has no framework ID")
	case s.frameworkID != "" && id != s.frameworkID:
		return fmt.Errorf("%w: it answered framework %q with the ID %q", ErrRefused, s.frameworkID, id)
	case !s.since.IsZero():
		return errors.New("read events: a second SUBSCRIBED came")
	}
	s.frameworkID = id
	s.since = time.Now()
	s.expectHeartbeats(body.GetHeartbeatIntervalSeconds())
	first := len(s.registration.get().Info) == 0
	if s.outdated() {
		if err := s.update(); err != nil { // before anything that others send
			return err
		}
	}
	s.connection.current.Store(s)
	s.connection.log.Debug("subscribed", "master", s.master.String(), "framework", id, "silence_limit", s.patience)
	s.deliver(scheduler.Subscribed{
		FrameworkID: id,
		Master:      s.master.Scheme + "://" + s.master.Host,
		MasterID:    body.GetMasterInfo().GetID(),
	})
	if first {
		s.registration.set(scheduler.Identity{ID: id, Info: s.wanted})
		s.deliver(scheduler.FrameworkUpdated{Info: s.wanted})
	}
	return nil
}

// expectHeartbeats replaces the watchdog for the answer by the one for silence. An interval that makes no sense is not
// believed.
func (s *subscription) expectHeartbeats(seconds float64) {
	pace := s.connection.pace
	interval := pace.heartbeat
	if seconds > 0 && seconds < 3600 {
		interval = time.Duration(seconds * float64(time.Second))
	}
	s.patience = time.Duration(pace.missed) * interval
	s.watchdog.Stop()
	s.watchdog = time.AfterFunc(s.patience, func() { s.drop(errSilent) })
}

// update asks Mesos to take over what is wanted.
func (s *subscription) update() error {
	info, err := decodeFramework(s.wanted, s.frameworkID)
	if err != nil {
		return err
	}
	s.connection.ordered.add(envelope{
		message:      calls.UpdateFramework(*info).With(calls.Framework(s.frameworkID)),
		name:         "UPDATE_FRAMEWORK",
		lane:         alone,
		subscription: s,
		answered:     s.updated,
	})
	return nil
}

// updated tells what Mesos said to an update. One that is refused is tried again with the next subscription. Without an
// answer that begins at once: until Mesos knows the roles that are wanted, no offers come for the new ones.
func (s *subscription) updated(status int, text string, err error) {
	if err != nil {
		s.drop(fmt.Errorf("%w: %w", errUpdateLost, err))
		return
	}
	event := scheduler.FrameworkUpdated{Info: s.wanted}
	if !taken(status) {
		event.Refused = fmt.Sprintf("the master answered %d %s", status, text)
	}
	if event.Refused == "" {
		s.registration.set(scheduler.Identity{ID: s.frameworkID, Info: s.wanted})
		s.connection.log.Info("the changed framework is registered", "framework", s.frameworkID)
	} else {
		s.connection.log.Error("the framework cannot be changed to what is configured: it goes on as it was registered",
			"framework", s.frameworkID, "reason", event.Refused)
	}
	s.deliver(event)
}

// outdated says whether this subscription presented something else than what is wanted.
func (s *subscription) outdated() bool {
	registered := s.registration.get().Info
	return len(registered) > 0 && len(s.wanted) > 0 && !bytes.Equal(registered, s.wanted) && !s.connection.asStored
}

// refusal makes the error of an ERROR event. One that comes before SUBSCRIBED is about how this framework presents
// itself, and would come again.
func (s *subscription) refusal(text string) error {
	switch {
	case text == "Framework failed over":
		return ErrFailedOver
	case text == "Framework has been removed":
		return ErrRemoved
	case s.since.IsZero():
		return fmt.Errorf("%w: %s", ErrRefused, text)
	}
	return fmt.Errorf("the master ended the subscription: %s", text)
}

// present is the FrameworkInfo to subscribe with: what is registered, so that a change is asked for and answered by
// itself, or else what is wanted.
func (s *subscription) present() (*sched.Call, error) {
	var err error
	if s.wanted, err = s.connection.cfg.framework(); err != nil {
		return nil, err
	}
	known := s.registration.get()
	s.frameworkID = known.ID
	info := known.Info
	if len(info) == 0 {
		info = s.wanted
	}
	framework, err := decodeFramework(info, known.ID)
	if err != nil {
		return nil, err
	}
	return calls.Subscribe(framework), nil
}

// subscribe sends SUBSCRIBE, following redirects, and returns the answer whose body is the stream.
func (s *subscription) subscribe() (*http.Response, error) {
	call, err := s.present()
	if err != nil {
		return nil, err
	}
	body, err := call.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode SUBSCRIBE: %w", err)
	}
	target := endpoint(s.master)
	for range maxRedirects {
		response, err := s.connection.post(s.ctx, target, "", body)
		if err != nil {
			return nil, fmt.Errorf("subscribe at %s: %w", target.Host, err)
		}
		if response.StatusCode == http.StatusOK {
			return s.accepted(response, target)
		}
		text, err := answer(response)
		if err != nil {
			return nil, fmt.Errorf("subscribe at %s: %w", target.Host, err)
		}
		if !redirects(response.StatusCode) {
			return nil, subscribeError(target.Host, response.StatusCode, text)
		}
		if target, err = redirect(target, response.Header.Get("Location")); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("subscribe at %s: redirected %d times", s.master.Host, maxRedirects)
}

func (s *subscription) accepted(response *http.Response, target *url.URL) (*http.Response, error) {
	s.master = &url.URL{Scheme: target.Scheme, Host: target.Host, Path: strings.TrimSuffix(target.Path, apiPath)}
	s.streamID = response.Header.Get(streamHeader)
	if kind := response.Header.Get("Content-Type"); kind != protobuf || s.streamID == "" {
		err := fmt.Errorf("subscribe at %s: the answer has content type %q and stream ID %q: not a Mesos master",
			target.Host, kind, s.streamID)
		return nil, errors.Join(err, response.Body.Close())
	}
	return response, nil
}

// subscribeError tells a master that waits from one that will not have this scheduler.
func subscribeError(host string, status int, text string) error {
	text = strings.TrimPrefix(text, strconv.Itoa(status)+" ") // some of Mesos' answers begin with it
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s answered %d %s; check --mesos-principal and its secret (--mesos-secret-file)", ErrRefused, host, status, text)
	case http.StatusServiceUnavailable:
		return fmt.Errorf("subscribe at %s: it does not lead, or is recovering", host)
	case http.StatusNotFound: // a master that starts listens before it knows its own paths
		return fmt.Errorf("subscribe at %s: it answered 404: it is starting, or it is no Mesos master", host)
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
	default:
		if status >= 400 && status < 500 {
			return fmt.Errorf("%w: %s answered %d %s", ErrRefused, host, status, text)
		}
	}
	return fmt.Errorf("subscribe at %s: it answered %d %s", host, status, text)
}
