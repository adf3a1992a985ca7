package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// counter stands between agents and the scheduler and counts what they ask for. A slow one is a slow network: what is
// not taken stays with the scheduler.
type counter struct {
	server *http.Server
	url    string
	rate   int64 // bytes a second of one connection; 0: unbounded

	mu          sync.Mutex
	gets, heads int
	under, most int // downloads under way, the most of them
	first, last time.Time
	failed      []error
}

// newCounter listens on a free port, and passes on to the scheduler at that URL.
func newCounter(scheduler string, rate int64) (*counter, error) {
	target, err := url.Parse(scheduler)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("count downloads: %w", err)
	}
	c := &counter{url: "http://" + l.Addr().String(), rate: rate}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			c.fail(fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err))
			w.WriteHeader(http.StatusBadGateway)
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode != http.StatusOK {
				c.fail(fmt.Errorf("%s %s: %s", r.Request.Method, r.Request.URL.Path, r.Status))
			}
			if rate > 0 {
				r.Body = &slow{ReadCloser: r.Body, ctx: r.Request.Context(), rate: rate}
			}
			return nil
		},
	}
	c.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.begin(r.Method)
		defer c.end(r.Method)
		proxy.ServeHTTP(w, r)
	})}
	go func() {
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.fail(err)
		}
	}()
	return c, nil
}

func (c *counter) close() error { return c.server.Close() }

func (c *counter) begin(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if method != http.MethodGet {
		c.heads++
		return
	}
	if c.gets++; c.gets == 1 {
		c.first = time.Now()
	}
	c.under++
	c.most = max(c.most, c.under)
}

func (c *counter) end(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if method == http.MethodGet {
		c.under--
		c.last = time.Now()
	}
}

func (c *counter) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, err)
}

// counted is what was asked for so far; an error if the scheduler did not give it.
func (c *counter) counted() (gets, heads, most int, transfer time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets, c.heads, c.most, c.last.Sub(c.first), errors.Join(c.failed...)
}

// slow takes a body at a rate.
type slow struct {
	io.ReadCloser
	ctx  context.Context
	rate int64
}

func (s *slow) Read(p []byte) (int, error) {
	p = p[:min(len(p), int(max(s.rate/20, 1)))]
	n, err := s.ReadCloser.Read(p)
	if err != nil {
		return n, err
	}
	select {
	case <-time.After(time.Duration(n) * time.Second / time.Duration(s.rate)):
		return n, nil
	case <-s.ctx.Done():
		return n, s.ctx.Err()
	}
}
