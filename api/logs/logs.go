package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/storage"
)

// Sandbox reads files on agents; mesos.Sandbox implements it.
type Sandbox interface {
	// ReadAt returns at most length bytes from offset on, none at the end of the file. It blocks until the agent has
	// answered. mesos.ErrNoFile when the agent has no such file.
	ReadAt(ctx context.Context, agentURL, path string, offset, length int64) ([]byte, error)
}

// Connections opens the work areas of runs; connections.Set implements it.
type Connections interface {
	Open(ctx context.Context, name string, uri storage.URI) (storage.Store, error)
}

// Reader finds logs. All fields but Poll are needed.
type Reader struct {
	Sandbox     Sandbox
	Connections Connections
	Kinds       jobs.Kinds
	Poll        time.Duration // how often a followed log is looked at; 0: three times a second
}

const (
	chunk       = 256 << 10 // bytes read from an agent at a time
	maxUploaded = 8 << 20   // bytes of an uploaded log; executors upload the last 4 MiB
	readTimeout = 15 * time.Second
)

// Copy writes one stream of an attempt to w; see api.Logs.
func (r *Reader) Copy(ctx context.Context, w io.Writer, attempt func() Attempt, stream string, follow bool) error {
	told := false
	if follow {
		var err error
		if told, err = r.begun(ctx, w, attempt); err != nil {
			return err
		}
	}
	err := r.copy(ctx, w, attempt, stream, follow)
	var refused *scheduler.Error
	if !told || !errors.As(err, &refused) {
		return err
	}
	if refused.Kind == scheduler.NotFound {
		return nil // a log was promised, and nothing was ever written
	}
	return errors.New(refused.Message) // too late to be refused
}

// begun waits until the attempt has a log or has ended without one. It tells a client that has to wait for it that
// the log will come.
func (r *Reader) begun(ctx context.Context, w io.Writer, attempt func() Attempt) (told bool, err error) {
	for a := attempt(); a.Directory == "" && !ended(a); a = attempt() {
		if !told {
			told = true
			if _, err := w.Write(nil); err != nil {
				return told, err
			}
		}
		if err := r.pause(ctx); err != nil {
			return told, err
		}
	}
	return told, nil
}

// copy reads the sandbox, or else the copy in the work area.
func (r *Reader) copy(ctx context.Context, w io.Writer, attempt func() Attempt, stream string, follow bool) error {
	a := attempt()
	if a.Directory == "" || a.AgentURL == "" {
		return r.copyUploaded(ctx, w, a, stream, nil)
	}
	written, err := r.copySandbox(ctx, w, attempt, stream, follow)
	if err == nil || written || ctx.Err() != nil {
		return err
	}
	return r.copyUploaded(ctx, w, attempt(), stream, err)
}

// ended says whether nothing more comes.
func ended(a Attempt) bool { return jobs.TaskTerminal(a.State) || a.GivenUp || a.Ended != nil }

// copySandbox reads the file on the agent, and what is added to it when it is followed. written says whether w has
// been written to.
func (r *Reader) copySandbox(ctx context.Context, w io.Writer, attempt func() Attempt, stream string, follow bool) (written bool, err error) {
	a := attempt()
	file := path.Join(a.Directory, stream)
	for offset := int64(0); ; {
		last := !follow || ended(attempt()) // asked before reading: what was written until the end is read, then
		data, err := r.Sandbox.ReadAt(ctx, a.AgentURL, file, offset, chunk)
		if err != nil {
			return written, err
		}
		if len(data) > 0 || !written {
			written = true
			if _, err := w.Write(data); err != nil {
				return true, fmt.Errorf("send log of %s: %w", a.MesosID, err)
			}
		}
		offset += int64(len(data))
		switch {
		case len(data) > 0:
		case last:
			return true, nil
		default:
			if err := r.pause(ctx); err != nil {
				return true, err
			}
		}
	}
}

// copyUploaded reads the copy in the work area. missing is why the sandbox could not be read, nil if there is none.
func (r *Reader) copyUploaded(ctx context.Context, w io.Writer, a Attempt, stream string, missing error) error {
	if a.LogURI == "" {
		return noLog(a, missing)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	data, err := r.read(ctx, a, stream)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return &scheduler.Error{Kind: scheduler.NotFound, Message: fmt.Sprintf("the log of %s has been removed", a.MesosID)}
	case err != nil:
		return &scheduler.Error{Kind: scheduler.Unavailable, Message: fmt.Sprintf("the log of %s cannot be read from the work area: %v", a.MesosID, err)}
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("send log of %s: %w", a.MesosID, err)
	}
	return nil
}

func noLog(a Attempt, missing error) error {
	switch {
	case missing == nil && !ended(a):
		return &scheduler.Error{Kind: scheduler.NotFound, Message: fmt.Sprintf("%s has no log yet: it has not begun to run", a.MesosID)}
	case missing == nil:
		return &scheduler.Error{Kind: scheduler.NotFound, Message: fmt.Sprintf("%s has no log: it never ran", a.MesosID)}
	case errors.Is(missing, mesos.ErrNoFile):
		return &scheduler.Error{Kind: scheduler.NotFound, Message: fmt.Sprintf("the log of %s is no longer on agent %s, and no copy was uploaded", a.MesosID, a.Host)}
	}
	return &scheduler.Error{Kind: scheduler.Unavailable, Message: fmt.Sprintf("the log of %s cannot be read: %v", a.MesosID, missing)}
}

func (r *Reader) read(ctx context.Context, a Attempt, stream string) ([]byte, error) {
	uri, err := storage.ParseURI(a.LogURI)
	if err != nil {
		return nil, err
	}
	spec, problems := jobs.Decode(a.Spec, r.Kinds)
	if len(problems) > 0 {
		return nil, fmt.Errorf("read the run's spec: %s: %s", problems[0].Pointer, problems[0].Detail)
	}
	_, connection := spec.Section.Work()
	uri = uri.Join(stream)
	store, err := r.Connections.Open(ctx, connection, uri)
	if err != nil {
		return nil, err
	}
	data, _, err := storage.ReadAll(ctx, store, uri.Key, maxUploaded)
	return data, err
}

func (r *Reader) pause(ctx context.Context) error {
	poll := r.Poll
	if poll <= 0 {
		poll = time.Second / 3
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
