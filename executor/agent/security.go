package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// Variables by which libprocess tells an agent, and everything that it starts, to use TLS.
const caVariable = "LIBPROCESS_SSL_CA_FILE"

var tlsVariables = []string{"LIBPROCESS_SSL_ENABLED", "MESOS_SSL_ENABLED"}

// readSecurity reads whether the agent speaks TLS, and whom to trust then.
func (e *Environment) readSecurity(getenv func(string) string) error {
	for _, name := range tlsVariables {
		if value := getenv(name); value == "1" || value == "true" {
			e.TLS = true
		}
	}
	file := getenv(caVariable)
	if !e.TLS || file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read environment: %s: %w", caVariable, err)
	}
	e.Authorities = x509.NewCertPool()
	if !e.Authorities.AppendCertsFromPEM(pem) {
		return fmt.Errorf("read environment: %s: %s holds no certificate in PEM form", caVariable, file)
	}
	return nil
}

// tlsConfig trusts the agent if its certificate is signed by an authority and made out to its endpoint. Agents name
// themselves by address, while certificates are often made out to names only. Such a certificate is good enough if it is
// signed by an authority that the agent's own configuration names: it is on this machine.
func tlsConfig(e Environment) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: e.Authorities}
	host, _, err := net.SplitHostPort(e.Endpoint)
	if err != nil || net.ParseIP(host) == nil || e.Authorities == nil {
		return config
	}
	config.InsecureSkipVerify = true // because VerifyConnection does it
	config.VerifyConnection = func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		options := x509.VerifyOptions{Roots: e.Authorities, Intermediates: x509.NewCertPool()}
		for _, certificate := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		if len(leaf.IPAddresses) > 0 {
			options.DNSName = host
		}
		_, err := leaf.Verify(options)
		return err
	}
	return config
}

// explain says what to do about a certificate that is not trusted.
func explain(err error) error {
	var authority x509.UnknownAuthorityError
	if errors.As(err, &authority) {
		return fmt.Errorf("the agent's certificate is not signed by an authority that is trusted: set %s for the agent: %w", caVariable, err)
	}
	return err
}
