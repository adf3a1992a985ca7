package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/jobs"
)

const newTokenHelp = `Make a bearer token for the API, and the entry that lets it in.

The token is printed once: the entry has only its SHA-256. Put the entry into the file that the scheduler's --tokens-file
names, the same file for all schedulers; they read it again when it changes. --add-to does that to a file here, and
--token-out writes the token into a file instead of printing it.

Roles:
  viewer     reads everything but the export of the store
  submitter  submits, starts, cancels and deletes jobs; --jobs and --mesos-roles say which
  deployer   registers executor versions and moves channels
  admin      everything`

// newToken is what is asked for.
type newToken struct {
	name, expires                string
	roles, jobs, mesosRoles      []string
	addTo, tokenOut, outputAsked string
	secret                       string
	token                        access.Token
}

func newTokensCommand() *cobra.Command {
	command := &cobra.Command{Use: "tokens", Short: "Make tokens for the API", Args: unknownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var n newToken
	add := &cobra.Command{
		Use:   "new --name NAME --role ROLE",
		Short: "Make a token and its entry of the tokens file",
		Long:  newTokenHelp,
		Example: `  tidemill tokens new --name ci --role deployer --expires 2027-06-30
  tidemill tokens new --name flights --role submitter --jobs 'flights-*' --mesos-roles data/batch
  tidemill tokens new --name ci --role deployer --add-to tokens.yaml --token-out ci.token`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(n.outputAsked); err != nil {
				return err
			}
			if err := n.make(time.Now()); err != nil {
				return usageError(err)
			}
			return n.give(cmd.OutOrStdout())
		},
	}
	f := add.Flags()
	f.SortFlags = false
	f.StringVar(&n.name, "name", "", "who has it: what it does is recorded under this name")
	f.StringSliceVar(&n.roles, "role", nil, "viewer, submitter, deployer or admin; several with commas between")
	f.StringSliceVar(&n.jobs, "jobs", nil, "only jobs of these names, or patterns with *, may be submitted; all if missing")
	f.StringSliceVar(&n.mesosRoles, "mesos-roles", nil, "only specs in these Mesos roles, or patterns with *, may be submitted; all if missing")
	f.StringVar(&n.expires, "expires", "", "`when` it ends: a day, a moment (RFC 3339), or a duration from now such as 2160h; never if missing")
	f.StringVar(&n.addTo, "add-to", "", "tokens `file` that the entry is added to, made with mode 0600 if it is not there; instead of printing the entry")
	f.StringVar(&n.tokenOut, "token-out", "", "new `file` for the token, mode 0600; instead of printing it")
	outputFlag(add, &n.outputAsked)
	command.AddCommand(add)
	return command
}

// make makes the token. Its entry is good if the tokens file would be.
func (n *newToken) make(now time.Time) (err error) {
	if n.name == "" || len(n.roles) == 0 {
		return errors.New("--name and --role are needed")
	}
	n.token = access.Token{Name: n.name, Jobs: n.jobs, MesosRoles: n.mesosRoles}
	for _, role := range n.roles {
		if !slices.Contains(access.Roles, access.Role(role)) {
			return fmt.Errorf("--role: there is no role %q; there are %s", role, listed(access.Roles))
		}
		n.token.Roles = append(n.token.Roles, access.Role(role))
	}
	if n.token.Expires, err = expiry(n.expires, now); err != nil {
		return fmt.Errorf("--expires: %w", err)
	}
	n.secret, n.token.SHA256 = access.NewSecret()
	if _, err := access.Add(nil, n.token); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "tokens[0]", "token"))
	}
	return nil
}

// listed names roles with commas between.
func listed(roles []access.Role) string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return strings.Join(names, ", ")
}

func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if after, wrong := jobs.ParseDuration(text); wrong == "" {
		return now.UTC().Add(after).Truncate(time.Second), nil
	}
	at, err := access.ParseExpiry(text)
	if err != nil {
		return at, fmt.Errorf("%w, or a duration such as 2160h", err)
	}
	if !at.After(now) {
		return at, fmt.Errorf("%s has passed", text)
	}
	return at, nil
}

// give writes the token and its entry to where they were asked for. The entry is in its file last: a token that nobody
// has got is let in by nobody.
func (n *newToken) give(out io.Writer) error {
	if n.tokenOut != "" {
		if err := writeNew(n.tokenOut, n.secret+"\n"); err != nil {
			return fmt.Errorf("--token-out: %w", err)
		}
	}
	if n.addTo != "" {
		if err := addTo(n.addTo, n.token); err != nil {
			err = fmt.Errorf("--add-to: %w", err)
			if n.tokenOut != "" { // nothing lets it in
				err = errors.Join(err, os.Remove(n.tokenOut))
			}
			return err
		}
	}
	if n.outputAsked == "json" {
		shown := map[string]any{"entry": n.token}
		if n.tokenOut == "" {
			shown["token"] = n.secret
		}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(shown)
	}
	if n.tokenOut == "" {
		if _, err := fmt.Fprintf(out, "Token of %s; it is shown this once:\n\n  %s\n", n.name, n.secret); err != nil {
			return err
		}
	}
	if n.addTo != "" {
		return nil
	}
	entry, err := yaml.Marshal([]access.Token{n.token})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nEntry for the list \"tokens\" of the scheduler's tokens file:\n\n  %s\n",
		strings.ReplaceAll(strings.TrimSpace(string(entry)), "\n", "\n  "))
	return err
}

// writeNew makes a file that only its owner can use. One that is there is an error.
func writeNew(path, text string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// addTo replaces a tokens file, as a whole, by one with one more entry. Its mode and its owner stay: it may be root who
// adds to the file of the service's own user.
func addTo(path string, token access.Token) error {
	mode := os.FileMode(0o600)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	keepOwner := func(*os.File) error { return nil }
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		keepOwner = func(next *os.File) error { return sameOwner(next, info) }
	}
	longer, err := access.Add(before, token)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	next, err := os.CreateTemp(filepath.Dir(path), ".tokens-*")
	if err != nil {
		return err
	}
	_, err = next.Write(longer)
	if err = errors.Join(err, next.Chmod(mode), keepOwner(next), next.Close()); err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return nil
}

// sameOwner gives a file the owner and group that another one has.
func sameOwner(file *os.File, as os.FileInfo) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	want, known := as.Sys().(*syscall.Stat_t)
	got, _ := info.Sys().(*syscall.Stat_t)
	if !known || want.Uid == got.Uid && want.Gid == got.Gid {
		return nil
	}
	return file.Chown(int(want.Uid), int(want.Gid))
}
