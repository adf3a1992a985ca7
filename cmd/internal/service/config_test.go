package service

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string // "" if it is good
	}{
		"IPv6 loopback":                {func(c *Config) { c.Listen = "[::1]:8080" }, ""},
		"loopback by name":             {func(c *Config) { c.Listen = "localhost:0" }, ""},
		"another loopback":             {func(c *Config) { c.Listen = "127.0.0.2:80" }, ""},
		"all addresses":                {func(c *Config) { c.Listen = "0.0.0.0:8080" }, "--listen: 0.0.0.0:8080 can be reached from other machines: a token is needed"},
		"no address is all of them":    {func(c *Config) { c.Listen = ":8080" }, "--listen: :8080 can be reached"},
		"all IPv6 addresses":           {func(c *Config) { c.Listen = "[::]:8080" }, "--listen"},
		"a name may be anywhere":       {func(c *Config) { c.Listen = "tidemill.example:8080" }, "--listen"},
		"all addresses, with a token":  {func(c *Config) { c.Listen, c.Token = ":8080", storage.NewSecret("t") }, ""},
		"all addresses, with a file":   {func(c *Config) { c.Listen, c.TokensFile = ":8080", "tokens.yaml" }, ""},
		"a certificate without a key":  {func(c *Config) { c.TLS.CertFile = "tls.crt" }, "--tls-cert-file: a certificate and its key"},
		"a key without a certificate":  {func(c *Config) { c.TLS.KeyFile = "tls.key" }, "--tls-cert-file: a certificate and its key"},
		"artefacts without a port":     {func(c *Config) { c.ArtifactListen = "127.0.0.1" }, "--artifact-listen"},
		"a negative rate":              {func(c *Config) { c.Submit.Rate = -1 }, "--submit-rate"},
		"no burst":                     {func(c *Config) { c.Submit.Burst = 0 }, "--submit-burst"},
		"no port":                      {func(c *Config) { c.Listen = "127.0.0.1" }, "--listen: \"127.0.0.1\" is not host:port"},
		"token of two words":           {func(c *Config) { c.Token = storage.NewSecret("a b") }, "--token-file: the token contains white space"},
		"URL without scheme":           {func(c *Config) { c.URL = "tidemill.example" }, "--url"},
		"URL with credentials":         {func(c *Config) { c.URL = "http://u:p@tidemill.example" }, "--url"},
		"artefact URL of a local path": {func(c *Config) { c.ArtifactURL = "/var/artifacts" }, "--artifact-url"},
		"no data directory":            {func(c *Config) { c.DataDir = "" }, "--data-dir"},
		"log format":                   {func(c *Config) { c.LogFormat = "xml" }, "--log-format"},
		"ZooKeeper with half a URL":    {func(c *Config) { c.Mesos.Master = "zk://hush@a:2181/mesos" }, "--mesos-master: parse ZooKeeper URL"},
		"a master with credentials":    {func(c *Config) { c.Mesos.Master = "http://x:hush@a:5050" }, "--mesos-master: it holds credentials"},
		"one of several masters":       {func(c *Config) { c.Mesos.Master = "http://a:5050,b" }, `--mesos-master: "b"`},
		"a store that is no ensemble":  {func(c *Config) { c.Store, c.Objects = storage.NewSecret("etcd://hush@a"), "file:///x" }, "--store: parse ZooKeeper URL"},
		"a store without objects":      {func(c *Config) { c.Store = storage.NewSecret("zk://a/tidemill") }, "--objects: it is empty"},
		"objects without a scheme":     {func(c *Config) { c.Objects = "bucket" }, "--objects"},
		"a short session":              {func(c *Config) { c.StoreSessionTimeout = time.Millisecond }, "--store-session-timeout"},
		"a peer without a scheme":      {func(c *Config) { c.PeerURL = "a:8080" }, "--peer-url"},
		"an agents' secret alone":      {func(c *Config) { c.Mesos.AgentSecret = storage.NewSecret("hush") }, "--mesos-agent-principal"},
		"everybody's role":             {func(c *Config) { c.Mesos.Roles = []string{"*"} }, "--mesos-roles"},
		"no role":                      {func(c *Config) { c.Mesos.Roles = nil }, "--mesos-roles: at least one"},
		"a role twice":                 {func(c *Config) { c.Mesos.Roles = []string{"a/b", "a/b"} }, "--mesos-roles"},
		"secret of nobody":             {func(c *Config) { c.Mesos.Secret = storage.NewSecret("s") }, "--mesos-principal"},
		"too little CPU":               {func(c *Config) { c.Executor.CPUs = 0.001 }, "--executor-cpus"},
		"too little memory":            {func(c *Config) { c.Executor.Memory = 1 << 20 }, "--executor-memory"},
		"negative linger":              {func(c *Config) { c.Executor.Linger = -1 }, "--executor-linger"},
		"stalled at once":              {func(c *Config) { c.Scheduling.StallAfter = time.Second }, "--scheduling-stall-after"},
		"no runs kept":                 {func(c *Config) { c.Scheduling.KeepRuns = 0 }, "--scheduling-keep-runs"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Defaults()
			test.change(&c)
			err := c.Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestReadSecrets(t *testing.T) {
	file := func(content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		file, variable string
		want           string
		fails          string
	}{
		"neither":           {},
		"variable":          {variable: "hush", want: "hush"},
		"file":              {file: file("hush\n", 0o600), want: "hush"},
		"for a group":       {file: file("hush\n", 0o640), want: "hush"},
		"both":              {file: file("hush\n", 0o600), variable: "hush", fails: "is set, too"},
		"readable by all":   {file: file("hush\n", 0o644), fails: "mode 0644"},
		"empty file":        {file: file(" \n", 0o600), fails: "holds no secret"},
		"not a secret":      {file: file(strings.Repeat("x", 5000), 0o600), fails: "holds no secret"},
		"file that is gone": {file: filepath.Join(t.TempDir(), "none"), fails: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, flag := range []string{"--token-file", "--mesos-secret-file"} {
				var c Config
				path, variable, secret := &c.TokenFile, TokenVariable, &c.Token
				if flag == "--mesos-secret-file" {
					path, variable, secret = &c.Mesos.SecretFile, MesosSecretVariable, &c.Mesos.Secret
				}
				*path = test.file
				err := c.ReadSecrets(func(name string) string {
					if name == variable {
						return test.variable
					}
					return ""
				})
				if test.fails == "" {
					if err != nil || secret.Reveal() != test.want {
						t.Errorf("%s: got %q, %v, want %q", flag, secret.Reveal(), err, test.want)
					}
					continue
				}
				if err == nil || !strings.HasPrefix(err.Error(), flag) || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("%s: got %v, want %q", flag, err, test.fails)
				}
				if err != nil && strings.Contains(err.Error(), "hush") {
					t.Errorf("%s: the secret is in the error: %v", flag, err)
				}
			}
		})
	}
}

