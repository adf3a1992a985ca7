package minio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// version is the last of the open-source releases, which have no tags that Go understands.
const version = "v0.0.0-20260212201848-7aac2a2c5b7c"

// ErrNoGo: the program is not in the cache, and there is no go to build it with.
var ErrNoGo = errors.New("there is no go to build MinIO with")

// Built says whether the program is in the cache, so that starting it takes a second.
func Built() bool {
	program, err := path()
	if err != nil {
		return false
	}
	_, err = os.Stat(program)
	return err == nil
}

func path() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for MinIO: %w", err)
	}
	return filepath.Join(cache, "tidemill", "minio-"+version, "minio"), nil
}

// Build returns the program's path, building it if that was never done. It blocks while another process builds it. ErrNoGo.
func Build(ctx context.Context) (string, error) {
	program, err := path()
	if err != nil {
		return "", err
	}
	if Built() {
		return program, nil
	}
	folder := filepath.Dir(program)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("make folder for MinIO: %w", err)
	}
	lock, err := os.OpenFile(folder+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("lock folder for MinIO: %w", err)
	}
	defer func() { _ = lock.Close() }() // nothing was written; closing unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock folder for MinIO: %w", err)
	}
	if Built() {
		return program, nil // another process was faster
	}
	return program, build(ctx, folder)
}

// build lets go install write the program next to folder, and moves it there once it is whole.
func build(ctx context.Context, folder string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return ErrNoGo
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), "build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // what is left there hurts nobody
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/minio/minio@"+version)
	cmd.Dir = work // outside of any module
	cmd.Env = append(os.Environ(), "GOBIN="+work, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build MinIO: %w\n%s", err, bytes.TrimSpace(out))
	}
	return os.Rename(filepath.Join(work, "minio"), filepath.Join(folder, "minio"))
}
