package zookeepertest

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between clients and a server, and can do to their connections what networks do.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	links   map[*link]bool
	held    [2]bool       // by direction
	changed chan struct{} // closed and replaced with held
	closed  bool
	taken   int // connections since the beginning
}

// Direction is one way through a Proxy.
type Direction int

// The two ways.
const (
	Requests Direction = iota // from client to server
	Answers                   // from server to client
)

// link is one connection of a client, and ours to the server for it.
type link struct {
	client, server net.Conn
	cut            chan struct{}
	once           sync.Once
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.cut)
		// Nobody is left to be told.
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// NewProxy listens on a port of its own until the test ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{target: target, listener: listener, links: map[*link]bool{}, changed: make(chan struct{})}
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		if err := listener.Close(); err != nil {
			tb.Error(err)
		}
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Address is where clients connect.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Taken counts the connections that clients made since the beginning.
func (p *Proxy) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Hold lets nothing pass in these directions, on connections present and to come. It waits here and goes on with
// Release, unless Cut comes first.
func (p *Proxy) Hold(directions ...Direction) { p.set(true, directions) }

// Release lets pass again what was held.
func (p *Proxy) Release() { p.set(false, []Direction{Requests, Answers}) }

func (p *Proxy) set(held bool, directions []Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range directions {
		p.held[d] = held
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut closes all present connections. What is held is lost.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
	clear(p.links)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.DialTimeout("tcp", p.target, time.Second)
		if err != nil {
			_ = client.Close() // as if nobody listened
			continue
		}
		l := &link{client: client, server: server, cut: make(chan struct{})}
		p.mu.Lock()
		if p.closed {
			l.close()
		}
		p.links[l] = true
		p.taken++
		p.mu.Unlock()
		p.running.Go(func() { p.carry(l, Requests, server, client) })
		p.running.Go(func() { p.carry(l, Answers, client, server) })
	}
}

// carry copies in one direction until an end closes, which then closes both.
func (p *Proxy) carry(l *link, d Direction, to, from net.Conn) {
	defer l.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if err := p.wait(l, d); err != nil {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

var errCut = errors.New("cut")

func (p *Proxy) wait(l *link, d Direction) error {
	for {
		p.mu.Lock()
		held, changed := p.held[d], p.changed
		p.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-changed:
		case <-l.cut:
			return errCut
		}
	}
}
