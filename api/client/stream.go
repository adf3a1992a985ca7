package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// Watch follows a run: it calls changed with the run as it is and after each change, until the run has ended, and
// returns it as it ended. A connection that breaks is made again. An error of changed ends it.
func (c *Client) Watch(ctx context.Context, id string, changed func(wire.Run) error) (wire.Run, error) {
	for broken := 0; ; {
		var last wire.Run
		err := c.events(ctx, id, func(run wire.Run) error {
			last, broken = run, 0
			return changed(run)
		})
		var interrupted *interruptedError
		switch {
		case err == nil && wire.Ended(last.State):
			return last, nil
		case err != nil && !errors.As(err, &interrupted):
			return last, err
		}
		if broken++; broken > attempts {
			return last, fmt.Errorf("%w at %s: the event stream breaks off again and again", ErrUnreachable, c.base)
		}
		select {
		case <-time.After(firstBackoff << (broken - 1)):
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

// interruptedError: the stream ended although the run has not.
type interruptedError struct{ err error }

func (e *interruptedError) Error() string { return "event stream broke off: " + e.err.Error() }
func (e *interruptedError) Unwrap() error { return e.err }

// silence is how long a stream may be silent: some heartbeats, which come each 15 s.
const silence = time.Minute

// events reads one stream until the run has ended.
func (c *Client) events(ctx context.Context, id string, changed func(wire.Run) error) error {
	streaming, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	call := get("v1", "runs", id, "events")
	call.header = map[string]string{"Accept": "text/event-stream"}
	response, err := c.send(streaming, call)
	if err != nil {
		return err
	}
	watchdog := time.AfterFunc(silence, func() { cancel(errors.New("nothing came for a minute")) })
	defer watchdog.Stop()
	err = readEvents(response.Body, func() { watchdog.Reset(silence) }, func(event string, data []byte) (bool, error) {
		if event == "done" {
			return true, nil
		}
		if event != "run" {
			return false, nil
		}
		var run wire.Run
		if err := json.Unmarshal(data, &run); err != nil {
			return false, fmt.Errorf("read event: %w", err)
		}
		return false, changed(run)
	})
	closed := response.Body.Close()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case closed != nil:
		return &interruptedError{closed}
	}
	return nil
}

// readEvents reads server-sent events until handle says that it has seen the last one. alive is called for every line.
func readEvents(body io.Reader, alive func(), handle func(event string, data []byte) (last bool, err error)) error {
	lines := bufio.NewReader(body)
	event, data := "", []string(nil)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return &interruptedError{err}
		}
		alive()
		line = strings.TrimRight(line, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if len(data) > 0 {
				if last, err := handle(event, []byte(strings.Join(data, "\n"))); last || err != nil {
					return err
				}
			}
			event, data = "", nil
		case name == "event":
			event = value
		case name == "data":
			data = append(data, value)
		}
	}
}

// LogOptions say which log is wanted.
type LogOptions struct {
	Stream  string // "stdout" or "stderr"; empty: stdout
	Attempt uint32 // 0: the newest
	Follow  bool   // until the attempt has ended
}

// Logs copies a task's log to w. task is its ID, or the ID of an attempt in Mesos.
func (c *Client) Logs(ctx context.Context, task string, options LogOptions, w io.Writer) error {
	call := get("v1", "tasks", task, "logs")
	call.query = url.Values{}
	if options.Stream != "" {
		call.query.Set("stream", options.Stream)
	}
	if options.Attempt != 0 {
		call.query.Set("attempt", strconv.FormatUint(uint64(options.Attempt), 10))
	}
	if options.Follow {
		call.query.Set("follow", "true")
	}
	response, err := c.send(ctx, call)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("read log of %s: %w", task, err)
	}
	return nil
}
