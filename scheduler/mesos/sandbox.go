package mesos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// ErrNoFile: the agent does not know the file: it is not there yet, the sandbox has been collected, or the agent that
// answers is not the one that ran the task. Look for an uploaded copy.
var ErrNoFile = errors.New("the agent has no such file")

// maxPage bounds what one read asks for, in bytes.
const maxPage = 256 << 10

// SandboxConfig says how agents are talked to. The zero value is good for agents that want neither TLS nor credentials.
type SandboxConfig struct {
	CAFile    string         // authorities that sign the agents' certificates, as PEM, instead of the system's; may be empty
	Principal string         // for HTTP Basic authentication; empty: none
	Secret    storage.Secret // of that principal
}

// Sandbox reads files of tasks through the agents' HTTP API (/files/read). It is safe for concurrent use.
type Sandbox struct {
	client *http.Client
	cfg    SandboxConfig
}

// NewSandbox reads the configuration's file. No agent is asked.
func NewSandbox(cfg SandboxConfig) (*Sandbox, error) {
	security, err := tlsConfig(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return &Sandbox{cfg: cfg, client: &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSClientConfig:        security,
			TLSHandshakeTimeout:    3 * time.Second,
			MaxResponseHeaderBytes: maxHeaderBytes,
			DisableKeepAlives:      true, // readers come and go, and agents are many
			DisableCompression:     true,
		},
		// Agents do not redirect, and credentials are for the one that was asked.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ReadAt returns at most length bytes from offset on, none at the end of the file. It may return less than there is:
// the next read begins after what was returned. agentURL is http://host:port, path is absolute on the agent. It blocks
// until the agent has answered. Errors: ErrNoFile, or what kept the agent from answering.
func (s *Sandbox) ReadAt(ctx context.Context, agentURL, path string, offset, length int64) ([]byte, error) {
	if offset < 0 || length <= 0 {
		return nil, fmt.Errorf("read %s: offset %d and length %d make no sense", path, offset, length)
	}
	base, err := url.Parse(agentURL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("read %s: agent URL %q is not of the form http://host:port", path, agentURL)
	}
	target := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/files/read", RawQuery: url.Values{
		"path":   {path},
		"offset": {strconv.FormatInt(offset, 10)},
		"length": {strconv.FormatInt(min(length, maxPage), 10)},
	}.Encode()}
	status, body, err := s.get(ctx, target.String())
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s from agent: %w", path, err)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil, fmt.Errorf("read %s: agent %s answered %d: it wants other credentials", path, base.Host, status)
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("read %s: %w", path, ErrNoFile)
	case status != http.StatusOK:
		return nil, fmt.Errorf("read %s: agent %s answered %d", path, base.Host, status)
	}
	var page struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("read %s: decode the agent's answer: %w", path, err)
	}
	data, err := unquote(page.Data)
	if err != nil {
		return nil, fmt.Errorf("read %s: decode the agent's answer: %w", path, err)
	}
	return data, nil
}

func (s *Sandbox) get(ctx context.Context, target string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, err
	}
	if s.cfg.Principal != "" {
		request.SetBasicAuth(s.cfg.Principal, s.cfg.Secret.Reveal())
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, explain(err)
	}
	// Each byte may come as six characters of JSON.
	body, err = io.ReadAll(io.LimitReader(response.Body, 6*maxPage+1024))
	return response.StatusCode, body, errors.Join(err, response.Body.Close())
}
