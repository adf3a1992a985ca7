package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
)

const (
	path          = "/api/v1/executor"
	mediaType     = "application/x-protobuf"
	callTimeout   = 10 * time.Second // an agent that takes longer hangs
	maxErrorBytes = 1000
)

// StatusError is an agent's answer other than success. The agent lives; the call was refused.
type StatusError struct {
	Call   string
	Status int
	Text   string // what the agent said, shortened
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: agent answered %d %s: %s", e.Call, e.Status, http.StatusText(e.Status), e.Text)
}

// Client makes calls. It is for use by many goroutines.
type Client struct {
	url         string
	environment Environment
	http        *http.Client
}

// NewClient connects nowhere yet.
func NewClient(environment Environment) *Client {
	transport := &http.Transport{
		Proxy:                 nil, // the agent is on this machine
		DialContext:           (&net.Dialer{Timeout: callTimeout}).DialContext,
		ResponseHeaderTimeout: callTimeout,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
	}
	scheme, host := "http", environment.Endpoint
	if environment.TLS {
		scheme, transport.TLSClientConfig = "https", tlsConfig(environment)
		transport.TLSHandshakeTimeout = callTimeout
	}
	if socket := environment.DomainSocket; socket != "" {
		scheme, host = "http", "agent"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: callTimeout}).DialContext(ctx, "unix", socket)
		}
	}
	return &Client{url: scheme + "://" + host + path, environment: environment, http: &http.Client{Transport: transport}}
}

// Close drops idle connections. Calls and subscriptions end with their contexts.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Subscribe opens an event stream and tells the agent what it has not acknowledged: tasks without any acknowledged update, and
// updates, in order. It blocks until the agent has answered, at most ten seconds. The subscription lives until it is
// closed or ctx ends; the caller must close it. An agent that refuses gives a *StatusError.
func (c *Client) Subscribe(ctx context.Context, tasks []mesos.TaskInfo, updates []mesosexec.Call_Update) (*Subscription, error) {
	ctx, cancel := context.WithCancel(ctx)
	call := &mesosexec.Call{
		Type:      mesosexec.Call_SUBSCRIBE,
		Subscribe: &mesosexec.Call_Subscribe{UnacknowledgedTasks: tasks, UnacknowledgedUpdates: updates},
	}
	response, err := c.post(ctx, call)
	if err != nil {
		cancel()
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer cancel()
		return nil, refused(call, response)
	}
	return newSubscription(response.Body, cancel), nil
}

// Update sends a status update. The agent has it when nil is returned, but only an ACKNOWLEDGED event says that it will keep it.
func (c *Client) Update(ctx context.Context, status mesos.TaskStatus) error {
	return c.call(ctx, &mesosexec.Call{Type: mesosexec.Call_UPDATE, Update: &mesosexec.Call_Update{Status: status}})
}

// Message sends data, which is not nil, to the scheduler. It may get lost on the way, unnoticed.
func (c *Client) Message(ctx context.Context, data []byte) error {
	return c.call(ctx, &mesosexec.Call{Type: mesosexec.Call_MESSAGE, Message: &mesosexec.Call_Message{Data: data}})
}

// call waits for the agent's answer, at most ten seconds. Only a *StatusError says that there was one.
func (c *Client) call(ctx context.Context, call *mesosexec.Call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := c.post(ctx, call)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusAccepted && response.StatusCode != http.StatusOK {
		return refused(call, response)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxErrorBytes)) // so that the connection can be used again
	return errors.Join(err, response.Body.Close())
}

func (c *Client) post(ctx context.Context, call *mesosexec.Call) (*http.Response, error) {
	call.ExecutorID = mesos.ExecutorID{Value: c.environment.ExecutorID}
	call.FrameworkID = mesos.FrameworkID{Value: c.environment.FrameworkID}
	body, err := call.Marshal()
	if err != nil {
		return nil, fmt.Errorf("%s: encode call: %w", call.Type, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.Type, err)
	}
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("Accept", mediaType)
	if !c.environment.Token.Empty() {
		request.Header.Set("Authorization", "Bearer "+c.environment.Token.Reveal())
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.Type, explain(err))
	}
	return response, nil
}

// refused reads the agent's answer and closes it.
func refused(call *mesosexec.Call, response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBytes))
	return errors.Join(&StatusError{
		Call: call.Type.String(), Status: response.StatusCode,
		Text: strings.ToValidUTF8(strings.TrimSpace(string(text)), "?"),
	}, err, response.Body.Close())
}
