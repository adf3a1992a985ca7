package minio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startTimeout = time.Minute // of a loaded machine
	pollEvery    = 20 * time.Millisecond
	// AccessKey and SecretKey are the administrator's, in a server that listens on loopback only.
	AccessKey = "tidemill"
	SecretKey = "tidemill-minio"
)

// Server is a MinIO.
type Server struct {
	url     string
	process *exec.Cmd
	logFile string
	exited  chan struct{}
}

// Start builds MinIO if that was never done, starts it with its data below dir, and returns when it serves. It runs until
// Stop, or until this process ends.
func Start(ctx context.Context, dir string) (*Server, error) {
	program, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("start MinIO: %w", err)
	}
	s := &Server{url: "http://" + address, logFile: filepath.Join(dir, "log"), exited: make(chan struct{})}
	log, err := os.Create(s.logFile)
	if err != nil {
		return nil, fmt.Errorf("start MinIO: %w", err)
	}
	cmd := exec.Command(program, "server", "--quiet", "--address", address, filepath.Join(dir, "data"))
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "GOMEMLIMIT=256MiB",
		"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start MinIO: %w", err), log.Close())
	}
	s.process = cmd
	go func() {
		_ = cmd.Wait() // it is killed in the end
		_ = log.Close()
		close(s.exited)
	}()
	if err := s.await(ctx); err != nil {
		said, _ := os.ReadFile(s.logFile)
		return nil, errors.Join(fmt.Errorf("start MinIO: %w\n%s", err, said), s.Stop())
	}
	return s, nil
}

// freeAddress finds a port on loopback that nobody listens on at this moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await returns when the server refuses a request without keys. It calls itself ready before it can do that.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/", nil)
		if err != nil {
			return err
		}
		if answer, err := client.Do(request); err == nil {
			if err := answer.Body.Close(); err == nil && answer.StatusCode == http.StatusForbidden {
				return nil
			}
		}
		select {
		case <-time.After(pollEvery):
		case <-s.exited:
			return errors.New("it has ended")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// URL is the endpoint.
func (s *Server) URL() string { return s.url }

// Stop ends the server and returns when it has ended. It may be called again.
func (s *Server) Stop() error {
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop MinIO: %w", err)
	}
	<-s.exited
	return nil
}
