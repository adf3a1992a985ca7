package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// ErrUnreachable: no answer came, or none that is tidemill's. Check the address, and whether the service runs.
var ErrUnreachable = errors.New("cannot reach the server")

// Config says where the server is.
type Config struct {
	Server string       // http://host:port
	Token  string       // bearer token; empty: none is sent
	CAFile string       // authorities that sign the server's certificate, PEM; empty: those of the system
	HTTP   *http.Client // nil: one of the client's own, with CAFile
}

// Client calls one server. Make one with [New]. Its methods block until the answer is there or ctx ends, and may be
// called by many goroutines.
type Client struct {
	base    *url.URL
	token   string
	http    *http.Client
	uploads *http.Client
}

const (
	attempts     = 4 // of a call that may be repeated, while the server does not say when
	firstBackoff = 200 * time.Millisecond
	patience     = 45 * time.Second // with a server that says when to ask again: a leader that is lost has a successor by then
	answerWait   = 40 * time.Second // for the head of an answer; a submission may wait for its checks
	uploadWait   = 15 * time.Minute // the same of an upload, which is stored before it is answered
	maxAnswer    = 64 << 20
	maxProblem   = 1 << 20
)

// New makes a client. It does not connect. An error is one of cfg.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.Server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.User != nil {
		return nil, fmt.Errorf("read server address %q: want http://host:port", cfg.Server)
	}
	base.Path = strings.TrimRight(base.Path, "/")
	c := &Client{base: base, token: cfg.Token, http: cfg.HTTP, uploads: cfg.HTTP}
	if cfg.HTTP == nil {
		authorities, err := readAuthorities(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		c.http, c.uploads = waiting(answerWait, authorities), waiting(uploadWait, authorities)
	}
	return c, nil
}

// readAuthorities gives nil, which is the system's, for no file.
func readAuthorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read authorities %q: there is no certificate in it", path)
	}
	return pool, nil
}

// waiting is a client that waits so long for the head of an answer.
func waiting(answer time.Duration, authorities *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answer
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}
}

// Close drops idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.uploads.CloseIdleConnections()
}

// call is one request. A body is kept whole, so that it can be sent again.
type call struct {
	method string
	path   []string // segments, not yet escaped
	query  url.Values
	header map[string]string
	body   []byte // JSON; nil: none
	file   *file  // instead of body; nil: none
	repeat bool   // may be sent again when no answer came
}

func get(path ...string) call { return call{method: http.MethodGet, path: path, repeat: true} }

// do sends the call and decodes a good answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, call call, out any) (status int, err error) {
	response, err := c.send(ctx, call)
	if err != nil {
		return 0, err
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return 0, fmt.Errorf("read answer to %s %s: %w", call.method, response.Request.URL.Path, err)
	}
	if out == nil {
		return response.StatusCode, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return 0, fmt.Errorf("%w: what answers at %s is not tidemill: %w", ErrUnreachable, c.base, err)
	}
	return response.StatusCode, nil
}

// send gives the first good answer, whose body the caller closes, or the error of the last attempt.
func (c *Client) send(ctx context.Context, call call) (*http.Response, error) {
	begin := time.Now()
	for attempt := 1; ; {
		response, wait, err := c.once(ctx, call)
		if err == nil || !call.repeat || wait < 0 || ctx.Err() != nil {
			return response, err
		}
		if wait == 0 {
			if attempt == attempts {
				return nil, err
			}
			wait = firstBackoff << (attempt - 1)
			wait += rand.N(wait / 2)
			attempt++
		}
		if time.Since(begin)+wait > patience {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// once sends the call one time. wait says how long to wait before another attempt: 0 for the caller's choice, negative
// when another one would not help.
func (c *Client) once(ctx context.Context, call call) (_ *http.Response, wait time.Duration, err error) {
	request, err := c.request(ctx, call)
	if err != nil {
		return nil, -1, err
	}
	by := c.http
	if call.file != nil {
		by = c.uploads
	}
	response, err := by.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, -1, ctx.Err()
		}
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the URL, which is named below
		}
		return nil, 0, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	if response.StatusCode < 300 {
		return response, 0, nil
	}
	err = c.refusal(response)
	switch response.StatusCode {
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // 0 if it says nothing
		return nil, time.Duration(max(seconds, 0)) * time.Second, err
	}
	return nil, -1, err
}

func (c *Client) request(ctx context.Context, call call) (*http.Request, error) {
	var body io.Reader
	switch {
	case call.body != nil:
		body = bytes.NewReader(call.body)
	case call.file != nil:
		body = call.file.reader()
	}
	target := *c.base
	raw := target.EscapedPath()
	for _, segment := range call.path {
		target.Path += "/" + segment
		raw += "/" + url.PathEscape(segment)
	}
	target.RawPath = raw
	target.RawQuery = call.query.Encode()
	request, err := http.NewRequestWithContext(ctx, call.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make request %s %s: %w", call.method, target.Path, err)
	}
	if call.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if call.file != nil {
		request.ContentLength = call.file.size
	}
	for name, value := range call.header {
		request.Header.Set(name, value)
	}
	c.authorize(request)
	return request, nil
}

func (c *Client) authorize(request *http.Request) {
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
}

// refusal reads an answer that is not a good one, and closes it.
func (c *Client) refusal(response *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("read answer %s: %w", response.Status, err)
	}
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	problem := &wire.Error{}
	if err != nil || mediaType != "application/problem+json" || json.Unmarshal(data, problem) != nil {
		if bytes.Contains(data, []byte("HTTP request to an HTTPS server")) { // as net/http says
			return fmt.Errorf("%w at %s: it speaks TLS, so its address begins with https://", ErrUnreachable, c.base)
		}
		return &wire.Error{Type: "about:blank", Title: http.StatusText(response.StatusCode), Status: response.StatusCode,
			Detail: fmt.Sprintf("the server answered %s", response.Status)}
	}
	return problem
}
