//go:build endtoend

package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/build"
)

// stable is what `tidemill-dev up` builds, registers and points the channel stable at.
const stable = "0.1.0-dev"

// newPlatform starts `tidemill-dev up` and gives its API. Its agents take some ten short runs each at a time.
func newPlatform(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	t.Cleanup(c.checkLeftovers)
	_, c.api = start(t, "tidemill-dev", nil, true, "up", "--listen", "127.0.0.1:0", "--data-dir", c.dir, "--agents", "2",
		"--agent-resources", "cpus:2;mem:8192;disk:10240", "--allocation-interval", "100ms", "--executor-linger", "1s")
	return c
}

// short builds an executor without an engine that behaves so, and registers it under that version.
func (c *cluster) short(version string, b build.Behaviour) {
	c.t.Helper()
	file := filepath.Join(bin, "tidemill-shortrun-"+version)
	if err := build.Short(c.t.Context(), top, file, version, b); err != nil {
		c.t.Fatal(err)
	}
	c.registerFile(version, file)
}

// shortJob is the spec of a job for executors without an engine. The fields are more of the spec, such as
// `"executor": {"version": "1.0.0"}`.
func shortJob(name string, fields ...string) string {
	fields = append([]string{fmt.Sprintf(`"name": %q`, name), `"kind": "aggregate"`,
		`"resources": {"cpus": 0.1, "memory": "64MiB", "disk": "0B"}`}, fields...)
	return fmt.Sprintf(`{%s, "aggregate": {"input": {"uri": "s3://flights/2013/", "format": "csv"},
		"measures": {"n": {"count": "*"}}, "output": {"uri": "s3://results/%s/"}}}`, strings.Join(fields, ", "), name)
}

// startMany starts so many runs, of each of the jobs in turn. Keys begin with prefix.
func (c *cluster) startMany(jobs []string, n int, prefix string) (ids []string) {
	c.t.Helper()
	for i := range n {
		ids = append(ids, c.startRun(jobs[i%len(jobs)], fmt.Sprintf("%s-%d", prefix, i)).ID)
	}
	return ids
}

// awaitMany gives the runs once all of them have ended.
func (c *cluster) awaitMany(ids []string) (runs []wire.Run) {
	c.t.Helper()
	for _, id := range ids {
		runs = append(runs, c.await(id, time.Minute))
	}
	return runs
}

// send is call with a JSON body and the answer's problem, if it is one.
func (c *cluster) send(method, path, body string, value any) (int, wire.Error) {
	c.t.Helper()
	var answer json.RawMessage
	var problem wire.Error
	status, err := c.call(method, path, bytes.NewReader([]byte(body)), &answer, "Content-Type", "application/json")
	if err == nil && status >= 400 {
		err = json.Unmarshal(answer, &problem)
	} else if err == nil && value != nil {
		err = json.Unmarshal(answer, value)
	}
	if err != nil {
		c.t.Fatalf("%s %s: %d, %v", method, path, status, err)
	}
	return status, problem
}

// expect is send for a request that is to be answered with that status. What a refusal says must hold each of the words.
func (c *cluster) expect(want int, method, path, body string, value any, words ...string) {
	c.t.Helper()
	status, problem := c.send(method, path, body, value)
	if status != want {
		c.t.Fatalf("%s %s %s: got %d, want %d: %+v", method, path, body, status, want, problem)
	}
	said := problem.Detail
	for _, p := range problem.Errors {
		said += "; " + p.Pointer + " " + p.Detail
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			c.t.Errorf("%s %s: it says %q, want %q in it", method, path, said, word)
		}
	}
}

// channel reads a channel with its newest rollout.
func (c *cluster) channel(name string) (channel wire.Channel) {
	c.t.Helper()
	c.must(http.MethodGet, "/v1/channels/"+name, nil, &channel)
	return channel
}

// rollout is the newest one of a channel, which must have had one.
func (c *cluster) rollout(channel string) wire.Rollout {
	c.t.Helper()
	r := c.channel(channel).Rollout
	if r == nil {
		c.t.Fatalf("channel %s has no rollout", channel)
	}
	return *r
}

// happened are the events of a rollout, in order.
func happened(r wire.Rollout) (events []string) {
	for _, e := range r.Events {
		events = append(events, e.Event)
	}
	return events
}
