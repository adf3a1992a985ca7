package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/dev/build"
)

// version is what `up` and `demo` call the executor that they build from this checkout.
const version = "0.1.0-dev"

func newBuildCommand() *cobra.Command {
	var name, output string
	c := &cobra.Command{
		Use:   "build-executor --version VERSION --output FILE",
		Short: "Build an executor version from this checkout, ready to be registered",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := checkout()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
				return fmt.Errorf("make directory for the executor: %w", err)
			}
			took, err := build.Executor(c.Context(), dir, output, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "built %s, version %s, in %s\n", output, name, took.Round(100*time.Millisecond))
			return nil
		},
	}
	c.Flags().StringVar(&name, "version", version, "a semantic version or a commit-like name")
	c.Flags().StringVar(&output, "output", "bin/tidemill-executor", "the file to write")
	return c
}

// checkout is the top directory of the source tree that the working directory lies in.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find checkout: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "tidemill-executor")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find checkout: run this inside the source tree of tidemill, whose executor is built")
		}
		dir = parent
	}
}

// buildExecutor builds into the checkout's bin directory and says so while it lasts.
func buildExecutor(ctx context.Context, out io.Writer, dir, version string) (string, error) {
	file := filepath.Join(dir, "bin", "tidemill-executor-"+version)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", fmt.Errorf("make directory for the executor: %w", err)
	}
	begun := time.Now()
	fmt.Fprintf(out, "building executor %s from this checkout\n", version)
	done := make(chan struct{})
	said := make(chan struct{})
	go func() {
		defer close(said)
		ticker := time.NewTicker(15 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				fmt.Fprintf(out, "  still building after %s: the first time, the engine (DuckDB, some 100 MB) is fetched and linked\n",
					time.Since(begun).Round(time.Second))
			}
		}
	}()
	_, err := build.Executor(ctx, dir, file, version)
	close(done)
	<-said
	if err != nil {
		return "", err
	}
	fmt.Fprintf(out, "  done in %s\n", time.Since(begun).Round(100*time.Millisecond))
	return file, nil
}
