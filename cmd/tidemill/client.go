package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/cmd/internal/service"
)

const (
	exitUnreachable = 3   // no server answers
	exitInterrupted = 130 // a signal ended the command; shells give the same
)

const exitCodes = `Exit codes:
  0  done
  1  refused by the server, not valid, or the run that was watched did not succeed
  2  wrong use of the command line
  3  the server cannot be reached
  130  interrupted`

// newClientCommands are the verbs that talk to a running service, and validate.
func newClientCommands() []*cobra.Command {
	commands := []*cobra.Command{
		newValidateCommand(),
		newSubmitCommand(),
		newRunCommand(),
		newRunsCommand(),
		newWatchCommand(),
		newLogsCommand(),
		newCancelCommand(),
		newExplainCommand(),
		newJobsCommand(),
		newExecutorsCommand(),
		newChannelsCommand(),
		newInfoCommand(),
	}
	for _, command := range commands {
		document(command)
	}
	return commands
}

// document adds to every help text what all verbs share.
func document(command *cobra.Command) {
	if command.Long == "" {
		command.Long = command.Short + "."
	}
	if !strings.Contains(command.Long, "Exit codes:") { // it has further ones of its own
		command.Long += "\n\n" + exitCodes
	}
	for _, sub := range command.Commands() {
		document(sub)
	}
}

// shell is what a verb works with.
type shell struct {
	*client.Client
	in       io.Reader
	out, err io.Writer
	json     bool // --output json
}

// connection are the flags of every verb that talks to the service.
type connection struct {
	server, tokenFile, caFile, output string
}

func (c *connection) flags(command *cobra.Command) {
	server := os.Getenv("TIDEMILL_SERVER")
	if server == "" {
		server = "http://127.0.0.1:8080"
	}
	command.Flags().StringVar(&c.server, "server", server, "address of the service; also TIDEMILL_SERVER")
	command.Flags().StringVar(&c.tokenFile, "token-file", "", "file that holds the bearer token, not readable by everybody; else TIDEMILL_TOKEN is sent, if set")
	command.Flags().StringVar(&c.caFile, "ca-file", os.Getenv("TIDEMILL_CA_FILE"), "file of authorities that sign the service's certificate, PEM; also TIDEMILL_CA_FILE; the system's if empty")
	outputFlag(command, &c.output)
}

func outputFlag(command *cobra.Command, output *string) {
	command.Flags().StringVarP(output, "output", "o", "table", "table or json")
	command.Flags().BoolFunc("json", "the same as --output json", func(value string) error {
		on, err := strconv.ParseBool(value)
		if on {
			*output = "json"
		}
		return err
	})
}

// verb makes do the work of a command that talks to the service.
func verb(command *cobra.Command, do func(ctx context.Context, s *shell, args []string) error) *cobra.Command {
	var c connection
	c.flags(command)
	command.Args = usage(command.Args)
	command.RunE = func(command *cobra.Command, args []string) error {
		s, err := c.open(command)
		if err != nil {
			return err
		}
		defer s.Close()
		err = do(command.Context(), s, args)
		if err != nil && command.Context().Err() != nil { // whatever it was about to do, or to do again
			return &exitError{code: exitInterrupted, err: errors.New("interrupted")}
		}
		return explained(err)
	}
	return command
}

// usage makes mistakes in arguments usage errors.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return usageError(fmt.Errorf("%w (see %q)", err, command.CommandPath()+" --help"))
		}
		return nil
	}
}

func (c *connection) open(command *cobra.Command) (*shell, error) {
	if err := checkOutput(c.output); err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	server, err := client.New(client.Config{Server: c.server, Token: token, CAFile: c.caFile})
	if err != nil {
		return nil, usageError(err)
	}
	return &shell{
		Client: server, in: command.InOrStdin(), out: command.OutOrStdout(), err: command.ErrOrStderr(), json: c.output == "json",
	}, nil
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return usageError(fmt.Errorf("--output is %q; want table or json", output))
	}
	return nil
}

func (c *connection) token() (string, error) {
	if c.tokenFile == "" {
		return os.Getenv("TIDEMILL_TOKEN"), nil
	}
	token, err := service.ReadSecretFile(c.tokenFile)
	if err != nil {
		return "", usageError(fmt.Errorf("--token-file: %w", err))
	}
	return token, nil
}

// explained gives an error of the client its exit code, and its problems a line each.
func explained(err error) error {
	var refused *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return &exitError{code: exitUnreachable, err: fmt.Errorf("%w; --ca-file or TIDEMILL_CA_FILE names the authorities to trust", err)}
	case errors.Is(err, client.ErrUnreachable):
		return &exitError{code: exitUnreachable, err: fmt.Errorf("%w; is it running, and is --server or TIDEMILL_SERVER right?", err)}
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return &exitError{code: exitFailed, err: errors.New(refused.Detail + "; the command takes it from TIDEMILL_TOKEN or --token-file")}
	case errors.As(err, &refused):
		text := refusalText(refused.Detail, refused.Errors)
		if slices.ContainsFunc(refused.Errors, func(p wire.Problem) bool { return p.Parameter == "X-Signature-Ed25519" }) {
			text += "\n  --sign-key names the private key to sign with"
		}
		return &exitError{code: exitFailed, err: errors.New(text)}
	}
	return err
}

// refusalText is what was refused, and below it what is wrong where.
func refusalText(detail string, problems []wire.Problem) string {
	var b strings.Builder
	b.WriteString(detail)
	for _, p := range problems {
		where := p.Pointer
		if p.Parameter != "" {
			where = p.Parameter
		}
		b.WriteString("\n  ")
		if where != "" {
			b.WriteString(where + ": ")
		}
		b.WriteString(p.Detail)
	}
	return b.String()
}

// isTerminal says whether w is a terminal, on which lines can be drawn again.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
