package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/cmd/internal/service"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/proto/describe"
	"github.com/tidemill/tidemill/scheduler/artifacts"
)

func newPushCommand() *cobra.Command {
	var p push
	var command *cobra.Command
	command = verb(&cobra.Command{
		Use:     "push FILE...",
		Aliases: []string{"register"},
		Short:   "Register an executor version, and move a channel to it",
		Long: `Register an executor version, and move a channel to it. Each FILE is the executor for one platform; version and
platform are read from the file itself. With --channel the channel is moved once all files are registered: at once, or by
a rollout as soon as a flag describes one.

A version never changes: other bytes under the same version and platform are refused. Repeating the whole command changes
nothing, and ends as it did before.

With --wait the rollout is followed until it is decided, with a line for each change. The server may restart or be away
for some minutes meanwhile.

` + rolloutExitCodes,
		Example: `  tidemill executors push bin/tidemill-executor-1.5.0
  tidemill executors push bin/tidemill-executor-1.5.0 --sign-key ci.pem --channel stable --wait --timeout 6h \
    --steps 10,50,100 --interval 30m --min-runs 20`,
		Args: cobra.MinimumNArgs(1),
	}, func(ctx context.Context, s *shell, files []string) error {
		return p.run(ctx, s, command, files)
	})
	command.Flags().StringVar(&p.version, "version", "", "the version that the files must have")
	command.Flags().StringVar(&p.signKey, "sign-key", "", "sign with the Ed25519 private key in this `file` (PEM, PKCS#8), not readable by everybody")
	command.Flags().StringVar(&p.channel, "channel", "", "the channel to move")
	p.move.flags(command)
	return command
}

// push is what the command's flags say.
type push struct {
	version, signKey, channel string
	move                      move
}

// pushed is what push shows to programs.
type pushed struct {
	Executor wire.Executor `json:"executor"`
	Created  bool          `json:"created"` // something was not registered before
	Channel  *wire.Channel `json:"channel,omitempty"`
}

// run sends nothing before all that can be wrong on this side has been looked at.
func (p *push) run(ctx context.Context, s *shell, command *cobra.Command, names []string) error {
	if err := p.check(command); err != nil {
		return err
	}
	sign, err := p.signer()
	if err != nil {
		return err
	}
	descriptions := make([]proto.Description, len(names))
	for i, name := range names {
		if descriptions[i], err = p.describe(name, descriptions[:i]); err != nil {
			return err
		}
	}
	var result pushed
	for i, name := range names {
		if err := result.upload(ctx, s, name, descriptions[i], sign); err != nil {
			return err
		}
	}
	if p.channel == "" {
		if s.json {
			return writeJSON(s.out, result)
		}
		return nil
	}
	channel, err := p.move.carryOut(ctx, s, p.channel, descriptions[0].Version)
	if channel.Name != "" {
		result.Channel = &channel
	}
	return showOutcome(s, result, channel, err)
}

func (p *push) check(command *cobra.Command) error {
	if err := p.move.check(command); err != nil {
		return err
	}
	if p.channel != "" {
		return nil
	}
	for _, name := range append([]string{"rollout", "allow-incompatible", "again", "wait"}, planFlags...) {
		if command.Flags().Changed(name) {
			return usageError(fmt.Errorf("--%s is about a channel: name it with --channel", name))
		}
	}
	return nil
}

// describe reads what a file says of itself and holds it to the flags and to the files before it.
func (p *push) describe(name string, before []proto.Description) (d proto.Description, err error) {
	file, err := os.Open(name)
	if err != nil {
		return d, usageError(fmt.Errorf("read executor: %w", err))
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return d, fmt.Errorf("read executor: %w", err)
	}
	if d, err = describe.Read(file, info.Size()); err != nil {
		return d, fmt.Errorf("read executor %s: %w", name, err)
	}
	if p.version != "" && p.version != d.Version {
		return d, usageError(fmt.Errorf("%s is version %s, not %s", name, d.Version, p.version))
	}
	for _, other := range before {
		if other.Version != d.Version {
			return d, usageError(fmt.Errorf("%s is version %s, the file before it %s: push one version at a time", name, d.Version, other.Version))
		}
		if other.OS == d.OS && other.Arch == d.Arch {
			return d, usageError(fmt.Errorf("%s is for %s-%s, as a file before it", name, d.OS, d.Arch))
		}
	}
	return d, nil
}

// upload registers one file and says so.
func (r *pushed) upload(ctx context.Context, s *shell, name string, d proto.Description, sign func(string) []byte) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read executor: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	platform := d.OS + "-" + d.Arch
	upload := client.Upload{Version: d.Version, Platform: platform, File: file, Sign: sign}
	meter := uploadMeter{out: s.err}
	if isTerminal(s.err) {
		upload.Progress = meter.show
	}
	executor, created, err := s.Register(ctx, upload)
	meter.clear()
	if err != nil {
		return err
	}
	r.Executor, r.Created = executor, r.Created || created
	if s.json {
		return nil
	}
	what := "was there already"
	if created {
		what = "is registered"
	}
	_, err = fmt.Fprintf(s.out, "executor version %s for %s %s\n", executor.Version, platform, what)
	return err
}

// signer reads the private key; nil without one.
func (p *push) signer() (func(sum string) []byte, error) {
	if p.signKey == "" {
		return nil, nil
	}
	text, err := service.ReadSecretFile(p.signKey)
	if err != nil {
		return nil, usageError(fmt.Errorf("--sign-key: %w", err))
	}
	wrong := func(why string) error {
		return usageError(fmt.Errorf("--sign-key: %s %s; make a key with: openssl genpkey -algorithm ed25519 -out NEW.pem", p.signKey, why))
	}
	block, _ := pem.Decode([]byte(text + "\n"))
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, wrong("holds no PEM block PRIVATE KEY (PKCS#8)")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, wrong("holds no PKCS#8 key") // the reason could quote the key
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, wrong("holds no Ed25519 key")
	}
	return func(sum string) []byte { return ed25519.Sign(key, artifacts.SignedText(sum)) }, nil
}

// uploadMeter draws on a terminal how much of a file has been sent.
type uploadMeter struct {
	out   io.Writer
	drawn time.Time // the last time; zero: never
}

func (m *uploadMeter) show(sent, size int64) {
	now := time.Now()
	if now.Sub(m.drawn) < 100*time.Millisecond && sent < size {
		return
	}
	m.drawn = now
	_, _ = fmt.Fprintf(m.out, "\r\x1b[Ksent %s of %s, %s", formatBytes(sent), formatBytes(size), formatPercent(float64(sent)/float64(max(size, 1))))
}

// clear removes the line, for what is written next.
func (m *uploadMeter) clear() {
	if !m.drawn.IsZero() {
		_, _ = fmt.Fprint(m.out, "\r\x1b[K")
	}
}
