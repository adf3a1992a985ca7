package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/api/wire"
)

// Submit sends a new job's spec (POST). created is false if the job was there with the same spec.
func (c *Client) Submit(ctx context.Context, spec []byte) (job wire.Job, created bool, err error) {
	status, err := c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "jobs"}, body: spec, repeat: true}, &job)
	return job, status == http.StatusCreated, err
}

// Update sends a job's spec, be it new or another revision (PUT). created says whether the job is new.
func (c *Client) Update(ctx context.Context, name string, spec []byte) (job wire.Job, created bool, err error) {
	status, err := c.do(ctx, call{method: http.MethodPut, path: []string{"v1", "jobs", name}, body: spec, repeat: true}, &job)
	return job, status == http.StatusCreated, err
}

// Validate has a spec checked and stores nothing.
func (c *Client) Validate(ctx context.Context, spec []byte) (job wire.Job, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "jobs"}, query: url.Values{"dry_run": {"true"}}, body: spec, repeat: true}, &job)
	return job, err
}

// Job reads a job.
func (c *Client) Job(ctx context.Context, name string) (job wire.Job, err error) {
	_, err = c.do(ctx, get("v1", "jobs", name), &job)
	return job, err
}

// Jobs yields all jobs, by name. An error ends the sequence.
func (c *Client) Jobs(ctx context.Context) iter.Seq2[wire.Job, error] {
	return list[wire.Job](ctx, c, get("v1", "jobs"))
}

// Revisions yields a job's revisions, oldest first. An error ends the sequence.
func (c *Client) Revisions(ctx context.Context, name string) iter.Seq2[wire.Revision, error] {
	return list[wire.Revision](ctx, c, get("v1", "jobs", name, "revisions"))
}

// Timeline reads when a run's tasks ran, by agent. Bars shorter than one part of resolution may be joined.
func (c *Client) Timeline(ctx context.Context, run string, resolution int) (timeline wire.Timeline, err error) {
	read := get("v1", "runs", run, "timeline")
	read.query = url.Values{"resolution": {strconv.Itoa(resolution)}}
	_, err = c.do(ctx, read, &timeline)
	return timeline, err
}

// DeleteJob removes a job and cancels what runs of it.
func (c *Client) DeleteJob(ctx context.Context, name string) (job wire.Job, err error) {
	_, err = c.do(ctx, call{method: http.MethodDelete, path: []string{"v1", "jobs", name}}, &job)
	return job, err
}

// Start starts a run of a job. A repeat with the same key gives the first run; an empty key is replaced by a new one.
func (c *Client) Start(ctx context.Context, job string, params map[string]string, key string) (run wire.Run, err error) {
	body, err := json.Marshal(wire.StartRun{Params: params})
	if err != nil {
		return run, fmt.Errorf("encode parameters: %w", err)
	}
	if key == "" {
		key = rand.Text()
	}
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: []string{"v1", "jobs", job, "runs"},
		header: map[string]string{"Idempotency-Key": key}, body: body, repeat: true,
	}, &run)
	return run, err
}

// RunFilter limits what Runs yields. The zero filter lets all pass.
type RunFilter struct {
	Job    string
	States []string
}

// Runs yields runs, newest first. An error ends the sequence; it is an *Incomplete when archived runs cannot be read.
func (c *Client) Runs(ctx context.Context, filter RunFilter) iter.Seq2[wire.Run, error] {
	call := get("v1", "runs")
	call.query = url.Values{}
	if filter.Job != "" {
		call.query.Set("job", filter.Job)
	}
	if len(filter.States) > 0 {
		call.query.Set("state", strings.Join(filter.States, ","))
	}
	return list[wire.Run](ctx, c, call)
}

// Run reads a run.
func (c *Client) Run(ctx context.Context, id string) (run wire.Run, err error) {
	_, err = c.do(ctx, get("v1", "runs", id), &run)
	return run, err
}

// Tasks yields a run's tasks, by stage and index. An error ends the sequence.
func (c *Client) Tasks(ctx context.Context, run string) iter.Seq2[wire.Task, error] {
	return list[wire.Task](ctx, c, get("v1", "runs", run, "tasks"))
}

// Cancel asks a run to stop. One that has ended stays as it is.
func (c *Client) Cancel(ctx context.Context, id string) (run wire.Run, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "runs", id, "cancel"}, repeat: true}, &run)
	return run, err
}

// Explain says why a run's tasks wait.
func (c *Client) Explain(ctx context.Context, id string) (explanation wire.Explanation, err error) {
	_, err = c.do(ctx, get("v1", "runs", id, "explain"), &explanation)
	return explanation, err
}

// Info is about the instance.
func (c *Client) Info(ctx context.Context) (info wire.Info, err error) {
	_, err = c.do(ctx, get("v1", "info"), &info)
	return info, err
}

// pageSize is how many items a list asks for at a time.
const pageSize = 500

// Incomplete is the error of a list of which all is there that can be read now.
type Incomplete struct{ Reason string }

func (e *Incomplete) Error() string { return "the list is not complete: " + e.Reason }

// list yields the items of all pages. Each use of the sequence begins anew.
func list[T any](ctx context.Context, c *Client, first call) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		call := first
		call.query = url.Values{"limit": {strconv.Itoa(pageSize)}}
		for name, values := range first.query {
			call.query[name] = values
		}
		incomplete := ""
		for {
			var page wire.List[T]
			if _, err := c.do(ctx, call, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			incomplete = cmp.Or(incomplete, page.Incomplete)
			if page.Next == "" {
				break
			}
			call.query.Set("cursor", page.Next)
		}
		if incomplete != "" {
			var none T
			yield(none, &Incomplete{Reason: incomplete})
		}
	}
}
