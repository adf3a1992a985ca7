package s3

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/tidemill/tidemill/storage/stalled"
)

const (
	dialTimeout = 5 * time.Second
	// idleConnections is enough for the parallel range reads of all tasks of an
	// executor; each further one would be opened and closed for one request.
	idleConnections = 64
	idleTimeout     = 30 * time.Second
)

// newTransport pools connections on which every read and write must move
// something within silence. HTTP/1.1 only: a range read gets a connection of
// its own. http.ProxyFromEnvironment never applies to loopback.
func newTransport(silence time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return stalled.Watch(conn, silence), nil
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
