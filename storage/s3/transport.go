package s3

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// idleConnections is enough for the parallel range reads of all tasks of an
	// executor; each further one would be opened and closed for one request.
	idleConnections = 64
	idleTimeout     = 30 * time.Second
)

// newTransport pools connections on which every read and write must move
// something within stalled. HTTP/1.1 only: a range read gets a connection of
// its own. http.ProxyFromEnvironment never applies to loopback.
func newTransport(stalled time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watchedConn{Conn: conn, stalled: stalled}, nil
		},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   idleConnections,
		IdleConnTimeout:       idleTimeout,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
		DisableCompression:    true, // objects come as they are stored
	}
}

// neverRedirect hands a redirect back as the answer: it would need a new
// signature.
func neverRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// watchedConn fails a read or write that does not move for too long.
type watchedConn struct {
	net.Conn
	stalled time.Duration
}

func (c *watchedConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stalled)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write renews the read deadline too: the transport always has a read pending,
// and the answer can only come after the request has been sent.
func (c *watchedConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stalled)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
