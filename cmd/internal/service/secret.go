package service

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tidemill/tidemill/storage"
)

// Names of the environment variables that hold secrets.
const (
	TokenVariable       = "TIDEMILL_TOKEN"
	MesosSecretVariable = "TIDEMILL_MESOS_SECRET"
	AgentSecretVariable = "TIDEMILL_MESOS_AGENT_SECRET"
)

// maxSecret bounds a secret's file, in bytes.
const maxSecret = 4096

// ReadSecrets fills in the token and Mesos' secrets from their files or from the environment. Both at once, or a file
// that everybody can read, is an error. A secret never comes as a flag: others can see those.
func (c *Config) ReadSecrets(getenv func(string) string) (err error) {
	if c.Token, err = secret("token-file", c.TokenFile, TokenVariable, getenv); err != nil {
		return err
	}
	if c.Mesos.Secret, err = secret("mesos-secret-file", c.Mesos.SecretFile, MesosSecretVariable, getenv); err != nil {
		return err
	}
	c.Mesos.AgentSecret, err = secret("mesos-agent-secret-file", c.Mesos.AgentSecretFile, AgentSecretVariable, getenv)
	return err
}

func secret(flag, path, variable string, getenv func(string) string) (storage.Secret, error) {
	value := getenv(variable)
	switch {
	case path == "" && value == "":
		return storage.Secret{}, nil
	case path == "":
		return storage.NewSecret(value), nil
	case value != "":
		return storage.Secret{}, fmt.Errorf("--%s: %s is set, too: use one of them", flag, variable)
	}
	text, err := ReadSecretFile(path)
	if err != nil {
		return storage.Secret{}, fmt.Errorf("--%s: %w", flag, err)
	}
	return storage.NewSecret(text), nil
}

// ReadSecretFile reads the one secret that a file holds, without white space around it. A file that everybody can read
// or write is an error, which has the path and never the content.
func ReadSecretFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() // only read from
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("%s has mode %04o: everybody on this machine can use it, make it 0600 or 0640", path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || len(data) > maxSecret {
		return "", errors.New(path + " holds no secret: want one line of text")
	}
	return text, nil
}
