package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	devpeers "github.com/tidemill/tidemill/dev/peers"
)

//go:embed peers.py
var peersScript []byte

// packages are the peers and what they need, from PyPI.
var packages = []string{"duckdb==1.5.5", "polars==2.1.0", "pyarrow==26.0.1", "pyspark==4.0.1"}

// peers run in a Python of their own.
type peers struct {
	python string
	script string
}

// installPeers fetches them if they are not there.
func installPeers(ctx context.Context, dir string) (*peers, error) {
	fmt.Fprintln(os.Stderr, "fetching the peers, some 600 MB, if they are not there")
	python, err := devpeers.Python(ctx, packages...)
	if err != nil {
		return nil, err
	}
	p := &peers{python: python, script: filepath.Join(dir, "peers.py")}
	if err := os.WriteFile(p.script, peersScript, 0o644); err != nil {
		return nil, fmt.Errorf("write peers' script: %w", err)
	}
	return p, nil
}

// run does one case with a peer. What it cannot do is an error with the last line that it wrote.
func (p *peers) run(ctx context.Context, peer string, c testCase, source, target string) (*outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	if err := os.MkdirAll(target, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, p.python, p.script, peer, c.dataset, c.format, c.cardinality, strconv.Itoa(c.threads), source, target)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "PYSPARK_PYTHON="+p.python, "SPARK_LOCAL_IP=127.0.0.1")
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	watch := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	out := &outcome{wall: time.Since(began), peak: watch.stop()}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return nil, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	out.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	out.result = filepath.Join(target, "*.parquet")
	if peer == "pyspark" {
		out.result = filepath.Join(target, "spark", "*.parquet")
	}
	return out, nil
}
