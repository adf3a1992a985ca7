package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

const (
	streamHeader = "Mesos-Stream-Id"
	framework    = "scale-framework"

	allocationInterval = 50 * time.Millisecond // Mesos' own is 1 s, which would hide how fast the scheduler is
	heartbeat          = 15 * time.Second
)

// master is a simulated master with its agents.
type master struct {
	server *http.Server
	url    string
	kick   chan struct{} // holds a token while resources are to be allocated
	ended  sync.WaitGroup
	stop   context.CancelFunc

	mu        sync.Mutex
	stream    *stream // the subscription; nil: none
	streams   int
	agents    []*agent
	roles     map[string]bool // subscribed with; false: suppressed
	allocated map[string]int64
	filters   map[place]filter
	offers    map[string]*offer
	tasks     map[string]*task
	launched  map[string]bool // IDs of all tasks that ever were
	paused    bool            // nothing is offered
	endsSoon  bool            // tasks end as soon as they run
	number    uint64          // of the last offer, update or whatever has to be told from others
	seen      seen
}

// seen is what a master saw since it was last asked to forget it.
type seen struct {
	wrong      []error // what a scheduler must not do
	firstOffer time.Time
	lastAccept time.Time
	lastReturn time.Time // the last DECLINE
	lastAck    time.Time
	subscribed time.Time
	toAccept   []time.Duration // from each offer to its ACCEPT
	offers     int
	launches   int
	accepts    int
	declined   int // offers
	running    int // tasks whose RUNNING was acknowledged
	finished   int // tasks whose end was acknowledged
	asked      int // tasks in RECONCILE calls
	kills      int
}

// newMaster starts a master with agents of that size. It offers nothing before resume.
func newMaster(agents int, each amount) (*master, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen as master: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &master{
		url:       "http://" + listener.Addr().String(),
		kick:      make(chan struct{}, 1),
		stop:      stop,
		roles:     map[string]bool{},
		allocated: map[string]int64{},
		filters:   map[place]filter{},
		offers:    map[string]*offer{},
		tasks:     map[string]*task{},
		launched:  map[string]bool{},
		paused:    true,
	}
	for i := range agents {
		m.agents = append(m.agents, &agent{
			id:        fmt.Sprintf("8d5c1675-5721-4ac8-827a-139ce88adaf2-S%d", i),
			host:      fmt.Sprintf("agent-%05d.example", i),
			total:     each,
			executors: map[string]*executor{},
		})
	}
	m.server = &http.Server{Handler: m, ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx }}
	m.ended.Go(func() {
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			m.mu.Lock()
			m.wrong("serve: %w", err)
			m.mu.Unlock()
		}
	})
	m.ended.Go(func() { m.allocate(ctx) })
	return m, nil
}

// close ends everything that newMaster started.
func (m *master) close() error {
	m.stop()
	err := m.server.Close()
	m.ended.Wait()
	return err
}

// wrong notes what a scheduler must not do. m.mu is held.
func (m *master) wrong(format string, args ...any) {
	if len(m.seen.wrong) < 10 {
		m.seen.wrong = append(m.seen.wrong, fmt.Errorf(format, args...))
	}
}

// look returns what was seen since forget.
func (m *master) look() seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}

// forget begins a new measurement. What was wrong stays.
func (m *master) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = seen{wrong: m.seen.wrong}
}

// ServeHTTP implements http.Handler: the scheduler API.
func (m *master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the scheduler went away
	}
	call := new(sched.Call)
	if err := call.Unmarshal(body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if call.Type == sched.Call_SUBSCRIBE {
		m.subscribe(w, r, call.Subscribe)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream == nil || r.Header.Get(streamHeader) != m.stream.id {
		http.Error(w, "this is not the subscription", http.StatusBadRequest)
		return
	}
	m.handle(call)
	if call.Type == sched.Call_UPDATE_FRAMEWORK {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// stream is a subscription. Events are queued without bounds and written by the request's goroutine.
type stream struct {
	id     string
	mu     sync.Mutex
	events [][]byte
	more   chan struct{} // holds a token while there are events
	ended  chan struct{} // closed when another one has taken its place
}

func (s *stream) send(e *sched.Event) {
	data, err := e.Marshal()
	if err != nil {
		panic(fmt.Sprintf("encode event: %v", err)) // it lacks a required field
	}
	s.mu.Lock()
	s.events = append(s.events, data)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// write writes events as RecordIO until the scheduler goes away.
func (s *stream) write(ctx context.Context, w http.ResponseWriter) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	out := http.NewResponseController(w)
	var digits []byte
	for {
		select {
		case <-s.more:
		case <-beat.C:
			s.send(&sched.Event{Type: sched.Event_HEARTBEAT})
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return nil
		}
		s.mu.Lock()
		batch := s.events
		s.events = nil
		s.mu.Unlock()
		for _, data := range batch {
			digits = append(strconv.AppendInt(digits[:0], int64(len(data)), 10), '\n')
			if _, err := w.Write(digits); err != nil {
				return err
			}
			if _, err := w.Write(data); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func (m *master) subscribe(w http.ResponseWriter, r *http.Request, call *sched.Call_Subscribe) {
	s := m.begin(call)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Header().Set(streamHeader, s.id)
	_ = s.write(r.Context(), w) // whoever went away subscribes anew
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream == s {
		m.stream = nil
		m.rescindAll()
	}
}

// begin makes a subscription the present one. All offers are void, and what is not acknowledged is said again.
func (m *master) begin(call *sched.Call_Subscribe) *stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream != nil {
		close(m.stream.ended)
	}
	m.rescindAll()
	m.streams++
	m.stream = &stream{id: fmt.Sprintf("stream-%d", m.streams), more: make(chan struct{}, 1), ended: make(chan struct{})}
	m.subscribeRoles(call.FrameworkInfo.Roles, call.SuppressedRoles)
	interval := heartbeat.Seconds()
	m.stream.send(&sched.Event{Type: sched.Event_SUBSCRIBED, Subscribed: &sched.Event_Subscribed{
		FrameworkID:              &mesosgo.FrameworkID{Value: framework},
		HeartbeatIntervalSeconds: &interval,
		MasterInfo:               &mesosgo.MasterInfo{ID: "master-1", IP: 1, Port: new(uint32)},
	}})
	m.seen.subscribed = time.Now()
	for _, t := range m.tasks {
		if t.uuid != nil {
			m.report(t)
		}
	}
	m.allocateSoon()
	return m.stream
}

func (m *master) subscribeRoles(roles, suppressed []string) {
	clear(m.roles)
	for _, role := range roles {
		m.roles[role] = true
	}
	for _, role := range suppressed {
		m.roles[role] = false
	}
	clear(m.filters)
}
