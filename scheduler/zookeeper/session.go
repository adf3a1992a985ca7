package zookeeper

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

const defaultTimeout = 10 * time.Second

// Config says how a session is held.
type Config struct {
	// SessionTimeout is how long the ensemble waits for a silent client before it takes the session away. The servers have
	// bounds for it (2 to 20 of their ticks); Session.Timeout tells what came of it. 0: 10 s.
	SessionTimeout time.Duration
	Log            *slog.Logger // nil: slog.Default()
}

// Session holds a session with an ensemble, and begins a new one whenever one was lost. It is safe for concurrent use.
type Session struct {
	url     URL
	timeout time.Duration
	log     *slog.Logger
	acl     []zk.ACL
	cancel  context.CancelFunc
	ctx     context.Context // ends with Close
	ended   sync.WaitGroup

	mu      sync.Mutex
	current *incarnation
	changed chan struct{} // closed and replaced when current or what it can do changes
}

// incarnation is one session in ZooKeeper's sense.
type incarnation struct {
	made   chan struct{} // closed when conn is set
	conn   *zk.Conn
	events <-chan zk.Event // closed when nothing of conn runs any more
	dialer *dialer
	ctx    context.Context // ends when the session is lost or given up
	lose   context.CancelFunc

	online bool // there is a connection; under Session.mu
	known  bool // the servers know our credentials; under Session.mu
}

// Connect begins to hold a session. It returns at once: calls wait for the connection. It is ended with Close.
func Connect(url URL, config Config) *Session {
	s := &Session{url: url, timeout: config.SessionTimeout, log: config.Log, changed: make(chan struct{})}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.log = s.log.With("zookeeper", url.String())
	s.acl = zk.WorldACL(zk.PermAll)
	if url.User != "" {
		s.acl = zk.DigestACL(zk.PermAll, url.User, url.password)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	s.current = s.begin()
	s.mu.Unlock()
	s.ended.Go(s.hold)
	return s
}

// URL is what the session was made with.
func (s *Session) URL() URL { return s.url }

// Timeout is the session timeout that the servers gave; before they have, the one that was asked for.
func (s *Session) Timeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.dialer.timeout()
}

// Connected says whether there is a connection now.
func (s *Session) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.online && s.current.known
}

// Lost is closed when the present session is known to be lost, and its ephemeral nodes with it; a new one is begun then.
// While there is no connection nobody can know it: who must not outlive the session looks at the clock as well.
func (s *Session) Lost() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.ctx.Done()
}

// Close gives up the session and waits until nothing of it runs: a moment if there is a connection, some seconds at most.
// Calls that wait fail with ErrClosed. May be called more than once.
func (s *Session) Close() {
	s.cancel()
	s.ended.Wait()
}

// hold replaces lost sessions until Close.
func (s *Session) hold() {
	for {
		i := s.current // only this goroutine replaces it
		select {
		case <-i.ctx.Done():
			s.mu.Lock()
			s.current = s.begin()
			s.announce()
			s.mu.Unlock()
			s.ended.Go(i.end)
		case <-s.ctx.Done():
			i.end()
			return
		}
	}
}

// begin makes one session. The library's client would go on with a new one by itself when it was lost, under those who
// believe that they still have the old one: each client is used for one session only. s.mu is held: the client calls
// notice before it is known here.
func (s *Session) begin() *incarnation {
	i := &incarnation{known: s.url.User == "", made: make(chan struct{})}
	i.ctx, i.lose = context.WithCancel(context.Background())
	i.dialer = &dialer{session: i.ctx, wanted: s.timeout}
	servers := &hosts{stopped: func() bool { return i.ctx.Err() != nil }, failed: func() { i.dialer.complain(s.log) }}
	var err error
	i.conn, i.events, err = zk.Connect(s.url.Hosts, s.timeout,
		zk.WithHostProvider(servers),
		zk.WithDialer(i.dialer.dial),
		zk.WithMaxBufferSize(maxFrame),
		zk.WithLogger(library{s.log}),
		zk.WithEventCallback(func(e zk.Event) { s.notice(i, e) }))
	if err != nil {
		// It only refuses an empty list of hosts, which ParseURL does not give.
		panic(fmt.Sprintf("connect to ZooKeeper without hosts: %v", err))
	}
	close(i.made)
	if !i.known {
		s.ended.Go(func() { s.authenticate(i) })
	}
	return i
}

// authenticate hands over the credentials once. The library repeats what was accepted on each new connection, but
// forgets what was lost with an earlier one.
func (s *Session) authenticate(i *incarnation) {
	for i.ctx.Err() == nil && s.ctx.Err() == nil {
		err := i.conn.AddAuth("digest", []byte(s.url.User+":"+s.url.password))
		if err == nil {
			s.mu.Lock()
			i.known = true
			s.announce()
			s.mu.Unlock()
			return
		}
		s.log.Debug("handing over credentials failed", "error", err)
		pause(i.ctx, redialPause)
	}
}

// notice is called by the library's goroutine, which must not wait.
func (s *Session) notice(i *incarnation, e zk.Event) {
	if e.Type != zk.EventSession {
		return
	}
	<-i.made // the client may speak before zk.Connect has returned it
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.State {
	case zk.StateHasSession:
		i.online = true
		s.log.Info("ZooKeeper session established", "server", e.Server, "session", fmt.Sprintf("%#x", i.conn.SessionID()),
			"timeout", i.dialer.timeout())
	case zk.StateDisconnected:
		if i.online && s.ctx.Err() == nil {
			s.log.Warn("connection to ZooKeeper lost", "server", e.Server)
		}
		i.online = false
	case zk.StateExpired:
		i.lose()
		s.log.Warn("ZooKeeper session lost: beginning a new one")
	default:
		return
	}
	s.announce()
}

// announce wakes those who wait for a connection. s.mu is held.
func (s *Session) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// end gives the session up, with a word to the server if there is a connection, and waits until nothing of it runs.
func (i *incarnation) end() {
	if i.conn.State() != zk.StateHasSession {
		i.lose() // nobody to tell: stop dialling
	}
	i.conn.Close()
	i.lose()
	for range i.events { // closed in the end
	}
}

// pause waits that long, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// library passes on what the library logs.
type library struct{ log *slog.Logger }

func (l library) Printf(format string, args ...any) {
	l.log.Debug("ZooKeeper client: " + fmt.Sprintf(format, args...))
}
