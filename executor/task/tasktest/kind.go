package tasktest

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// Name is the kind's name.
const Name = "script"

// Work does scripts.
type Work struct{}

var _ task.Kind = Work{}

// Name is "script".
func (Work) Name() string { return Name }

// Run does the script in the task's input.
func (Work) Run(ctx context.Context, work *task.Work) ([]byte, error) {
	s := &script{ctx: ctx, work: work}
	for line := range strings.Lines(string(work.Data.Input)) {
		name, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		command, ok := commands[name]
		if !ok {
			return nil, fmt.Errorf("run script: unknown command %q", name)
		}
		if err := command(s, argument); err != nil {
			return s.output, err
		}
	}
	return s.output, nil
}

type script struct {
	ctx    context.Context
	work   *task.Work
	held   [][]byte
	output []byte
}

var commands = map[string]func(s *script, argument string) error{
	"echo": func(_ *script, text string) error { _, err := fmt.Println(text); return err },
	"log":  func(s *script, text string) error { s.work.Log.Info(text); return nil },
	"sleep": func(s *script, text string) error {
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		select {
		case <-time.After(d):
			return nil
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	},
	"wait": func(s *script, _ string) error { <-s.ctx.Done(); return s.ctx.Err() },
	"ignore": func(s *script, _ string) error {
		signal.Ignore(syscall.SIGTERM)
		s.ctx = context.WithoutCancel(s.ctx)
		return nil
	},
	"hang": func(_ *script, text string) error {
		d, err := time.ParseDuration(text)
		time.Sleep(d)
		return err
	},
	"progress": func(s *script, text string) error {
		fraction, err := strconv.ParseFloat(text, 64)
		s.work.Report(task.Progress{Fraction: fraction, Phase: "working", Rows: int64(fraction * 1000)})
		return err
	},
	"allocate": (*script).allocate,
	"output":   func(s *script, text string) error { s.output = []byte(text); return nil },
	"hand-over": func(s *script, _ string) error {
		select {
		case <-s.work.HandOver:
			return task.ErrHandedOver
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	},
	"desert": func(*script, string) error { return task.ErrHandedOver },
	"go-on": func(s *script, _ string) error {
		s.output = fmt.Appendf(nil, "%s, then attempt %d", s.work.Data.HandedOver, s.work.Data.Attempt)
		return nil
	},
	"file": func(s *script, name string) error {
		return os.WriteFile(filepath.Join(s.work.Dir, name), []byte("scratch"), 0o600)
	},
	"touch": func(_ *script, path string) error { return os.WriteFile(path, nil, 0o600) },
	"await": func(s *script, path string) error {
		for s.ctx.Err() == nil {
			if _, err := os.Stat(path); err == nil {
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
		return s.ctx.Err()
	},
	"passing": func(_ *script, text string) error { return task.Passing("%s", text) },
	"final": func(_ *script, text string) error {
		pointer, message, _ := strings.Cut(text, " ")
		return task.Final(pointer, "%s", message)
	},
	"unsettled": func(_ *script, text string) error { return task.Unsettled(task.Passing("%s", text)) },
	"panic":     func(_ *script, text string) error { panic(text) },
	"crash": func(*script, string) error {
		signal.Reset(syscall.SIGSEGV)
		if err := syscall.Kill(os.Getpid(), syscall.SIGSEGV); err != nil {
			return err
		}
		select {} // any thread may get the signal, and later than this one goes on
	},
	"exit": func(_ *script, text string) error {
		status, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		os.Exit(status)
		return nil
	},
}

// allocate fills memory piece by piece, so that whoever watches it sees it grow.
func (s *script) allocate(text string) error {
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return err
	}
	const piece = 4 << 20
	for ; size > 0 && s.ctx.Err() == nil; size -= piece {
		memory := make([]byte, piece)
		for i := 0; i < len(memory); i += os.Getpagesize() {
			memory[i] = 1
		}
		s.held = append(s.held, memory)
		time.Sleep(2 * time.Millisecond)
	}
	return s.ctx.Err()
}

// Job reads specs of the kind: its section is {"work": URI, "connection": name}, and its one stage is "run".
type Job struct{}

var _ jobs.Kind = Job{}

// Section is the kind's section of a spec.
type Section struct {
	WorkURI    string `json:"work" required:"true" doc:"where logs go"`
	Connection string `json:"connection" default:"s3" doc:"how to get there"`
	Script     string `json:"script,omitempty" doc:"of the one task of stage run"`
}

// Expressions are none.
func (*Section) Expressions() []jobs.Expression { return nil }

// Work is as the section says.
func (s *Section) Work() (uri, connection string) { return s.WorkURI, s.Connection }

// Name is "script".
func (Job) Name() string { return Name }

// DecodeSection reads a [*Section].
func (Job) DecodeSection(d *jobs.Decoder) jobs.Section {
	s := &Section{}
	d.Into(s)
	return s
}

// First is stage "run" with the section's script.
func (Job) First(spec *jobs.Spec, _ []proto.Source) jobs.StagePlan {
	script := spec.Section.(*Section).Script
	return jobs.StagePlan{Name: "run", Inputs: [][]byte{[]byte(script)}}
}

// Next ends the run: its output is what the section calls its work area.
func (Job) Next(spec *jobs.Spec, _ jobs.StageResult) (jobs.Step, error) {
	return jobs.Step{Done: &proto.Output{URI: spec.Section.(*Section).WorkURI}}, nil
}

// Spec is a spec of the kind, as JSON, whose work area is the folder dir, reached by a connection "local" of type file.
func Spec(dir string) []byte {
	return fmt.Appendf(nil, `{"name": "scripted", "kind": %q, "executor": {"channel": "stable"},
		%q: {"work": "file://%s", "connection": "local"}}`, Name, Name, dir)
}
