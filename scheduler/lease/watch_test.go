package lease_test

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	devserver "github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler/lease"
)

const setWatches = 101 // the request with which a client that has connected again sets its watches again

// trap passes a client's connections on. While it is set, it holds back the request that sets watches again until some
// other request was answered, and then cuts the connection: what changed while there was none is never told.
type trap struct {
	listener net.Listener
	server   string
	running  sync.WaitGroup

	mu     sync.Mutex
	links  map[net.Conn]bool
	closed bool // to new connections, too
	set    atomic.Bool
	sprung chan struct{}
}

func newTrap(t *testing.T, server string) *trap {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &trap{listener: listener, server: server, links: map[net.Conn]bool{}, sprung: make(chan struct{})}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		p.cut(true)
		p.running.Wait()
	})
	return p
}

// cut closes all connections, and lets in new ones only if it is not closed.
func (p *trap) cut(closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = closed
	for c := range p.links {
		_ = c.Close() // nobody is left to be told
	}
	clear(p.links)
}

func (p *trap) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close() // nobody is left to be told
	}
	p.links[c] = true
}

func (p *trap) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close() // as if nobody listened
			continue
		}
		p.keep(client)
		p.keep(server)
		answered := make(chan struct{})
		p.running.Go(func() { p.carry(server, client, nil, answered) })
		p.running.Go(func() { p.carry(client, server, answered, nil) })
	}
}

// carry copies frames in one direction until an end closes, which then closes both. Requests await that something was
// answered, before watches are set; answers tell it.
func (p *trap) carry(to, from net.Conn, answered, await chan struct{}) {
	defer func() {
		_, _ = from.Close(), to.Close() // nobody is left to be told
	}()
	var once sync.Once
	for first := true; ; first = false {
		frame := make([]byte, 4)
		if _, err := io.ReadFull(from, frame); err != nil {
			return
		}
		frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
		if _, err := io.ReadFull(from, frame[4:]); err != nil {
			return
		}
		if await != nil && !first && p.set.Load() && binary.BigEndian.Uint32(frame[8:]) == setWatches {
			select {
			case <-await:
				p.set.Store(false)
				close(p.sprung)
			case <-time.After(tick): // nothing else was asked on this connection: try the next
			}
			return
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
		if answered != nil && !first && int32(binary.BigEndian.Uint32(frame[4:])) > 0 && binary.BigEndian.Uint64(frame[8:]) > 0 {
			once.Do(func() { close(answered) })
		}
	}
}

// The library forgets what a watch should have told when a connection breaks while it sets watches again. Whoever waits
// for the lease gets it all the same.
func TestLostWatch(t *testing.T) {
	t.Parallel()
	// The session outlasts some connections, on a slow machine, too.
	g := newGroup(t, zookeepertest.Start(t, devserver.Config{Volatile: true, TickTime: 5 * tick}))
	g.timeout = 50 * tick
	a := g.join("a")
	p := newTrap(t, g.server.Address())
	b := &member{session: connect(t, "zk://user:secret@"+p.listener.Addr().String()+g.path, g.timeout)}
	var err error
	if b.ZooKeeper, err = lease.NewZooKeeper(b.session, lease.Instance{URL: "http://b"}, slog.Default()); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		b.session.Close()
		asking.Wait()
	})
	term := a.acquire(t)
	led := b.acquireLater(t)
	awaitInstances(t, a, "http://a", "http://b")
	awaitInstances(t, b, "http://a", "http://b")
	for range 16 { // what the store asks meanwhile
		asking.Go(func() {
			for b.session.Sync(t.Context()) == nil {
				time.Sleep(time.Millisecond) // not to be right: to leave the processor to others
			}
		})
	}
	p.set.Store(true)
	p.cut(true)
	if err := term.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.cut(false)
	await(t, "a connection is cut while watches are set", p.sprung)
	await(t, "b leads", led)
	awaitInstances(t, b, "http://b")
}
