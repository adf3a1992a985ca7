//go:build endtoend

package endtoend

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// ci is a job of CI: a directory with its secrets, and a real server that wants a token and signatures.
type ci struct {
	t      *testing.T
	c      *cluster
	dir    string
	env    []string
	secret string
}

func newCI(t *testing.T) *ci {
	t.Helper()
	for _, program := range []string{"curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	job := &ci{t: t, dir: t.TempDir()}
	job.must("openssl", "genpkey", "-algorithm", "ed25519", "-out", "ci.pem")
	if err := os.Chmod(job.file("ci.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	public := job.must("openssl", "pkey", "-in", "ci.pem", "-pubout")
	if err := os.WriteFile(job.file("keys.pem"), []byte("# ci\n"+public), 0o600); err != nil {
		t.Fatal(err)
	}
	job.must("tidemill", "tokens", "new", "--name", "ci", "--role", "deployer", "--add-to", "tokens.yaml", "--token-out", "ci.token")
	token, err := os.ReadFile(job.file("ci.token"))
	if err != nil {
		t.Fatal(err)
	}
	job.secret = strings.TrimSpace(string(token))

	job.c = &cluster{t: t, dir: t.TempDir(), masterLog: &tail{}}
	master := job.c.startMaster()
	listen := freeAddress(t)
	job.c.api = "http://" + listen
	job.c.scheduler, _ = start(t, "tidemill", nil, false, "serve", "--listen", listen, "--mesos-master", master,
		"--data-dir", filepath.Join(job.c.dir, "scheduler"), "--tokens-file", job.file("tokens.yaml"), "--executor-keys-file", job.file("keys.pem"))
	job.c.awaitScheduler()
	job.env = []string{"TIDEMILL_SERVER=" + job.c.api, "TIDEMILL_TOKEN=" + job.secret, "POLL=1"}
	return job
}

func (job *ci) file(name string) string { return filepath.Join(job.dir, name) }

// transcript is what a program writes. It closes seen when that holds text. The buffer is no
// embedded field: copying would prefer its ReadFrom to Write.
type transcript struct {
	all  bytes.Buffer
	text string
	seen chan struct{} // nil: nobody waits for it
}

func (w *transcript) Write(p []byte) (int, error) {
	n, err := w.all.Write(p)
	if w.seen != nil && strings.Contains(w.all.String(), w.text) {
		close(w.seen)
		w.seen = nil
	}
	return n, err
}

func (w *transcript) String() string { return w.all.String() }

// said waits until the program that was started with seen has written what is waited for.
func (job *ci) said(seen chan struct{}) {
	job.t.Helper()
	select {
	case <-seen:
	case <-time.After(30 * time.Second):
		job.t.Fatal("the program has not said that the rollout runs")
	}
}

// run gives a program's exit code and all that it wrote.
func (job *ci) run(env []string, name string, args ...string) (code int, text string) {
	job.t.Helper()
	return job.runSeen(&transcript{}, env, name, args...)
}

func (job *ci) runSeen(out *transcript, env []string, name string, args ...string) (code int, text string) {
	job.t.Helper()
	ctx, cancel := context.WithTimeout(job.t.Context(), time.Minute)
	defer cancel()
	if name == "tidemill" {
		name = filepath.Join(bin, name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = job.dir, out, out, 5*time.Second
	cmd.Env = append(append(os.Environ(), job.env...), env...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		job.t.Errorf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (job *ci) must(name string, args ...string) string {
	job.t.Helper()
	code, text := job.run(nil, name, args...)
	if code != 0 {
		job.t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), code, text)
	}
	return text
}

// ends holds a program to an exit code and to texts.
func (job *ci) ends(env []string, want int, texts []string, name string, args ...string) {
	job.t.Helper()
	job.endsSeen(&transcript{}, env, want, texts, name, args...)
}

func (job *ci) endsSeen(out *transcript, env []string, want int, texts []string, name string, args ...string) {
	job.t.Helper()
	code, got := job.runSeen(out, env, name, args...)
	if code != want {
		job.t.Errorf("%s %s: exit code %d, want %d\n%s", name, strings.Join(args, " "), code, want, got)
	}
	for _, text := range texts {
		if !strings.Contains(got, text) {
			job.t.Errorf("%s %s: want %q in\n%s", name, strings.Join(args, " "), text, got)
		}
	}
	if strings.Contains(got, job.secret) {
		job.t.Errorf("%s %s shows the token", name, strings.Join(args, " "))
	}
}

// open waits for a rollout of the channel stable that runs.
func (job *ci) open(number uint32) {
	job.t.Helper()
	job.c.eventually(30*time.Second, "the rollout runs", func() (bool, error) {
		var channel wire.Channel
		status, err := job.c.call(http.MethodGet, "/v1/channels/stable", nil, &channel, "Authorization", "Bearer "+job.secret)
		return status == http.StatusOK && channel.Rollout != nil && channel.Rollout.Number == number && channel.Rollout.State == "running", err
	})
}

// A real build goes through deploy/ci/push.sh and through the command line, twice each, and through rollouts during which the
// scheduler is killed.
func TestPushFromCI(t *testing.T) {
	job := newCI(t)
	script, first, second := filepath.Join(top, "deploy/ci/push.sh"), versions[0], versions[1]
	signed := []string{"SIGN_KEY=" + job.file("ci.pem"), "CHANNEL=stable"}

	job.ends(nil, 1, []string{"executors must be signed here"}, script, executorFile(first), first)
	job.ends(signed, 0, []string{"executor version " + first + " for linux-amd64 is registered", "channel stable points at " + first}, script, executorFile(first), first)
	job.ends(signed, 0, []string{"executor version " + first + " for linux-amd64 was there already", "channel stable points at " + first}, script, executorFile(first), first)
	push := []string{"executors", "push", executorFile(first), "--sign-key", "ci.pem", "--channel", "stable"}
	job.ends(nil, 0, []string{"was there already", "channel stable points at " + first}, "tidemill", push...)
	job.ends([]string{"TIDEMILL_TOKEN=other"}, 1, []string{"the token is wrong"}, script, executorFile(first), first)

	// The scheduler is killed while the script waits for a rollout.
	waits := append([]string{`ROLLOUT={"steps": [50, 100]}`, "WAIT=50"}, signed...)
	done, seen := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		job.endsSeen(&transcript{text: "running, step 1, 50 %", seen: seen}, waits, 0, []string{"is registered", "moves to " + second + " by rollout 1", "running, step 1, 50 %", "channel stable points at " + second}, script, executorFile(second), second)
	}()
	job.open(1)
	job.said(seen)
	job.c.scheduler.kill()
	job.c.scheduler.launch(false)
	job.c.awaitScheduler()
	job.open(1)
	job.must("tidemill", "channels", "promote", "stable")
	<-done
	job.ends(waits, 0, []string{"was there already", "channel stable points at " + second}, script, executorFile(second), second)

	// The same with the command line; this rollout is aborted.
	done, seen = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		job.endsSeen(&transcript{text: "stable: running, step 1 of 1, 30 %", seen: seen}, nil, 4, []string{"stable: running, step 1 of 1, 30 %", "is aborted: it was aborted by ci"}, "tidemill", append(push, "--steps", "30", "--wait", "--timeout", "50s")...)
	}()
	job.open(2)
	job.said(seen)
	job.c.scheduler.kill()
	job.c.scheduler.launch(false)
	job.c.awaitScheduler()
	job.must("tidemill", "channels", "abort", "stable")
	<-done
	job.ends(nil, 0, []string{`"signed_by": "ci"`, `"registered_by": "ci"`}, "tidemill", "executors", "get", second, "--json")
}
