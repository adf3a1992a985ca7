package stalled

import (
	"net"
	"time"
)

// Watch gives a connection whose reads and writes fail with os.ErrDeadlineExceeded when nothing moves for that long.
// It sets deadlines; the caller must not.
func Watch(c net.Conn, after time.Duration) net.Conn { return &conn{Conn: c, after: after} }

type conn struct {
	net.Conn
	after time.Duration
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.after)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write renews the read deadline too: whoever waits for an answer always has a read pending, and the answer can only
// come after the request has been sent.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.after)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