func TestOwnURL(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80",
		"[::1]:80":     "http://[::1]:80",
		"0.0.0.0:80":   "http://" + name + ":80",
		"[::]:80":      "http://" + name + ":80",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := ownURL("http", tcp); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

// What a service is told about executors reaches the core.
func TestCoreConfiguration(t *testing.T) {
	c := Defaults()
	c.ArtifactURL = "http://artifacts.example/"
	c.Executor.ConnectionsFile = "/etc/tidemill/connections.json"
	c.Scheduling.StallAfter = 7 * time.Second
	c.Mesos.Roles = []string{"data/batch", "data/stream"}
	s := &service{cfg: c, url: "http://127.0.0.1:8080"}
	got := s.core()
	if got.ArtifactURL != "http://artifacts.example" || got.ConnectionsFile != c.Executor.ConnectionsFile || got.StallAfter != 7*time.Second ||
		!slices.Equal(got.Roles, c.Mesos.Roles) || len(got.Kinds) == 0 || got.ExecutorInfo == nil {
		t.Errorf("got %+v", got)
	}
	s.cfg.ArtifactURL = ""
	if got := s.core().ArtifactURL; got != "http://127.0.0.1:8080/artifacts" {
		t.Errorf("artefact URL: got %s", got)
	}
}

// A folder of objects may be a mount that has not come up: it is asked for at the start, and never made.
func TestObjectsMustBeThere(t *testing.T) {
	keys, err := connections.Load("")
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	cfg := Defaults()
	there := t.TempDir()
	cfg.Objects = "file://" + there
	if _, err := openObjects(t.Context(), cfg, keys); err != nil {
		t.Error(err)
	}
	missing := filepath.Join(there, "not mounted")
	cfg.Objects = "file://" + missing
	if _, err := openObjects(t.Context(), cfg, keys); err == nil || !strings.Contains(err.Error(), "--objects: file://"+missing+" must be there before the scheduler starts") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the folder was made")
	}
	if err := os.WriteFile(missing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openObjects(t.Context(), cfg, keys); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("got %v", err)
	}
}
