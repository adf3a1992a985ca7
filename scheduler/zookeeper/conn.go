package zookeeper

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	redialPause = 100 * time.Millisecond // between two attempts to connect, so that a refusing server meets no storm
	// complainAgain is the time between two log lines about servers that cannot be reached.
	complainAgain = 30 * time.Second
	// maxFrame is more than the largest answer that a server with the usual jute.maxbuffer of 1 MiB gives.
	maxFrame      = 4 << 20
	minGreeting   = 36 // bytes: protocol, timeout, session ID and password
	maxGreeting   = 1 << 10
	minFrame      = 16 // bytes of a header
	minHandshake  = 500 * time.Millisecond
	lengthOfFrame = 4 // bytes before each frame
)

// hosts goes round the servers of the ensemble. Unlike the library's own, it leaves resolving names to each attempt,
// so that servers may move, and lets a connection that broke be replaced at once.
type hosts struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int // since the last success or pause
	stopped func() bool
	failed  func() // called after each fruitless round
}

func (h *hosts) Init(servers []string) error {
	h.servers = append([]string(nil), servers...)
	rand.Shuffle(len(h.servers), func(i, k int) { h.servers[i], h.servers[k] = h.servers[k], h.servers[i] })
	return nil
}

func (h *hosts) Len() int { return len(h.servers) }

// Next asks the library to pause and to fail what waits after each fruitless round, and whenever it should stop: it only
// looks at its own flag for that in such a pause.
func (h *hosts) Next() (server string, rest bool) {
	h.mu.Lock()
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	if h.tried == len(h.servers) {
		h.tried, rest = 0, true
	}
	h.tried++
	h.mu.Unlock()
	stopped := h.stopped()
	if rest && !stopped {
		h.failed()
	}
	return server, rest || stopped
}

func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}

// dialer connects for one session, and no longer once that is lost: the library would begin a new one by itself, under
// those who believe that they still have the old one.
type dialer struct {
	session context.Context // ends with the session
	wanted  time.Duration   // session timeout that was asked for
	granted atomic.Int64    // session timeout that the server gave, in nanoseconds; 0 before

	// Used by the library's one goroutine.
	last    time.Time // attempt
	problem error     // why the last attempt failed; nil if it did not say
	told    time.Time // when that was logged last
}

// complain logs why no server takes us, now and then: who waits for a connection waits in silence.
func (d *dialer) complain(log *slog.Logger) {
	if now := time.Now(); d.told.IsZero() || now.Sub(d.told) >= complainAgain {
		d.told = now
		log.Warn("no ZooKeeper server can be reached", "error", d.problem)
	}
}

// timeout is the session timeout as far as it is known.
func (d *dialer) timeout() time.Duration {
	if granted := d.granted.Load(); granted > 0 {
		return time.Duration(granted)
	}
	return d.wanted
}

func (d *dialer) dial(network, address string, limit time.Duration) (net.Conn, error) {
	if wait := time.Until(d.last.Add(redialPause)); wait > 0 {
		pause(d.session, wait)
	}
	d.last = time.Now()
	inner, err := (&net.Dialer{Timeout: limit}).DialContext(d.session, network, address)
	d.problem = err
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, in: bufio.NewReaderSize(inner, 64<<10), dialer: d}
	c.release = context.AfterFunc(d.session, func() { c.abort() })
	return c, nil
}

// conn guards the library against peers that stay silent or are no ZooKeeper. It reads in whole frames' lengths: the
// library allocates whatever a length says, and slices without looking.
type conn struct {
	net.Conn
	in      *bufio.Reader // many small answers come with one system call
	dialer  *dialer
	release func() bool
	greeted bool
	pending []byte // the greeting, read ahead
	left    int    // bytes of the present frame that were not read yet
	length  [lengthOfFrame]byte
	have    int // bytes of length that were handed on
}

func (c *conn) abort() {
	// Nobody is left to be told: the session is over.
	_ = c.Conn.Close()
}

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// SetReadDeadline shortens the library's ten receive timeouts for the greeting: a server that was stopped would cost the
// session, though others could keep it.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.greeted && !t.IsZero() {
		if soon := time.Now().Add(max(minHandshake, c.dialer.timeout()/6)); soon.Before(t) {
			t = soon
		}
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) Read(p []byte) (int, error) {
	if !c.greeted {
		if err := c.greet(); err != nil {
			c.dialer.problem = fmt.Errorf("connect to %s: %w", c.RemoteAddr(), err)
			return 0, err
		}
		c.greeted = true
	}
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	if c.left > 0 {
		n, err := c.in.Read(p[:min(len(p), c.left)])
		c.left -= n
		return n, err
	}
	n, err := c.in.Read(p[:min(len(p), lengthOfFrame-c.have)])
	copy(c.length[c.have:], p[:n])
	if c.have += n; c.have == lengthOfFrame {
		c.have, c.left = 0, int(binary.BigEndian.Uint32(c.length[:]))
		if c.left < minFrame || c.left > maxFrame {
			return 0, fmt.Errorf("read from %s: an answer of %d bytes: this is no ZooKeeper", c.RemoteAddr(), c.left)
		}
	}
	return n, err
}

// greet reads the server's answer to the connect request as a whole, and the session timeout out of it, which the
// library keeps to itself.
func (c *conn) greet() error {
	head := make([]byte, lengthOfFrame)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head)
	if size < minGreeting || size > maxGreeting {
		return fmt.Errorf("read greeting of %s: %d bytes: this is no ZooKeeper", c.RemoteAddr(), size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return err
	}
	timeout := time.Duration(int32(binary.BigEndian.Uint32(body[4:]))) * time.Millisecond
	if session := binary.BigEndian.Uint64(body[8:]); session != 0 {
		if timeout < 10*time.Millisecond { // the library would tick with a third of it
			return fmt.Errorf("read greeting of %s: a session timeout of %s", c.RemoteAddr(), timeout)
		}
		c.dialer.granted.Store(int64(timeout))
	}
	c.pending = append(head, body...)
	return nil
}
