package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/cmd/tidemill-dev/platform"
)

// session is a platform with the checkout that its executors are built from.
type session struct {
	out        io.Writer
	workingDir string // of the user: the embedded S3 changes the process's own
	checkout   string
	platform   *platform.Platform
	client     *client.Client
}

// begin builds the executor, starts the platform, registers the executor and points the channel stable at it.
// The caller ends the session.
func begin(ctx context.Context, out io.Writer, cfg platform.Config) (*session, error) {
	workingDir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working directory: %w", err)
	}
	dir, err := checkout()
	if err != nil {
		return nil, err
	}
	file, err := buildExecutor(ctx, out, dir, version)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "starting S3, a Mesos master, its agents (%d) and the scheduler\n", cfg.Agents)
	p, err := platform.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &session{out: out, workingDir: workingDir, checkout: dir, platform: p}
	if err := s.prepare(ctx, cfg.Token, file); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *session) end() error {
	if s.client != nil {
		s.client.Close()
	}
	return s.platform.Stop()
}

func (s *session) prepare(ctx context.Context, token, executor string) error {
	var err error
	s.client, err = client.New(client.Config{Server: s.platform.API, Token: token})
	if err != nil {
		return err
	}
	stable, err := s.registerCheckout(ctx, executor)
	if err != nil {
		return err
	}
	var refused *wire.Error
	_, err = s.client.SetChannel(ctx, "stable", wire.SetChannel{Version: stable})
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusConflict: // a rollout of an earlier start decides
		fmt.Fprintf(s.out, "channel stable stays as it was: %s\n", refused.Detail)
	case err != nil:
		return fmt.Errorf("point channel stable at %s: %w", stable, err)
	}
	files, bytes, err := s.platform.LoadExamples(ctx, filepath.Join(s.checkout, "examples", "data"))
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "put %d example files (%.1f MB) into S3\n", files, float64(bytes)/1e6)
	return nil
}

// registerCheckout registers the executor built from this checkout and returns its version. A data directory of an earlier
// start may have that version from an older checkout, and versions never change: then this one gets a name of its own,
// made from the file's sum.
func (s *session) registerCheckout(ctx context.Context, file string) (string, error) {
	err := s.register(ctx, version, file)
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		return version, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("name executor version: %w", err)
	}
	sum := sha256.Sum256(data)
	changed := fmt.Sprintf("%s.%x", version, sum[:4])
	fmt.Fprintf(s.out, "executor %s is registered from an older checkout\n", version)
	if file, err = buildExecutor(ctx, s.out, s.checkout, changed); err != nil {
		return "", err
	}
	return changed, s.register(ctx, changed, file)
}

// register uploads an executor's file.
func (s *session) register(ctx context.Context, version, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("register executor %s: %w", version, err)
	}
	defer f.Close()
	_, created, err := s.client.Register(ctx, client.Upload{Version: version, Platform: platformName, File: f})
	if err != nil {
		return fmt.Errorf("register executor %s: %w", version, err)
	}
	if created {
		fmt.Fprintf(s.out, "registered executor %s\n", version)
	}
	return nil
}
