//go:build endtoend

package endtoend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// call sends a request as curl would and decodes the answer into value unless that is nil. It returns the status.
func (c *cluster) call(method, path string, body io.Reader, value any, headers ...string) (int, error) {
	patience := c.patience
	if patience == 0 {
		patience = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.api+path, body)
	if err != nil {
		return 0, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if value != nil {
		if err := json.Unmarshal(data, value); err != nil {
			return resp.StatusCode, fmt.Errorf("%s %s: %d: %w: %s", method, path, resp.StatusCode, err, data)
		}
	}
	if resp.StatusCode >= 400 && value == nil {
		return resp.StatusCode, fmt.Errorf("%s %s: %d: %s", method, path, resp.StatusCode, data)
	}
	return resp.StatusCode, nil
}

// must is call for requests that have to succeed; while the scheduler restarts they are repeated.
func (c *cluster) must(method, path string, body []byte, value any, headers ...string) {
	c.t.Helper()
	c.eventually(30*time.Second, fmt.Sprintf("%s %s", method, path), func() (bool, error) {
		var answer json.RawMessage
		status, err := c.call(method, path, bytes.NewReader(body), &answer, headers...)
		if status >= 400 && status < 500 {
			c.t.Fatalf("%s %s: %d: %s", method, path, status, answer)
		}
		if err == nil && status < 300 && value != nil {
			err = json.Unmarshal(answer, value)
		}
		return err == nil && status < 300, fmt.Errorf("status %d: %v: %s", status, err, answer)
	})
}

// eventually polls until done says so.
func (c *cluster) eventually(limit time.Duration, what string, done func() (bool, error)) {
	c.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		ok, err := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *cluster) register(version string) {
	c.t.Helper()
	c.registerFile(version, executorFile(version))
}

func (c *cluster) registerFile(version, file string) {
	c.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	c.must(http.MethodPut, "/v1/executors/"+version+"/linux-amd64", data, nil,
		"X-Checksum-Sha256", hex.EncodeToString(sum[:]), "Content-Type", "application/octet-stream")
}

// startRun starts a run under an idempotency key, so that a repeat after a crash finds the same one.
func (c *cluster) startRun(job, key string) wire.Run {
	c.t.Helper()
	var run wire.Run
	c.must(http.MethodPost, "/v1/jobs/"+job+"/runs", nil, &run, "Idempotency-Key", key)
	return run
}

// await polls a run until it has ended.
func (c *cluster) await(id string, limit time.Duration) wire.Run {
	c.t.Helper()
	var run wire.Run
	deadline := time.Now().Add(limit)
	for {
		status, err := c.call(http.MethodGet, "/v1/runs/"+id, nil, &run)
		if err == nil && status == http.StatusOK && run.Ended != nil {
			return run
		}
		if time.Now().After(deadline) {
			var why json.RawMessage
			_, explainErr := c.call(http.MethodGet, "/v1/runs/"+id+"/explain", nil, &why)
			var tasks json.RawMessage
			_, tasksErr := c.call(http.MethodGet, "/v1/runs/"+id+"/tasks", nil, &tasks)
			c.t.Fatalf("run %s has not ended within %s: status %d, %v; %+v\nexplain (%v): %s\ntasks (%v): %s", id, limit, status, err, run, explainErr, why, tasksErr, tasks)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// putJob sends a spec under the name that it has.
func (c *cluster) putJob(spec string) {
	c.t.Helper()
	var job struct{ Name string }
	if err := json.Unmarshal([]byte(spec), &job); err != nil {
		c.t.Fatal(err)
	}
	c.must(http.MethodPut, "/v1/jobs/"+job.Name, []byte(spec), nil, "Content-Type", "application/json")
}

// replaceOnce replaces text that must be there once.
func replaceOnce(t *testing.T, s, old, replacement string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q stands %d times in %s", old, strings.Count(s, old), s)
	}
	return strings.Replace(s, old, replacement, 1)
}
