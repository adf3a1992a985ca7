package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// platform is ours: `tidemill-dev up`.
type platform struct {
	cmd    *exec.Cmd
	client *client.Client
	reach  *connections.Set
	memory string // of one task
}

// startPlatform builds and starts it. What it writes goes to a file in dir.
func startPlatform(ctx context.Context, dir string) (_ *platform, err error) {
	program := filepath.Join(dir, "tidemill-dev")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/tidemill-dev").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build tidemill-dev: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "platform.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &platform{memory: "3GiB"}
	p.cmd = exec.CommandContext(ctx, program, "up", "--listen", "127.0.0.1:0", "--agents", "1", "--data-dir", filepath.Join(dir, "platform"),
		"--agent-resources", "cpus:4;mem:16384;disk:65536", "--executor-linger", "1s", "--allocation-interval", "100ms")
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay, p.cmd.Stderr = 20*time.Second, log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start platform: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("wait for the platform (see %s): %w", log.Name(), err)
	}
	if p.client, err = client.New(client.Config{Server: strings.TrimSpace(strings.TrimPrefix(line, "ready "))}); err != nil {
		return nil, err
	}
	info, err := p.client.Info(ctx)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "connections.json")
	data, err := json.Marshal(map[string]any{"connections": map[string]any{"s3": map[string]any{
		"type": "s3", "endpoint": info.S3.Endpoint, "region": info.S3.Region, "access_key": info.S3.AccessKey, "secret_key": info.S3.SecretKey, "path_style": true,
	}}})
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err == nil {
		p.reach, err = connections.Load(file)
	}
	return p, err
}

func (p *platform) stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// bucket holds everything; the dev platform has it.
const bucket = "flights"

func (p *platform) store(ctx context.Context) (storage.Store, error) {
	return p.reach.Open(ctx, "s3", storage.URI{Scheme: storage.SchemeS3, Bucket: bucket, Key: "x"})
}

// upload puts the files of a folder at a prefix, if they are not there.
func (p *platform) upload(ctx context.Context, folder, prefix string) error {
	store, err := p.store(ctx)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, name := range files {
		group.Go(func() error {
			key := prefix + filepath.Base(name)
			file, err := os.Open(name)
			if err != nil {
				return err
			}
			defer file.Close()
			info, err := file.Stat()
			if err != nil {
				return err
			}
			if object, err := store.Stat(ctx, key); err == nil && object.Size == info.Size() {
				return nil
			}
			_, err = store.Put(ctx, key, file, info.Size(), storage.Always)
			return err
		})
	}
	return group.Wait()
}

// spec is the job of a case.
func (p *platform) spec(c testCase, prefix string) ([]byte, error) {
	input := map[string]any{"uri": "s3://" + bucket + "/" + prefix, "format": c.format, "split_size": "1GiB"}
	if c.format != "parquet" {
		input["columns"] = c.columns()
	}
	if c.format == "csv" {
		input["null_values"] = []string{"NA"}
	}
	groups := []any{}
	for _, key := range c.keys() {
		groups = append(groups, map[string]any{"name": key})
	}
	amount, price, most := c.arguments()
	return json.Marshal(map[string]any{
		"name": c.job(), "kind": "aggregate", "parallelism": c.threads,
		"resources": map[string]any{"cpus": 1, "memory": p.memory, "disk": "8GiB"},
		"aggregate": map[string]any{
			"input":    input,
			"group_by": groups,
			"measures": map[string]any{
				"n": map[string]any{"count": "*"}, "total": map[string]any{"sum": amount}, "mean": map[string]any{"avg": price}, "most": map[string]any{"max": most},
			},
			"output": map[string]any{"uri": "s3://" + bucket + "/bench-results/" + c.job() + "/"},
		},
	})
}

// run does one case.
func (p *platform) run(ctx context.Context, c testCase, prefix, target string) (*outcome, error) {
	spec, err := p.spec(c, prefix)
	if err != nil {
		return nil, err
	}
	if _, _, err := p.client.Update(ctx, c.job(), spec); err != nil {
		return nil, err
	}
	if err := p.settle(ctx, c.job()); err != nil {
		return nil, err
	}
	before, servers := cpuBelow(p.cmd.Process.Pid)
	watch := watchMemoryBelow(p.cmd.Process.Pid)
	began := time.Now()
	run, err := p.client.Start(ctx, c.job(), nil, "")
	if err == nil {
		run, err = p.client.Watch(ctx, run.ID, func(wire.Run) error { return nil })
	}
	out := &outcome{wall: time.Since(began), peak: watch.stop()}
	if err != nil {
		return nil, err
	}
	after, serversAfter := cpuBelow(p.cmd.Process.Pid)
	out.cpu, out.servers = after-before, serversAfter-servers
	if run.State != "succeeded" {
		return nil, fmt.Errorf("run %s %s: %s", run.ID, run.State, run.Error.Message)
	}
	for _, stage := range run.Stages {
		out.stages = append(out.stages, fmt.Sprintf("%s × %d", stage.Name, stage.Tasks.Sum()))
	}
	out.result = filepath.Join(target, "*.parquet")
	return out, p.download(ctx, run.Output.URI, target)
}

// settle waits until the job's expressions are checked and the executors that did it have gone.
func (p *platform) settle(ctx context.Context, job string) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		got, err := p.client.Job(ctx, job)
		if err != nil {
			return err
		}
		if got.Checks == "passed" && len(below(processes(), p.cmd.Process.Pid)) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("job %s: its checks have not passed within a minute, or executors stay", job)
}

// download fetches the files of a result.
func (p *platform) download(ctx context.Context, uri, target string) error {
	store, err := p.store(ctx)
	if err != nil {
		return err
	}
	at, err := storage.ParseURI(uri)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for object, err := range store.List(ctx, at.Key, "") {
		if err != nil {
			return err
		}
		body, _, err := store.Get(ctx, object.Key, storage.Range{})
		if err != nil {
			return err
		}
		file, err := os.Create(filepath.Join(target, filepath.Base(object.Key)))
		if err == nil {
			_, err = io.Copy(file, body)
			err = errors.Join(err, file.Close())
		}
		if err := errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("download %s: %w", object.Key, err)
		}
	}
	return nil
}
