package hdfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/storage"
)

// hadoopConf writes configuration files of Hadoop and gives their folder.
func hadoopConf(t *testing.T, hdfsSite string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"core-site.xml": `<configuration><property><name>fs.defaultFS</name><value>hdfs://prod</value></property></configuration>`,
		"hdfs-site.xml": `<configuration>` + hdfsSite + `</configuration>`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const twoServices = `
<property><name>dfs.nameservices</name><value>prod,test</value></property>
<property><name>dfs.ha.namenodes.prod</name><value>nn1, nn2</value></property>
<property><name>dfs.namenode.rpc-address.prod.nn1</name><value>one.example.com:9000</value></property>
<property><name>dfs.namenode.rpc-address.prod.nn2</name><value>two.example.com</value></property>
<property><name>dfs.namenode.rpc-address.test</name><value>three.example.com:8020</value></property>
<property><name>dfs.namenode.kerberos.principal</name><value>hdfs/_HOST@EXAMPLE.COM</value></property>
`

func TestResolve(t *testing.T) {
	conf := hadoopConf(t, twoServices)
	tests := []struct {
		config    Config
		authority string
		want      []string // addresses
		reason    string   // instead
	}{
		{Config{NameNodes: []string{"nn1", "nn2:9000"}, Nameservice: "prod"}, "prod", []string{"nn1:8020", "nn2:9000"}, ""},
		{Config{NameNodes: []string{"nn1", "nn2:9000"}}, "nn1", []string{"nn1:8020", "nn2:9000"}, ""},
		{Config{NameNodes: []string{"nn1", "nn2:9000"}}, "nn1:8020", []string{"nn1:8020", "nn2:9000"}, ""},
		{Config{NameNodes: []string{"nn1"}}, "nn1:9000", nil, "it reaches hdfs://nn1:8020, not hdfs://nn1:9000"},
		{Config{NameNodes: []string{"nn1"}, Nameservice: "prod"}, "nn1", nil, "it reaches hdfs://prod, not hdfs://nn1"},
		{Config{HadoopConf: conf}, "prod", []string{"one.example.com:9000", "two.example.com:8020"}, ""},
		{Config{HadoopConf: conf}, "test", []string{"three.example.com:8020"}, ""},
		{Config{HadoopConf: conf}, "other", nil, "it reaches hdfs://prod, hdfs://test, not hdfs://other"},
		{Config{HadoopConf: t.TempDir()}, "prod", nil, "there is no core-site.xml"},
		{Config{HadoopConf: hadoopConf(t, `<property><name>hadoop.security.authentication</name><value>kerberos</value></property>`+twoServices)}, "prod", nil, `give "kerberos"`},
		{Config{HadoopConf: hadoopConf(t, `<property><name>dfs.data.transfer.protection</name><value>integrity</value></property>`+twoServices)}, "prod", nil, "integrity, which is not supported"},
	}
	for _, tt := range tests {
		p, err := tt.config.resolve(tt.authority)
		if tt.reason != "" {
			if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%+v, %s: got error %v, want ErrInvalid with %q", tt.config, tt.authority, err, tt.reason)
			}
			continue
		}
		if err != nil || !slices.Equal(p.options.Addresses, tt.want) {
			t.Errorf("%+v, %s: got %q, %v, want %q", tt.config, tt.authority, p.options.Addresses, err, tt.want)
		}
	}
	p, err := Config{HadoopConf: conf, User: "tidemill"}.resolve("prod")
	if err != nil || p.options.User != "tidemill" || p.options.KerberosServicePrincipleName != "hdfs/_HOST" {
		t.Errorf("got %+v, %v", p.options, err)
	}
}

func TestKeysThatAreNoNames(t *testing.T) {
	s := newStore(&pool{place: place{authority: "prod"}}, "/srv/lake")
	for key, want := range map[string]string{
		"srv/lake/a:b":               "no colon",
		"srv/lake/a//b":              "empty",
		"srv/lake/../b":              "empty",
		"srv/lake/a/":                "empty",
		"srv/lake/.tidemill-draft/x": "not for objects",
		"srv/lake":                   "outside of /srv/lake",
		"srv/lakes/x":                "outside of /srv/lake",
		"etc/passwd":                 "outside of /srv/lake",
	} {
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want ErrInvalid with %q", key, err, want)
		}
	}
}
