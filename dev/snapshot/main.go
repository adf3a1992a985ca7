package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	commit := flag.String("commit", "", "whose sources are kept")
	output := flag.String("output", "", "file to be written")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := keep(ctx, *commit, *output); err != nil {
		fmt.Fprintln(os.Stderr, "snapshot:", err)
		os.Exit(1)
	}
}

// keep writes the archive of a commit.
func keep(ctx context.Context, commit, output string) (err error) {
	if commit == "" || output == "" {
		return errors.New("-commit and -output are needed")
	}
	said, err := command(ctx, ".", "git", "show", "--no-patch", "--format=%H %ct", commit+"^{commit}")
	if err != nil {
		return err
	}
	hash, second, _ := strings.Cut(strings.TrimSpace(string(said)), " ")
	seconds, err := strconv.ParseInt(second, 10, 64)
	if err != nil {
		return fmt.Errorf("read the time of commit %s: %w", hash, err)
	}
	tree, err := os.MkdirTemp("", "snapshot-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tree)) }()
	if err := checkOut(ctx, hash, tree); err != nil {
		return err
	}
	names, err := sources(ctx, tree)
	if err != nil {
		return err
	}
	data, err := pack(tree, names, hash, time.Unix(seconds, 0).UTC())
	if err != nil {
		return err
	}
	return os.WriteFile(output, data, 0o644)
}

// checkOut puts the files of a commit into dir, without touching the checkout.
func checkOut(ctx context.Context, hash, dir string) error {
	top, err := command(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	archive := filepath.Join(dir, "tree.tar")
	if _, err := command(ctx, strings.TrimSpace(string(top)), "git", "archive", "--output="+archive, hash); err != nil {
		return err
	}
	if _, err := command(ctx, dir, "tar", "-xf", archive); err != nil {
		return err
	}
	return os.Remove(archive)
}

// sources lists the files that the executor of a tree is built from, relative to it and sorted.
func sources(ctx context.Context, tree string) ([]string, error) {
	out, err := command(ctx, tree, "go", "list", "-deps", "-json", "./cmd/tidemill-executor")
	if err != nil {
		return nil, err
	}
	names := []string{"LICENSE", "go.mod", "go.sum"}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct{ Main bool }

			GoFiles, CgoFiles, IgnoredGoFiles, IgnoredOtherFiles, EmbedFiles []string
			CFiles, CXXFiles, HFiles, SFiles, SysoFiles                      []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		dir, err := filepath.Rel(tree, p.Dir)
		if err != nil {
			return nil, err
		}
		for _, file := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.IgnoredOtherFiles, p.EmbedFiles,
			p.CFiles, p.CXXFiles, p.HFiles, p.SFiles, p.SysoFiles) {
			if !strings.HasSuffix(file, "_test.go") {
				names = append(names, filepath.ToSlash(filepath.Join(dir, file)))
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// pack makes an archive that says nothing of when and where it was made.
func pack(tree string, names []string, hash string, at time.Time) ([]byte, error) {
	var packed bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zipped)
	add := func(name string, data []byte) error {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: at, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := archive.Write(data); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
		return nil
	}
	origin := fmt.Sprintf("What cmd/tidemill-executor of commit %s is built from, packed by dev/snapshot.\n", hash)
	if err := add("ORIGIN", []byte(origin)); err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(tree, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		if err := add(name, data); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return packed.Bytes(), nil
}

// command gives what a program wrote to its standard output; the error has what it said besides.
func command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &said
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, args[0], err, said.Bytes())
	}
	return out, nil
}
