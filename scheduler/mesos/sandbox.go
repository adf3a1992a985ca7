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

// pageSize is what one read asks for. Agents cut it to 16 pages of memory when nothing is asked for.
const pageSize = 256 << 10

// Sandbox reads files of tasks through the agents' HTTP API (/files/read). The zero value works; Principal and Secret
// are needed where agents ask for them. Safe for concurrent use.
type Sandbox struct {
	Principal string
	Secret    storage.Secret
	Client    *http.Client  // nil: one with short timeouts
	Poll      time.Duration // how often Follow looks for more; 0: twice a second
}

var sandboxClient = &http.Client{
	Timeout: 10 * time.Second,
	Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     10 * time.Second,
	},
}

// Size is a file's length in bytes. agentURL is http://host:port, path is absolute on the agent.
// Errors: ErrNoFile, or what kept the agent from answering.
func (s *Sandbox) Size(ctx context.Context, agentURL, path string) (int64, error) {
	page, err := s.page(ctx, agentURL, path, -1, 0)
	return page.offset, err
}

// ReadAt returns at most length bytes from offset on; none at the end of the file. It may return less than there is:
// the next read begins after what was returned. Errors as for Size.
func (s *Sandbox) ReadAt(ctx context.Context, agentURL, path string, offset, length int64) ([]byte, error) {
	if offset < 0 || length <= 0 {
		return nil, fmt.Errorf("read %s: offset %d and length %d make no sense", path, offset, length)
	}
	page, err := s.page(ctx, agentURL, path, offset, min(length, pageSize))
	return page.data, err
}

// Follow copies a file to w from offset on. When nothing is left it waits for more until ended is closed, then copies
// what came until then and returns nil. A nil ended means: only what is there now. It blocks; ctx ends it early.
// It returns how far it came: the offset after the last byte written.
func (s *Sandbox) Follow(ctx context.Context, agentURL, path string, offset int64, w io.Writer, ended <-chan struct{}) (int64, error) {
	poll := s.Poll
	if poll <= 0 {
		poll = 500 * time.Millisecond
	}
	last := ended == nil
	for {
		data, err := s.ReadAt(ctx, agentURL, path, offset, pageSize)
		if err != nil {
			return offset, err
		}
		n, err := w.Write(data)
		offset += int64(n)
		if err != nil {
			return offset, fmt.Errorf("copy %s: %w", path, err)
		}
		if len(data) > 0 {
			continue
		}
		if last {
			return offset, nil
		}
		select {
		case <-ended:
			last = true
		case <-time.After(poll):
		case <-ctx.Done():
			return offset, fmt.Errorf("follow %s: %w", path, ctx.Err())
		}
	}
}

type page struct {
	data   []byte
	offset int64
}

func (s *Sandbox) page(ctx context.Context, agentURL, path string, offset, length int64) (page, error) {
	base, err := url.Parse(agentURL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return page{}, fmt.Errorf("read %s: agent URL %q is not of the form http://host:port", path, agentURL)
	}
	target := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/files/read"}
	query := url.Values{"path": {path}, "offset": {strconv.FormatInt(offset, 10)}}
	if length > 0 {
		query.Set("length", strconv.FormatInt(length, 10))
	}
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return page{}, fmt.Errorf("read %s: %w", path, err)
	}
	if !s.Secret.Empty() {
		request.SetBasicAuth(s.Principal, s.Secret.Reveal())
	}
	client := s.Client
	if client == nil {
		client = sandboxClient
	}
	response, err := client.Do(request)
	if err != nil {
		return page{}, fmt.Errorf("read %s from agent: %w", path, err)
	}
	// Each byte may come as six characters of JSON.
	body, err := io.ReadAll(io.LimitReader(response.Body, 6*pageSize+1024))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return page{}, fmt.Errorf("read %s from agent: %w", path, err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return decodePage(path, body)
	case http.StatusNotFound:
		return page{}, fmt.Errorf("read %s: %w", path, ErrNoFile)
	}
	return page{}, fmt.Errorf("read %s: agent %s answered %s", path, base.Host, response.Status)
}

func decodePage(path string, body []byte) (page, error) {
	var answer struct {
		Data   json.RawMessage `json:"data"`
		Offset int64           `json:"offset"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return page{}, fmt.Errorf("read %s: decode the agent's answer: %w", path, err)
	}
	data, err := unquote(answer.Data)
	if err != nil {
		return page{}, fmt.Errorf("read %s: decode the agent's answer: %w", path, err)
	}
	return page{data: data, offset: answer.Offset}, nil
}
