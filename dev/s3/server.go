package s3

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

const (
	startTimeout   = 10 * time.Second
	maxConnections = 1024
	maxParts       = 10_000
	maxCopy        = 5 << 30 // bytes, as S3 has it
)

// Config says where the server keeps objects and how clients reach it.
type Config struct {
	DataDir   string // absolute; made if it is not there, kept afterwards
	Address   string // loopback host:port; empty or port 0: a free port on 127.0.0.1
	Region    string // empty: us-east-1
	AccessKey string // empty: random, the secret key too
	SecretKey string
}

func (c *Config) complete() error {
	if !filepath.IsAbs(c.DataDir) {
		return fmt.Errorf("check S3 data folder %q: it is not an absolute path", c.DataDir)
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return errors.New("check S3 keys: give both the access key and the secret key, or neither")
	}
	if c.AccessKey == "" {
		c.AccessKey, c.SecretKey = "dev-"+rand.Text(), rand.Text()
	}
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.Address = cmp.Or(c.Address, "127.0.0.1:0")
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("check S3 address %q: %w", c.Address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("check S3 address %q: its host is not a loopback address", c.Address)
	}
	return nil
}

// Server is a running S3.
type Server struct {
	config  Config
	address string
	cancel  context.CancelFunc
	done    chan struct{} // closed when versitygw has returned
	err     error         // of versitygw; read after done

	stop      sync.Once
	stopErr   error
	workspace string // the working directory to go back to
}

// Start returns when the server answers. It runs until ctx ends or Stop is
// called; Stop must be called in both cases.
func Start(ctx context.Context, c Config) (*Server, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	objects := filepath.Join(c.DataDir, "objects")
	if err := os.MkdirAll(objects, 0o755); err != nil {
		return nil, fmt.Errorf("make S3 data folder: %w", err)
	}
	if err := (meta.XattrMeta{}).Test(objects); err != nil {
		return nil, fmt.Errorf("check S3 data folder %q for extended attributes: %w", objects, err)
	}
	workspace, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working directory: %w", err)
	}
	const tries = 5 // a free port may be taken before versitygw listens on it
	for try := 1; ; try++ {
		s := &Server{config: c, workspace: workspace, done: make(chan struct{})}
		err := s.start(ctx, objects)
		if err == nil {
			return s, nil
		}
		err = errors.Join(err, os.Chdir(workspace))
		if _, port, _ := net.SplitHostPort(c.Address); port != "0" || try == tries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("start S3 on %s: %w", c.Address, err)
		}
	}
}

func (s *Server) start(ctx context.Context, objects string) error {
	address, err := choosePort(s.config.Address)
	if err != nil {
		return err
	}
	s.address = address
	backend, err := posix.New(objects, meta.XattrMeta{}, posix.PosixOpts{CopyObjectThreshold: maxCopy})
	if err != nil {
		return fmt.Errorf("open folder %q: %w", objects, err)
	}
	root := auth.Account{Access: s.config.AccessKey, Secret: s.config.SecretKey, Role: auth.RoleAdmin}
	ready := make(chan struct{})
	// Ended before it listens, versitygw would go on to listen for ever.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.err = embedgw.RunVersityGW(run, quietRequests{backend}, &embedgw.Config{
			RootUserAccess:    root.Access,
			RootUserSecret:    root.Secret,
			Region:            s.config.Region,
			Ports:             []string{address},
			MaxConnections:    maxConnections,
			MaxRequests:       maxConnections,
			MultipartMaxParts: maxParts,
			KeepAlive:         true,
			Quiet:             true,
			IAMService:        auth.NewIAMServiceSingle(root), // the default announces itself on standard output
			S3Options:         []s3api.Option{s3api.WithOnListen(func() { close(ready) }), quietConnections()},
		})
	}()
	if err := s.await(ctx, ready); err != nil {
		s.cancel()
		<-s.done
		return cmp.Or(s.err, err) // what versitygw says is nearer to the cause
	}
	context.AfterFunc(ctx, cancel)
	return nil
}

// await returns when the server answers.
func (s *Server) await(ctx context.Context, listening <-chan struct{}) error {
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-listening:
		return askReady(ctx, s.URL())
	case <-s.done:
		return errors.New("it has ended")
	case <-timer.C:
		return fmt.Errorf("wait for it to listen: nothing after %s", startTimeout)
	}
}

// choosePort replaces port 0: versitygw does not tell which port it was given.
func choosePort(address string) (string, error) {
	if !strings.HasSuffix(address, ":0") {
		return address, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// URL is the endpoint for clients with path style addressing.
func (s *Server) URL() string { return "http://" + s.address }

// Region is what clients sign for.
func (s *Server) Region() string { return s.config.Region }

// AccessKey is the root account's.
func (s *Server) AccessKey() string { return s.config.AccessKey }

// SecretKey is the root account's.
func (s *Server) SecretKey() string { return s.config.SecretKey }

// Stop ends the server, waits until nothing of it runs and restores the working
// directory. It returns what made the server end by itself, if anything did. It may be called
// again.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		s.cancel()
		<-s.done
		if s.err != nil && !errors.Is(s.err, context.Canceled) {
			s.stopErr = fmt.Errorf("run S3: %w", s.err)
		}
		if err := os.Chdir(s.workspace); err != nil {
			s.stopErr = errors.Join(s.stopErr, fmt.Errorf("restore working directory: %w", err))
		}
	})
	return s.stopErr
}
