package hdfs

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	devhdfs "github.com/tidemill/tidemill/dev/hdfs"
	"github.com/tidemill/tidemill/dev/hdfs/hdfstest"
	"github.com/tidemill/tidemill/storage"
)

// A store goes on with the other name node when the active one is killed, in the middle of a read, too.
func TestNameNodesTakeOver(t *testing.T) {
	cluster := hdfstest.Start(t, devhdfs.Config{Two: true})
	root := connectSuper(t, cluster)
	for name, config := range map[string]Config{
		"by name nodes":    {NameNodes: cluster.NameNodes(), Nameservice: cluster.Nameservice()},
		"by configuration": {HadoopConf: cluster.ConfDir()},
	} {
		s := storage.WithRetry(openAs(t, config, cluster.Nameservice()), patientBackoff)
		if _, err := storage.WriteAll(t.Context(), s, root+name, []byte(name), storage.IfAbsent); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	s := storage.WithRetry(openAs(t, Config{NameNodes: cluster.NameNodes(), Nameservice: cluster.Nameservice()}, cluster.Nameservice()), patientBackoff)
	data := strings.Repeat("0123456789abcdef", 10<<16)
	before, err := storage.WriteAll(t.Context(), s, root+"data", []byte(data), storage.Always)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := s.Get(t.Context(), root+"data", storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.KillNameNode(0); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Activate(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil || string(got) != data {
		t.Errorf("read on: got %d bytes, %v", len(got), err)
	}
	if obj, err := s.Stat(t.Context(), root+"data"); err != nil || obj.ETag != before.ETag {
		t.Errorf("stat: got %+v, %v, want %+v", obj, err, before)
	}
	if _, err := storage.WriteAll(t.Context(), s, root+"data", []byte("new"), storage.IfMatch(before.ETag)); err != nil {
		t.Errorf("replace: %v", err)
	}
}

// patientBackoff is longer than a name node needs to take over on a loaded machine.
var patientBackoff = storage.Backoff{Attempts: 30, Base: 100 * time.Millisecond, Max: 2 * time.Second}

// connectSuper gives the prefix of a folder that everybody can write to, on a cluster of the test's own.
func connectSuper(t *testing.T, cluster *devhdfs.Cluster) (prefix string) {
	t.Helper()
	config := Config{HadoopConf: cluster.ConfDir()}
	if k := cluster.Superuser(); k.Keytab != "" {
		config.Kerberos = Kerberos{Principal: k.Principal, KeytabFile: k.Keytab, Krb5Conf: k.Krb5Conf, NameNodePrincipal: k.NameNodePrincipal}
	}
	s := storage.WithRetry(openAs(t, config, cluster.Nameservice()), patientBackoff)
	if _, err := storage.WriteAll(t.Context(), s, "shared/first", nil, storage.Always); err != nil {
		t.Fatal(err)
	}
	super := openAs(t, config, cluster.Nameservice())
	err := super.with(t.Context(), "chmod", "shared", func(c *session) error { return c.Chmod("/shared", 0o777) })
	if err != nil {
		t.Fatal(err)
	}
	return "shared/"
}
