package mesos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/tidemill/tidemill/scheduler"
)

const (
	apiPath      = "/api/v1/scheduler"
	protobuf     = "application/x-protobuf"
	streamHeader = "Mesos-Stream-Id"
	maxRedirects = 5
)

// subscription is one SUBSCRIBE and what follows from it.
type subscription struct {
	connection  *Connection
	frameworkID string
	deliver     func(scheduler.Event)

	master   *url.URL // the one that answered, after redirects
	streamID string
	since    time.Time // of SUBSCRIBED; zero before
	ended    time.Time
	ctx      context.Context // ends with the subscription
	drop     context.CancelCauseFunc
}

// run blocks until the subscription has ended and says why. Events after SUBSCRIBED are delivered, and Disconnected last.
func (s *subscription) run(ctx context.Context) (err error) {
	s.master = s.connection.master
	s.ctx, s.drop = context.WithCancelCause(ctx)
	patience := time.Duration(s.connection.pace.missed) * s.connection.pace.heartbeat
	watchdog := time.AfterFunc(patience, func() { s.drop(errSilent) })
	defer func() {
		watchdog.Stop()
		s.drop(errEnded)
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
	stream := newRecords(response.Body)
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
		watchdog.Stop()
		if err := s.handle(event, &patience); err != nil {
			return err
		}
		watchdog.Reset(patience)
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
func (s *subscription) handle(event *sched.Event, patience *time.Duration) error {
	switch event.Type {
	case sched.Event_SUBSCRIBED:
		return s.subscribed(event.Subscribed, patience)
	case sched.Event_ERROR:
		return s.refusal(event.Error.GetMessage())
	case sched.Event_INVERSE_OFFERS:
		s.answerInverse(event.InverseOffers.GetInverseOffers())
	default:
		if e := translate(event); e != nil {
			s.deliver(e)
		}
	}
	return nil
}

func (s *subscription) subscribed(body *sched.Event_Subscribed, patience *time.Duration) error {
	id := value(body.GetFrameworkID())
	if id == "" {
		return errors.New("read SUBSCRIBED: it has no framework ID")
	}
	if s.frameworkID != "" && id != s.frameworkID {
		return fmt.Errorf("%w: it answered framework %q with the ID %q", ErrRefused, s.frameworkID, id)
	}
	if seconds := body.GetHeartbeatIntervalSeconds(); seconds > 0 && seconds < 3600 {
		*patience = time.Duration(float64(s.connection.pace.missed) * seconds * float64(time.Second))
	}
	s.frameworkID = id
	s.since = time.Now()
	s.connection.current.Store(s)
	s.connection.log.Debug("subscribed", "master", s.master.String(), "framework", id, "silence_limit", *patience)
	s.deliver(scheduler.Subscribed{
		FrameworkID: id,
		Master:      s.master.Scheme + "://" + s.master.Host,
		MasterID:    body.GetMasterInfo().GetID(),
	})
	return nil
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

// answerInverse declines to leave an agent early: tasks there run to their end, and offers that name the maintenance
// are not used.
func (s *subscription) answerInverse(inverse []mesosgo.InverseOffer) {
	ids := make([]mesosgo.OfferID, len(inverse))
	for i := range inverse {
		ids[i] = inverse[i].OfferID
		s.connection.log.Warn("maintenance is announced", "agent", value(inverse[i].AgentID),
			"from", time.Unix(0, inverse[i].Unavailability.Start.Nanoseconds).UTC())
	}
	decline := calls.DeclineInverseOffers(ids...).With(calls.Framework(s.frameworkID), calls.RefuseSeconds(time.Minute))
	s.connection.ordered.add(envelope{message: decline, name: "DECLINE_INVERSE_OFFERS", subscription: s})
}

// subscribe sends SUBSCRIBE, following redirects, and returns the answer whose body is the stream.
func (s *subscription) subscribe() (*http.Response, error) {
	call := calls.Subscribe(s.connection.cfg.framework(s.frameworkID))
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
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s answered %d %s; check mesos principal and secret", ErrRefused, host, status, text)
	case http.StatusServiceUnavailable:
		return fmt.Errorf("subscribe at %s: it does not lead, or is recovering", host)
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
	default:
		if status >= 400 && status < 500 {
			return fmt.Errorf("%w: %s answered %d %s", ErrRefused, host, status, text)
		}
	}
	return fmt.Errorf("subscribe at %s: it answered %d %s", host, status, text)
}

// endpoint is where calls to a master go.
func endpoint(master *url.URL) *url.URL {
	return &url.URL{Scheme: master.Scheme, Host: master.Host, Path: master.Path + apiPath}
}

func redirects(status int) bool {
	return status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect
}

// redirect resolves a Location: a URL, or as Mesos writes it //host:port/path, or host:port with neither.
func redirect(from *url.URL, location string) (*url.URL, error) {
	if !strings.Contains(location, "//") && !strings.HasPrefix(location, "/") {
		location = "//" + location
	}
	to, err := from.Parse(location)
	if err != nil || to.Host == "" || (to.Scheme != "https" && to.Scheme != "http") {
		return nil, fmt.Errorf("follow redirect of %s to %q: not a URL of a master", from.Host, location)
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, fmt.Errorf("follow redirect of %s to %q: it would leave TLS", from.Host, location)
	}
	if !strings.HasSuffix(to.Path, apiPath) {
		to.Path = apiPath
	}
	return &url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}, nil
}

// post sends one call. The caller closes the answer's body.
func (c *Connection) post(ctx context.Context, target *url.URL, streamID string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", protobuf)
	request.Header.Set("Accept", protobuf)
	request.Header.Set("User-Agent", "tidemill")
	if streamID != "" {
		request.Header.Set(streamHeader, streamID)
	}
	if !c.cfg.Secret.Empty() {
		request.SetBasicAuth(c.cfg.Principal, c.cfg.Secret.Reveal())
	}
	return c.transport.RoundTrip(request)
}

// answer reads a short answer to its end, so that the connection can be used again.
func answer(response *http.Response) (string, error) {
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	err = errors.Join(err, response.Body.Close())
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(text), "�")), nil
}

// closeBody closes a stream that has ended or been given up.
func closeBody(body io.Closer) error {
	if err := body.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close stream: %w", err)
	}
	return nil
}
