package mesos

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

func TestMain(m *testing.M) {
	code := zookeepertest.Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestSubscribe(t *testing.T) {
	m := newMaster(t, good)
	s := connect(t, m.URL, func(c *Connection) {
		c.cfg.Principal, c.cfg.Secret = "tidemill", storage.NewSecret("s3cret")
	})
	s.subscriptions(1)
	want := scheduler.Subscribed{FrameworkID: "fw-1", Master: m.URL, MasterID: "master-1"}
	if got := s.events()[0]; got != want {
		t.Errorf("got %#v, want %#v", got, want)
	}
	info := m.received(sched.Call_SUBSCRIBE)[0].Subscribe.FrameworkInfo
	if info.ID != nil || info.User != "nobody" || info.Name != "tidemill" || !info.GetCheckpoint() ||
		info.GetFailoverTimeout() != 14*24*3600 || !slices.Equal(info.Roles, []string{"data/batch"}) || info.Role != nil ||
		info.GetPrincipal() != "tidemill" || info.GetWebUiURL() != "http://127.0.0.1:8080" {
		t.Errorf("framework: got %v", info)
	}
	var have []string
	for _, c := range info.Capabilities {
		have = append(have, c.Type.String())
	}
	if want := []string{"MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE", "RESERVATION_REFINEMENT"}; !slices.Equal(have, want) {
		t.Errorf("capabilities: got %v, want %v", have, want)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("tidemill:s3cret"))
	if got := m.headers[0].Get("Authorization"); got != basic {
		t.Errorf("authorization: got %q", got)
	}
}

// TestFaults has one bad subscription each, after which a good one must follow by itself.
func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		script  func(*stream)
		refused bool // the first one never became a subscription
		reason  string
	}{
		"hangs before any answer":     {script: func(s *stream) { s.stay() }, refused: true},
		"hangs before SUBSCRIBED":     {script: func(s *stream) { s.open(); s.stay() }, refused: true},
		"no heartbeats":               {script: func(s *stream) { s.subscribed(0); s.stay() }, reason: "silent"},
		"no heartbeats, own interval": {script: func(s *stream) { s.subscribed(10 * time.Millisecond); s.stay() }, reason: "silent"},
		"half a record":               {script: func(s *stream) { s.subscribed(0); s.raw("100\nabc") }, reason: "record"},
		"half a record, then hangs":   {script: func(s *stream) { s.subscribed(0); s.raw("100\nabc"); s.stay() }, reason: "silent"},
		"a record that trickles in": {script: func(s *stream) {
			s.subscribed(0)
			s.raw("100000\n")
			s.trickle()
		}, reason: "silent"},
		"a record of 64 MiB":        {script: func(s *stream) { s.subscribed(0); s.raw("67108864\n"); s.raw(strings.Repeat("x", 1<<20)); s.stay() }, reason: "bad length"},
		"a second SUBSCRIBED":       {script: func(s *stream) { s.subscribed(0); s.subscribed(0); s.stay() }, reason: "a second SUBSCRIBED"},
		"events before SUBSCRIBED":  {script: func(s *stream) { s.open(); s.rescind("early"); s.stay() }, refused: true},
		"a refusal that never ends": {script: func(s *stream) { s.WriteHeader(http.StatusInternalServerError); s.trickle() }, refused: true},
		"a header that never ends":  {script: func(s *stream) { s.hijack("HTTP/1.1 200 OK\r\nX-Slow: "); s.trickle() }, refused: true},
		"a header without measure":  {script: func(s *stream) { s.hijack("HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 1<<20)) }, refused: true},
		"no HTTP":                   {script: func(s *stream) { s.hijack("220 mail.example ESMTP\r\n") }, refused: true},
		"oversized record":          {script: func(s *stream) { s.subscribed(0); s.raw("999999999\n"); s.stay() }, reason: "record"},
		"length beyond 63 bits":     {script: func(s *stream) { s.subscribed(0); s.raw("18446744073709551615\nabc"); s.stay() }, reason: "record"},
		"no number as length":       {script: func(s *stream) { s.subscribed(0); s.raw("{\"type\": 1}\n"); s.stay() }, reason: "record"},
		"hostile bytes":             {script: func(s *stream) { s.subscribed(0); s.record(hostile); s.stay() }, reason: "decode event"},
		"garbage":                   {script: func(s *stream) { s.subscribed(0); s.record([]byte{0xff, 0xff}); s.stay() }, reason: "decode event"},
		"closes":                    {script: func(s *stream) { s.subscribed(0) }, reason: "closed"},
		"error later on":            {script: func(s *stream) { s.subscribed(0); s.fail("Something else"); s.stay() }, reason: "Something else"},
		"SUBSCRIBED without an ID": {script: func(s *stream) {
			s.open()
			s.event(&sched.Event{Type: sched.Event_SUBSCRIBED, Subscribed: &sched.Event_Subscribed{FrameworkID: &mesosgo.FrameworkID{}}})
			s.stay()
		}, refused: true},
		"does not lead":    {script: func(s *stream) { s.WriteHeader(http.StatusServiceUnavailable) }, refused: true},
		"is starting":      {script: func(s *stream) { s.WriteHeader(http.StatusNotFound) }, refused: true},
		"fails":            {script: func(s *stream) { s.WriteHeader(http.StatusInternalServerError) }, refused: true},
		"answers as a web": {script: func(s *stream) { s.Header().Set("Content-Type", "text/html"); s.raw("<p>") }, refused: true},
		"redirects in circles": {script: func(s *stream) {
			s.Header().Set("Location", "//"+s.request.Host)
			s.WriteHeader(http.StatusTemporaryRedirect)
		}, refused: true},
		"redirects to nowhere": {script: func(s *stream) {
			s.Header().Set("Location", "//127.0.0.1:1/api/v1/scheduler")
			s.WriteHeader(http.StatusTemporaryRedirect)
		}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMaster(t, test.script, good)
			s := connect(t, m.URL, func(c *Connection) { c.pace.heartbeat, c.pace.subscribe = 40*time.Millisecond, 200*time.Millisecond })
			if test.refused {
				s.subscriptions(1)
				if got := s.events()[0]; got != (scheduler.Subscribed{FrameworkID: "fw-1", Master: m.URL, MasterID: "master-1"}) {
					t.Errorf("first event: got %#v", got)
				}
				return
			}
			s.subscriptions(2)
			down, ok := s.events()[1].(scheduler.Disconnected)
			if !ok || !strings.Contains(down.Reason, test.reason) {
				t.Errorf("second event: got %#v, want Disconnected with %q", s.events()[1], test.reason)
			}
			if id := m.received(sched.Call_SUBSCRIBE)[1].FrameworkID; id == nil || id.Value != "fw-1" {
				t.Errorf("framework ID of the second SUBSCRIBE: got %v", id)
			}
		})
	}
}

func TestFatal(t *testing.T) {
	status := func(code int, text string) func(*stream) {
		return func(s *stream) {
			s.WriteHeader(code)
			s.raw(text)
		}
	}
	for name, test := range map[string]struct {
		script func(*stream)
		want   error
		text   string
	}{
		"failed over":         {func(s *stream) { s.subscribed(0); s.fail("Framework failed over"); s.stay() }, ErrFailedOver, ""},
		"removed":             {func(s *stream) { s.open(); s.fail("Framework has been removed"); s.stay() }, ErrRemoved, "never be used again"},
		"bad role":            {func(s *stream) { s.open(); s.fail("'FrameworkInfo.roles' contains invalid role"); s.stay() }, ErrRefused, "invalid role"},
		"unauthenticated":     {status(401, "401 Unauthorized."), ErrRefused, "answered 401 Unauthorized.; check --mesos-principal and its secret"},
		"forbidden":           {status(403, ""), ErrRefused, "403"},
		"not valid":           {status(400, "Failed to validate scheduler::Call"), ErrRefused, "Failed to validate"},
		"another framework's": {func(s *stream) { s.subscribed(0) }, ErrRefused, `"fw-0"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMaster(t, test.script)
			c, err := New(Config{Master: m.URL, Name: "tidemill", User: "nobody", Roles: roles("r")})
			if err != nil {
				t.Fatal(err)
			}
			var identity scheduler.Identity
			if strings.HasPrefix(name, "another") {
				identity.ID = "fw-0"
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err = c.Run(ctx, identity, func(scheduler.Event) {})
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("run: got %v, want %v with %q", err, test.want, test.text)
			}
			if n := len(m.received(sched.Call_SUBSCRIBE)); n != 1 {
				t.Errorf("SUBSCRIBE was sent %d times, want once", n)
			}
		})
	}
}

func TestRedirect(t *testing.T) {
	leader := newMaster(t, good)
	host := strings.TrimPrefix(leader.URL, "http://")
	for _, location := range []string{
		"//" + host + "/master/api/v1/scheduler", "//" + host, host, leader.URL, leader.URL + "/api/v1/scheduler", host + "/api/v1/scheduler",
	} {
		t.Run(location, func(t *testing.T) {
			standby := newMaster(t, func(s *stream) {
				s.Header().Set("Location", location)
				s.WriteHeader(http.StatusTemporaryRedirect)
			})
			s := connect(t, standby.URL, nil)
			s.subscriptions(1)
			if got := s.events()[0].(scheduler.Subscribed).Master; got != leader.URL {
				t.Errorf("master: got %s, want %s", got, leader.URL)
			}
			before := len(leader.received(sched.Call_REVIVE))
			s.Send([]scheduler.Call{scheduler.Revive{Roles: []string{"r"}}})
			eventually(t, "REVIVE at the leader", func() bool { return len(leader.received(sched.Call_REVIVE)) == before+1 })
		})
	}
}

func TestRedirectKeepsTLS(t *testing.T) {
	from, err := masterURL("https://a.example:5050")
	if err != nil {
		t.Fatal(err)
	}
	if to, err := redirect(endpoint(from), "//b.example:5050"); err != nil || to.String() != "https://b.example:5050/api/v1/scheduler" {
		t.Errorf("without a scheme: got %v, %v", to, err)
	}
	if to, err := redirect(endpoint(from), "http://b.example:5050"); err == nil {
		t.Errorf("to http: got %v and no error", to)
	}
}

func FuzzRedirect(f *testing.F) {
	for _, location := range []string{"//localhost:5050/master/api/v1/scheduler", "//localhost:5050", "localhost:5050", "http://a/", "", "/x", "%", "javascript:x"} {
		f.Add(location)
	}
	from, err := masterURL("http://127.0.0.1:5050")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		to, err := redirect(endpoint(from), location)
		if err != nil {
			return
		}
		if to.Host == "" || !strings.HasSuffix(to.Path, apiPath) || to.User != nil || to.RawQuery != "" || to.Scheme != "http" && to.Scheme != "https" {
			t.Errorf("%q: got %s", location, to)
		}
	})
}

func TestCallsKeepTheirOrder(t *testing.T) {
	m := newMaster(t, good)
	var mu sync.Mutex
	inFlight, most := 0, 0
	m.answer = func(c *sched.Call) (int, string) {
		if c.Type == sched.Call_ACKNOWLEDGE {
			return http.StatusAccepted, ""
		}
		mu.Lock()
		inFlight++
		most = max(most, inFlight)
		mu.Unlock()
		time.Sleep(time.Millisecond) // long enough for another to overtake it, if it could
		mu.Lock()
		inFlight--
		mu.Unlock()
		return http.StatusAccepted, ""
	}
	s := connect(t, m.URL, nil)
	s.subscriptions(1)
	for i := range 20 {
		s.Send([]scheduler.Call{
			scheduler.Revive{Roles: []string{"r"}},
			scheduler.Acknowledge{MesosID: fmt.Sprint(i), AgentID: "a", UUID: []byte("u")},
			scheduler.Decline{OfferIDs: []string{fmt.Sprint(i)}},
			scheduler.Suppress{Roles: []string{"r"}},
		})
	}
	eventually(t, "all calls", func() bool {
		return len(m.received(sched.Call_SUPPRESS)) == 20 && len(m.received(sched.Call_ACKNOWLEDGE)) == 20
	})
	var order []string
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.calls[1:] {
		if m.headers[i+1].Get(streamHeader) != "stream-1" || c.FrameworkID.GetValue() != "fw-1" {
			t.Errorf("%v: stream %q, framework %v", c.Type, m.headers[i+1].Get(streamHeader), c.FrameworkID)
		}
		if c.Type != sched.Call_ACKNOWLEDGE {
			order = append(order, c.Type.String())
		}
	}
	for i := range order {
		if want := []string{"REVIVE", "DECLINE", "SUPPRESS"}[i%3]; order[i] != want {
			t.Fatalf("call %d: got %s, want %s", i, order[i], want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 1 {
		t.Errorf("calls in flight at one time: got %d, want 1", most)
	}
}

func failures(events []scheduler.Event) (all []scheduler.CallFailed) {
	for _, e := range events {
		if f, ok := e.(scheduler.CallFailed); ok {
			all = append(all, f)
		}
	}
	return all
}

func TestRefusedCall(t *testing.T) {
	for _, status := range []int{400, 403, 404, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			m := newMaster(t, good)
			m.answer = func(c *sched.Call) (int, string) {
				if c.Type == sched.Call_KILL {
					return status, "no, because"
				}
				return http.StatusAccepted, ""
			}
			s := connect(t, m.URL, nil)
			s.subscriptions(1)
			kill := scheduler.Kill{MesosID: "t", AgentID: "a"}
			s.Send([]scheduler.Call{kill, scheduler.Revive{Roles: []string{"r"}}})
			s.until("CallFailed", func(e []scheduler.Event) bool { return len(failures(e)) == 1 })
			want := scheduler.CallFailed{Call: kill, Status: status, Reason: "no, because"}
			if got := failures(s.events())[0]; got != want {
				t.Errorf("got %#v, want %#v", got, want)
			}
			eventually(t, "the next call", func() bool { return len(m.received(sched.Call_REVIVE)) == 1 })
			if n := len(m.received(sched.Call_SUBSCRIBE)); n != 1 {
				t.Errorf("SUBSCRIBE was sent %d times: a refused call ended the subscription", n)
			}
		})
	}
}

// Calls for a subscription that is over are reported and never sent under another one.
func TestCallsWithoutSubscription(t *testing.T) {
	m := newMaster(t, func(s *stream) { s.subscribed(0) }, func(s *stream) { s.stay() })
	s := connect(t, m.URL, nil)
	s.until("Disconnected", func(e []scheduler.Event) bool { return count[scheduler.Disconnected](e) == 1 })
	s.Send([]scheduler.Call{scheduler.Revive{Roles: []string{"r"}}, scheduler.Acknowledge{MesosID: "t"}})
	s.until("two failures", func(e []scheduler.Event) bool { return len(failures(e)) == 2 })
	for _, f := range failures(s.events()) {
		if f.Status != 0 {
			t.Errorf("status: got %d, want 0", f.Status)
		}
	}
	if n := len(m.received(sched.Call_REVIVE)); n != 0 {
		t.Error("the call was sent")
	}
}

// The answer to a call gets lost. Calls that may be repeated are; after a lost ACCEPT there is a new subscription, so
// that reconciliation settles what became of it.
func TestLostAnswers(t *testing.T) {
	lose := func(kind sched.Call_Type, times int) func(*sched.Call) (int, string) {
		var mu sync.Mutex
		return func(c *sched.Call) (int, string) {
			mu.Lock()
			defer mu.Unlock()
			if c.Type == kind && times > 0 {
				times--
				panic(http.ErrAbortHandler)
			}
			return http.StatusAccepted, ""
		}
	}
	t.Run("REVIVE is repeated", func(t *testing.T) {
		m := newMaster(t, good)
		m.answer = lose(sched.Call_REVIVE, 2)
		s := connect(t, m.URL, nil)
		s.subscriptions(1)
		s.Send([]scheduler.Call{scheduler.Revive{Roles: []string{"r"}}, scheduler.Suppress{Roles: []string{"r"}}})
		eventually(t, "the call after it", func() bool { return len(m.received(sched.Call_SUPPRESS)) == 1 })
		if n := len(m.received(sched.Call_REVIVE)); n != 3 {
			t.Errorf("REVIVE was sent %d times, want 3", n)
		}
		if f := failures(s.events()); len(f) != 0 {
			t.Errorf("failures: got %v", f)
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		m := newMaster(t, good)
		m.answer = lose(sched.Call_REVIVE, 1000)
		s := connect(t, m.URL, nil)
		s.subscriptions(1)
		s.Send([]scheduler.Call{scheduler.Revive{Roles: []string{"r"}}})
		s.until("CallFailed", func(e []scheduler.Event) bool { return len(failures(e)) == 1 })
	})
	t.Run("ACCEPT subscribes anew", func(t *testing.T) {
		m := newMaster(t, good)
		m.answer = lose(sched.Call_ACCEPT, 1000)
		s := connect(t, m.URL, nil)
		s.subscriptions(1)
		s.Send([]scheduler.Call{scheduler.Accept{OfferIDs: []string{"o"}, AgentID: "a"}})
		s.subscriptions(2)
		if n := len(m.received(sched.Call_ACCEPT)); n != 1 {
			t.Errorf("ACCEPT was sent %d times, want once", n)
		}
	})
}

func TestHungCall(t *testing.T) {
	m := newMaster(t, good)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	m.answer = func(c *sched.Call) (int, string) {
		if c.Type == sched.Call_KILL {
			<-release
		}
		return http.StatusAccepted, ""
	}
	s := connect(t, m.URL, func(c *Connection) { c.pace.callTimeout = 20 * time.Millisecond })
	s.subscriptions(1)
	s.Send([]scheduler.Call{scheduler.Kill{MesosID: "t"}, scheduler.Revive{Roles: []string{"r"}}})
	s.until("CallFailed", func(e []scheduler.Event) bool { return len(failures(e)) == 1 })
	eventually(t, "the next call", func() bool { return len(m.received(sched.Call_REVIVE)) == 1 })
}

// What a newer master may say does not cost the subscription.
func TestNewerMaster(t *testing.T) {
	unknown := func(event *sched.Event, more ...byte) []byte {
		data, err := event.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return append(data, more...)
	}
	field := []byte{0xfa, 0x3e, 0x03, 'n', 'e', 'w'} // number 1007, bytes
	status := mesosgo.TaskStatus{
		TaskID: mesosgo.TaskID{Value: "t"}, State: ptr(mesosgo.TaskState(77)), Reason: ptr(mesosgo.TaskStatus_Reason(777)), UUID: []byte("u"),
	}
	kind := mesosgo.Value_Type(9)
	m := newMaster(t, func(s *stream) {
		s.open()
		s.record(unknown(&sched.Event{Type: sched.Event_SUBSCRIBED, Subscribed: &sched.Event_Subscribed{
			FrameworkID:              &mesosgo.FrameworkID{Value: "fw-1"},
			HeartbeatIntervalSeconds: ptr(math.NaN()),
			MasterInfo: &mesosgo.MasterInfo{ID: "m", Port: ptr(uint32(1)), Capabilities: []mesosgo.MasterInfo_Capability{
				{Type: mesosgo.MasterInfo_Capability_Type(99)}}},
		}}, field...))
		s.event(&sched.Event{Type: sched.Event_Type(99)})
		s.record(field) // no type at all
		s.record(unknown(&sched.Event{Type: sched.Event_UPDATE, Update: &sched.Event_Update{Status: status}}, field...))
		s.event(&sched.Event{Type: sched.Event_UPDATE, Update: &sched.Event_Update{Status: mesosgo.TaskStatus{State: ptr(mesosgo.TASK_RUNNING)}}})
		s.event(&sched.Event{Type: sched.Event_OFFERS, Offers: &sched.Event_Offers{Offers: []mesosgo.Offer{{
			ID: mesosgo.OfferID{Value: "o"}, Resources: []mesosgo.Resource{{Name: "gpus", Type: &kind}, {Name: "cpus", Type: &kind, Scalar: &mesosgo.Value_Scalar{Value: 2}}}, Attributes: []mesosgo.Attribute{{Name: "a", Type: kind}}}}}})
		s.event(&sched.Event{Type: sched.Event_INVERSE_OFFERS, InverseOffers: &sched.Event_InverseOffers{InverseOffers: []mesosgo.InverseOffer{{
			Unavailability: mesosgo.Unavailability{Duration: &mesosgo.DurationInfo{Nanoseconds: -1}}}}}})
		s.rescind("after")
		s.stay()
	})
	s := connect(t, m.URL, nil)
	s.subscriptions(1)
	if n := len(m.received(sched.Call_SUBSCRIBE)); n != 1 {
		t.Errorf("SUBSCRIBE was sent %d times", n)
	}
	events := s.events()
	if u := events[1].(scheduler.Update); u.State != "TASK_UNKNOWN_77" || u.Reason != "REASON_UNKNOWN_777" || u.MesosID != "t" {
		t.Errorf("update: got %+v", u)
	}
	if u := events[2].(scheduler.Update); u.State != "TASK_RUNNING" || u.MesosID != "" {
		t.Errorf("update of nothing: got %+v", u)
	}
	if o := events[3].(scheduler.Offers).Offers; len(o) != 1 || o[0].CPUs != 2 || o[0].Attributes["a"] != "" {
		t.Errorf("offers: got %+v", o)
	}
	if i := events[4].(scheduler.InverseOffers).Offers; len(i) != 1 || i[0].Duration != 0 {
		t.Errorf("inverse offers: got %+v", i)
	}
}

// Inverse offers come to the core, which answers them.
func TestInverseOffers(t *testing.T) {
	m := newMaster(t, func(s *stream) {
		s.subscribed(0)
		s.event(&sched.Event{Type: sched.Event_INVERSE_OFFERS, InverseOffers: &sched.Event_InverseOffers{InverseOffers: []mesosgo.InverseOffer{
			{OfferID: mesosgo.OfferID{Value: "i1"}, AgentID: &mesosgo.AgentID{Value: "a1"}, Unavailability: mesosgo.Unavailability{
				Start: mesosgo.TimeInfo{Nanoseconds: 1e18}, Duration: &mesosgo.DurationInfo{Nanoseconds: int64(time.Hour)}}},
			{OfferID: mesosgo.OfferID{Value: "i2"}},
		}}})
		s.event(&sched.Event{Type: sched.Event_RESCIND_INVERSE_OFFER, RescindInverseOffer: &sched.Event_RescindInverseOffer{
			InverseOfferID: mesosgo.OfferID{Value: "i2"}}})
		s.rescind("after")
		s.stay()
	})
	s := connect(t, m.URL, func(c *Connection) { c.pace.heartbeat = time.Minute })
	s.subscriptions(1)
	want := []scheduler.InverseOffer{{ID: "i1", AgentID: "a1", Start: time.Unix(1e9, 0).UTC(), Duration: time.Hour}, {ID: "i2", Start: time.Unix(0, 0).UTC()}}
	if got := s.events()[1].(scheduler.InverseOffers).Offers; !slices.Equal(got, want) {
		t.Errorf("inverse offers: got %+v, want %+v", got, want)
	}
	if got := s.events()[2]; got != (scheduler.RescindInverse{OfferID: "i2"}) {
		t.Errorf("rescind: got %#v", got)
	}
	s.Send([]scheduler.Call{
		scheduler.AcceptInverse{OfferIDs: []string{"i1"}, Refuse: time.Second},
		scheduler.DeclineInverse{OfferIDs: []string{"i2"}, Refuse: time.Minute},
	})
	eventually(t, "the answers", func() bool {
		return len(m.received(sched.Call_ACCEPT_INVERSE_OFFERS)) == 1 && len(m.received(sched.Call_DECLINE_INVERSE_OFFERS)) == 1
	})
	accept, decline := m.received(sched.Call_ACCEPT_INVERSE_OFFERS)[0], m.received(sched.Call_DECLINE_INVERSE_OFFERS)[0]
	if accept.FrameworkID.GetValue() != "fw-1" || accept.AcceptInverseOffers.InverseOfferIDs[0].Value != "i1" ||
		accept.AcceptInverseOffers.Filters.GetRefuseSeconds() != 1 ||
		decline.DeclineInverseOffers.InverseOfferIDs[0].Value != "i2" || decline.DeclineInverseOffers.Filters.GetRefuseSeconds() != 60 {
		t.Errorf("got %v and %v", accept, decline)
	}
}

// A consumer that takes its time is not a silent master.
func TestSlowConsumer(t *testing.T) {
	m := newMaster(t, func(s *stream) {
		s.subscribed(0)
		s.rescind("slow")
		for s.request.Context().Err() == nil {
			s.event(&sched.Event{Type: sched.Event_HEARTBEAT})
			time.Sleep(5 * time.Millisecond)
		}
	})
	c, err := New(Config{Master: m.URL, Name: "tidemill", User: "nobody", Roles: roles("r")})
	if err != nil {
		t.Fatal(err)
	}
	c.pace.heartbeat = 20 * time.Millisecond // a silence of 100 ms is too much
	ctx, cancel := context.WithCancel(t.Context())
	var lost bool
	err = c.Run(ctx, scheduler.Identity{}, func(e scheduler.Event) {
		switch e.(type) {
		case scheduler.Rescind:
			time.Sleep(300 * time.Millisecond) // the slowness under test
			time.AfterFunc(100*time.Millisecond, cancel)
		case scheduler.Disconnected:
			lost = ctx.Err() == nil
		}
	})
	if err != nil || lost {
		t.Errorf("run: got %v, subscription lost: %v", err, lost)
	}
}

func TestLargeRecord(t *testing.T) {
	big := strings.Repeat("x", 8<<20)
	m := newMaster(t, func(s *stream) {
		s.subscribed(0)
		s.rescind(big)
		s.rescind("after")
		s.stay()
	})
	s := connect(t, m.URL, nil)
	s.until("both records", func(e []scheduler.Event) bool { return count[scheduler.Rescind](e) == 2 })
	if got := s.events()[1].(scheduler.Rescind).OfferID; got != big {
		t.Errorf("record of 8 MiB: got %d bytes", len(got))
	}
}

func TestValidate(t *testing.T) {
	ok := Config{Master: "http://127.0.0.1:5050", Name: "n", User: "u", Roles: roles("r")}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":                      {func(*Config) {}, ""},
		"no scheme":                 {func(c *Config) { c.Master = "127.0.0.1:5050" }, "http://host:port"},
		"list":                      {func(c *Config) { c.Master = "http://a:5050, https://b:5050" }, ""},
		"list with a hole":          {func(c *Config) { c.Master = "http://a:5050,,http://b:5050" }, "http://host:port"},
		"ZooKeeper":                 {func(c *Config) { c.Master = "zk://u:hush@a,b:2182/mesos" }, ""},
		"ZooKeeper without a host":  {func(c *Config) { c.Master = "zk://u:hush@/mesos" }, "mesos master: parse ZooKeeper URL"},
		"no roles":                  {func(c *Config) { c.Roles = nil }, "mesos roles are missing"},
		"CA file that is not there": {func(c *Config) { c.CAFile = "/nowhere/ca.pem" }, "--mesos-ca-file"},
		"credentials in the URL":    {func(c *Config) { c.Master = "http://u:hush@127.0.0.1" }, "by themselves"},
		"credentials in no URL":     {func(c *Config) { c.Master = "http://u:hush@127.0.0.1:x" }, "by themselves"},
		"no user":                   {func(c *Config) { c.User = "" }, "mesos user is empty"},
		"secret without principal":  {func(c *Config) { c.Secret = storage.NewSecret("x") }, "without a principal"},
	} {
		t.Run(name, func(t *testing.T) {
			c := ok
			test.change(&c)
			_, err := New(c)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	c := &Connection{pace: defaultPace}
	for failures, want := range map[int]time.Duration{0: 100 * time.Millisecond, 3: 800 * time.Millisecond, 7: 10 * time.Second, 1000: 10 * time.Second} {
		for range 100 {
			if got := c.backoff(failures); got < want/2 || got > want {
				t.Fatalf("after %d failures: got %v, want %v to %v", failures, got, want/2, want)
			}
		}
	}
}
