package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
)

// newValidateCommand looks at specs without storing them.
func newValidateCommand() *cobra.Command {
	var c connection
	var remote bool
	command := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check job specs without storing them",
		Long: `Check job specs without storing them. FILE is JSON or YAML; - is standard input.

Without --remote no server is asked: everything is checked but the SQL expressions and whether the channel or the version
exists. With --remote the server checks these, too.`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(command *cobra.Command, files []string) error {
			s, err := c.open(command)
			if err != nil {
				return err
			}
			defer s.Close()
			return explained(validate(command.Context(), s, files, remote))
		},
	}
	c.flags(command)
	command.Flags().BoolVar(&remote, "remote", false, "let the server check the spec, too")
	return command
}

// verdict is what validate says of one file.
type verdict struct {
	File     string         `json:"file"`
	Valid    bool           `json:"valid"`
	Name     string         `json:"name,omitempty"`
	Kind     string         `json:"kind,omitempty"`
	Checks   string         `json:"checks,omitempty"` // with --remote
	Warnings []string       `json:"warnings,omitempty"`
	Errors   []wire.Problem `json:"errors,omitempty"`
}

func validate(ctx context.Context, s *shell, files []string, remote bool) error {
	verdicts := make([]verdict, 0, len(files))
	bad := 0
	for _, file := range files {
		v, err := judge(ctx, s, file, remote)
		if err != nil {
			return err
		}
		if !v.Valid {
			bad++
		}
		verdicts = append(verdicts, v)
	}
	if err := showVerdicts(s, verdicts); err != nil {
		return err
	}
	if bad > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

func judge(ctx context.Context, s *shell, file string, remote bool) (verdict, error) {
	v := verdict{File: file}
	text, found, err := readSpec(s.in, file)
	if err != nil {
		return v, err
	}
	spec := (*jobs.Spec)(nil)
	if len(found) == 0 {
		spec, found = jobs.Decode(text, kinds.All())
	}
	if len(found) > 0 {
		v.Errors = located(found)
		return v, nil
	}
	v.Valid, v.Name, v.Kind = true, spec.Name, spec.Kind
	if !remote {
		return v, nil
	}
	job, err := s.Validate(ctx, text)
	var refused *wire.Error
	if errors.As(err, &refused) && len(refused.Errors) > 0 {
		v.Valid, v.Errors = false, refused.Errors
		return v, nil
	}
	v.Checks, v.Warnings = job.Checks, job.Warnings
	return v, err
}

func showVerdicts(s *shell, verdicts []verdict) error {
	if s.json {
		return writeJSON(s.out, verdicts)
	}
	for _, v := range verdicts {
		text := fmt.Sprintf("%s: valid: job %q of kind %s", v.File, v.Name, v.Kind)
		if v.Checks != "" {
			text += ", checks " + v.Checks
		}
		if !v.Valid {
			text = refusalText(v.File+": not valid", v.Errors)
		}
		for _, warning := range v.Warnings {
			text += "\n  warning: " + warning
		}
		if _, err := fmt.Fprintln(s.out, text); err != nil {
			return err
		}
	}
	return nil
}

func newSubmitCommand() *cobra.Command {
	var update, run, watch bool
	command := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a job",
		Long: `Submit a job. FILE is its spec in JSON or YAML; - is standard input.

A name that is taken by another spec is refused, unless --update makes it a new revision.`,
		Example: "  tidemill submit examples/flights-by-carrier.json --run --watch",
		Args:    cobra.ExactArgs(1),
	}
	command = verb(command, func(ctx context.Context, s *shell, args []string) error {
		job, err := submit(ctx, s, args[0], update)
		if err != nil {
			return err
		}
		if run || watch {
			return startRun(ctx, s, job.Name, nil, "", watch)
		}
		if s.json {
			return writeJSON(s.out, job)
		}
		return nil
	})
	command.Flags().BoolVar(&update, "update", false, "replace the spec of a job that exists")
	command.Flags().BoolVar(&run, "run", false, "start a run")
	command.Flags().BoolVar(&watch, "watch", false, "start a run and watch it")
	return command
}

// submit sends the spec and says on stderr what became of it.
func submit(ctx context.Context, s *shell, file string, update bool) (wire.Job, error) {
	text, found, err := readSpec(s.in, file)
	if err != nil {
		return wire.Job{}, err
	}
	if len(found) > 0 {
		return wire.Job{}, &wire.Error{Detail: fmt.Sprintf("%s is not valid", file), Errors: located(found)}
	}
	var job wire.Job
	var created bool
	if update {
		spec, found := jobs.Decode(text, kinds.All())
		if len(found) > 0 {
			return wire.Job{}, &wire.Error{Detail: fmt.Sprintf("%s is not valid", file), Errors: located(found)}
		}
		job, created, err = s.Update(ctx, spec.Name, text)
	} else {
		job, created, err = s.Submit(ctx, text)
	}
	if err != nil {
		return wire.Job{}, err
	}
	what := "is there"
	if created {
		what = "is new"
	}
	message := fmt.Sprintf("job %s %s, revision %d, checks %s", job.Name, what, job.Revision, job.Checks)
	for _, warning := range job.Warnings {
		message += "\nwarning: " + warning
	}
	_, err = fmt.Fprintln(s.err, message)
	return job, err
}

// readSpec reads a spec as JSON. Problems are those of YAML that cannot be JSON.
func readSpec(in io.Reader, file string) ([]byte, []jobs.Problem, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(in, jobs.MaxBytes+1))
	} else {
		text, err = readFile(file)
	}
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("read spec: %w", err))
	}
	if !isYAML(file, text) {
		return text, nil, nil
	}
	text, found := jobs.FromYAML(text)
	return text, found, nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, jobs.MaxBytes+1)) // more is refused for its size
	return text, errors.Join(err, file.Close())
}

// isYAML goes by the file's ending; standard input is JSON if it begins with a brace.
func isYAML(file string, text []byte) bool {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".yaml", ".yml":
		return true
	case ".json":
		return false
	}
	return !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

func located(found []jobs.Problem) []wire.Problem {
	out := make([]wire.Problem, len(found))
	for i, p := range found {
		out[i] = wire.Problem{Pointer: p.Pointer, Detail: p.Detail}
	}
	return out
}
