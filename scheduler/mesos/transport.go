package mesos

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	protobuf     = "application/x-protobuf"
	streamHeader = "Mesos-Stream-Id"

	dialTimeout    = 10 * time.Second
	maxHeaderBytes = 64 << 10
	maxAnswerBytes = 4 << 10 // of an answer that is no stream; what is longer is cut off
)

// newTransport is what calls go through. No http.Client: it fails on the redirects of a standby before it asks what to
// do with them. HTTP/1.1 only: a subscription then has a connection of its own. Nothing is unpacked: a small answer
// stays one.
func newTransport(caFile string) (*http.Transport, error) {
	security, err := tlsConfig(caFile)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        security,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConnsPerHost:    callsInFlight + acksInFlight,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
	}, nil
}

// tlsConfig trusts the authorities of that PEM file, or the system's if there is none.
func tlsConfig(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("--mesos-ca-file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--mesos-ca-file: %s holds no certificate in PEM form", caFile)
	}
	return config, nil
}

// explain says what to do about an error of TLS.
func explain(err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("its certificate is not signed by an authority that is trusted here: name the file with the right one by --mesos-ca-file: %w", err)
	case errors.As(err, &host):
		return fmt.Errorf("its certificate is made out to another name: address it by a name in the certificate: %w", err)
	case errors.As(err, &record):
		return fmt.Errorf("it does not speak TLS: address it by http:// if it is not meant to: %w", err)
	}
	return err
}

// post sends one call. The caller closes the answer's body. It is errMayNotAct if the gate closes before the call has
// been written.
func (c *Connection) post(ctx context.Context, target *url.URL, streamID string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.ContentLength = int64(len(body))
	request.GetBody = func() (io.ReadCloser, error) {
		return &gated{body: bytes.NewReader(body), mayAct: c.cfg.MayAct}, nil
	}
	if request.Body, err = request.GetBody(); err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", protobuf)
	request.Header.Set("Accept", protobuf)
	request.Header.Set("User-Agent", "tidemill")
	if streamID != "" {
		request.Header.Set(streamHeader, streamID)
	}
	if !c.cfg.Secret.Empty() {
		request.SetBasicAuth(c.cfg.Principal, c.cfg.Secret.Reveal())
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, explain(err)
	}
	return response, nil
}

// gated is a call's body. It asks for leave when it is written, which is after a connection has been waited for.
type gated struct {
	body   *bytes.Reader
	mayAct func() bool
}

func (g *gated) Read(p []byte) (int, error) {
	if !g.mayAct() {
		return 0, errMayNotAct
	}
	return g.body.Read(p)
}

func (*gated) Close() error { return nil }

// answer reads a short answer to its end, so that the connection can be used again.
func answer(response *http.Response) (string, error) {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	err = errors.Join(err, response.Body.Close())
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(text), "�")), nil
}

// closeBody closes a stream that has ended or been given up.
func closeBody(body io.Closer) error {
	if err := body.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close stream: %w", err)
	}
	return nil
}
