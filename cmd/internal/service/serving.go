package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/api/audit"
	"github.com/tidemill/tidemill/storage/reread"
)

// This file has how requests come in: addresses, certificates, who may do what.

// server is one address and what answers there.
type server struct {
	*http.Server
	listener net.Listener
}

// serve answers until the server is shut down.
func (s server) serve() (err error) {
	if s.TLSConfig == nil {
		err = s.Serve(s.listener)
	} else {
		err = s.ServeTLS(s.listener, "", "") // the certificate is the configuration's
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// listen takes the ports, so that the URLs are known before the framework names them to Mesos.
func (s *service) listen() (err error) {
	if s.listener, err = s.port("listen", s.cfg.Listen); err != nil {
		return err
	}
	if s.cfg.ArtifactListen != "" {
		if s.fetches, err = s.port("artifact-listen", s.cfg.ArtifactListen); err != nil {
			return err
		}
	}
	if s.url = s.cfg.URL; s.url == "" {
		s.url = ownURL(s.scheme(), s.listener.Addr())
	}
	return nil
}

// port listens at an address, and closes it in the end unless its server has.
func (s *service) port(flag, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	s.closers = append(s.closers, func() error {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return listener, nil
}

// scheme is that of the API's URLs.
func (s *service) scheme() string {
	if s.cfg.TLS.CertFile != "" {
		return "https"
	}
	return "http"
}

// ownURL of an address that stands for all of a machine's is under the machine's name.
func ownURL(scheme string, address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return scheme + "://" + address.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// artifactURL is where agents fetch executors.
func (s *service) artifactURL() string {
	url := s.cfg.ArtifactURL
	switch {
	case url != "":
	case s.fetches != nil:
		url = ownURL("http", s.fetches.Addr()) + "/artifacts"
	default:
		url = strings.TrimRight(s.url, "/") + "/artifacts"
	}
	return strings.TrimRight(url, "/")
}

// openAccess opens who may do what, and where it is written what they did.
func (s *service) openAccess() (err error) {
	s.guard, err = access.Open(access.Config{Token: s.cfg.Token, File: s.cfg.TokensFile, Rate: s.cfg.Submit.Rate, Burst: s.cfg.Submit.Burst, Log: s.log})
	if err != nil {
		return fmt.Errorf("--tokens-file: %w", err)
	}
	switch path := s.cfg.AuditLog; path {
	case "-":
		s.audit = audit.To(os.Stdout)
	case "":
		s.audit, err = audit.Open(filepath.Join(s.cfg.DataDir, "audit.log"))
	default:
		s.audit, err = audit.Open(path)
	}
	if err != nil {
		return fmt.Errorf("--audit-log: %w", err)
	}
	s.closers = append(s.closers, s.audit.Close)
	s.numbers.Access(s.guard.Err, s.audit.Failures)
	return nil
}

// makeServers makes the servers of a handler.
func (s *service) makeServers(handler *api.Handler) error {
	s.servers = []server{{handler.Server(), s.listener}}
	if s.fetches != nil {
		s.servers = append(s.servers, server{handler.ArtifactServer(), s.fetches})
	}
	for _, one := range s.servers {
		one.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)
	}
	if s.cfg.TLS.CertFile == "" {
		return nil
	}
	certificate, err := reread.Open([]string{s.cfg.TLS.CertFile, s.cfg.TLS.KeyFile}, readCertificate, s.log)
	if err != nil {
		return fmt.Errorf("--tls-cert-file: %w", err)
	}
	s.servers[0].TLSConfig = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate.Get(), nil },
	}
	s.numbers.Certificate(func() time.Time { return certificate.Get().Leaf.NotAfter }, certificate.Err)
	return nil
}

// readCertificate makes a certificate of its file and that of its key.
func readCertificate(files []reread.File) (*tls.Certificate, error) {
	if err := files[1].Private(); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(files[0].Data, files[1].Data)
	if err != nil {
		return nil, fmt.Errorf("read certificate %q with key %q: %w", files[0].Path, files[1].Path, err)
	}
	return &pair, nil
}

// authorities reads certificates of authorities, PEM. No path means those of the system, which is nil.
func authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read authorities %q: there is no certificate in it", path)
	}
	return pool, nil
}

// warn tells of what is allowed and better done otherwise. A URL of https:// says that a proxy speaks TLS.
func (s *service) warn() {
	host, _, err := net.SplitHostPort(s.listener.Addr().String())
	if err == nil && !loopback(host) && s.cfg.TLS.CertFile == "" && !strings.HasPrefix(s.cfg.URL, "https://") {
		s.log.Warn("tokens and specs can be read on the network: set --tls-cert-file and --tls-key-file, or --url to that of a proxy that speaks TLS", "listen", s.listener.Addr().String())
	}
}

// shutdown lets requests end, and cuts off those that take too long.
func (s *service) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	var errs []error
	for _, one := range s.servers {
		err := one.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			s.log.Warn("requests were cut off", "after", shutdownGrace)
			err = one.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("stop serving %s: %w", one.listener.Addr(), err))
		}
	}
	return errors.Join(errs...)
}
