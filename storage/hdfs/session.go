package hdfs

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	client "github.com/colinmarc/hdfs/v2"

	"github.com/tidemill/tidemill/storage/stalled"
)

const (
	dialTimeout = 5 * time.Second
	// idleTimeout is short: an open session tells the name node every second that it is there.
	idleTimeout = 10 * time.Second
	// longestLife is shorter than that of the keys with which data nodes are spoken to.
	longestLife = 5 * time.Minute
	mostIdle    = 16
	// writeGrace is how long a cancelled write may take to close its file.
	writeGrace = 2 * time.Second
)

// pool holds sessions that nobody uses at the moment.
type pool struct {
	client *Client
	place  place

	mu   sync.Mutex
	idle []*session // the one that was used last is the last
}

// session is one connection to the active name node and those to data nodes, for one goroutine at a time. The library
// below knows no contexts: a session is cut when the context ends for which it was taken.
type session struct {
	*client.Client
	born time.Time
	used time.Time // when it was given back

	stop   func() bool // of the context's watch
	broken bool        // the connection is not in a state to go on with

	mu      sync.Mutex
	conns   map[*sessionConn]struct{}
	cut     bool
	writing bool // abort leaves some time
}

var errCut = errors.New("the session is closed")

// take gives a session until give. A name node is connected to if there is none idle.
func (p *pool) take(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := p.reuse()
	if s == nil {
		var err error
		if s, err = p.connect(ctx); err != nil {
			return nil, err
		}
	}
	s.stop = context.AfterFunc(ctx, s.abort)
	return s, nil
}

func (p *pool) reuse() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	s := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return s
}

func (p *pool) connect(ctx context.Context) (*session, error) {
	ticket, err := p.client.ticket()
	if err != nil {
		return nil, err
	}
	s := &session{born: time.Now(), conns: map[*sessionConn]struct{}{}}
	options := p.place.options
	options.KerberosClient = ticket
	options.NamenodeDialFunc, options.DatanodeDialFunc = s.dial, s.dial
	stop := context.AfterFunc(ctx, s.abort)
	defer stop()
	if s.Client, err = client.NewClient(options); err != nil {
		s.disconnect() // what the handshake left open
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return s, nil
}

// give takes a session back, or closes it.
func (p *pool) give(s *session) {
	calm := s.stop() // otherwise it is being cut, now or in a moment
	s.mu.Lock()
	fit := calm && !s.broken && !s.cut && time.Since(s.born) < longestLife
	s.mu.Unlock()
	if !fit {
		s.close()
		return
	}
	s.used = time.Now()
	p.mu.Lock()
	full := len(p.idle) >= mostIdle
	if !full {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if full {
		s.close()
		return
	}
	time.AfterFunc(idleTimeout, p.reap)
}

// reap closes sessions that have been idle for long.
func (p *pool) reap() {
	p.mu.Lock()
	var old []*session
	for len(p.idle) > 0 && time.Since(p.idle[0].used) >= idleTimeout {
		old, p.idle = append(old, p.idle[0]), p.idle[1:]
	}
	p.mu.Unlock()
	for _, s := range old {
		s.close()
	}
}

// drop closes all idle sessions: those of a name node that is gone would fail one after the other.
func (p *pool) drop() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, s := range idle {
		s.close()
	}
}

// dial connects to a name node or a data node.
func (s *session) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	cut := s.cut
	s.mu.Unlock()
	if cut {
		return nil, errCut
	}
	raw, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &sessionConn{Conn: stalled.Watch(raw, longestSilence), session: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return nil, errors.Join(errCut, raw.Close())
	}
	s.conns[c] = struct{}{}
	return c, nil
}

// sessionConn leaves its session when it is closed.
type sessionConn struct {
	net.Conn
	session *session
}

func (c *sessionConn) Close() error {
	c.session.mu.Lock()
	delete(c.session.conns, c)
	c.session.mu.Unlock()
	return c.Conn.Close()
}

// abort closes all connections, so that whatever waits for them fails. A file that is being written is given some time:
// the library never ends the goroutines of one that it could not close.
func (s *session) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing && !s.cut {
		time.AfterFunc(writeGrace, s.disconnect)
		return
	}
	s.disconnectLocked()
}

func (s *session) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnectLocked()
}

func (s *session) disconnectLocked() {
	s.cut = true
	for c := range s.conns {
		_ = c.Conn.Close() // it is given up
	}
	clear(s.conns)
}

// setWriting says whether a file is being written.
func (s *session) setWriting(writing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = writing
}

// close ends the session for good.
func (s *session) close() {
	s.disconnect()
	_ = s.Client.Close() // its connection is closed already; this ends its goroutine
}
