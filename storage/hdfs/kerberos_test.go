package hdfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	devhdfs "github.com/tidemill/tidemill/dev/hdfs"
	"github.com/tidemill/tidemill/dev/hdfs/hdfstest"
	"github.com/tidemill/tidemill/storage"
)

func TestKerberos(t *testing.T) {
	cluster := hdfstest.Start(t, devhdfs.Config{Kerberos: true})
	prefix := connectSuper(t, cluster)
	k := cluster.Kerberos()
	alice := Kerberos{Principal: k.Principal, KeytabFile: k.Keytab, Krb5Conf: k.Krb5Conf, NameNodePrincipal: k.NameNodePrincipal}
	good := Config{NameNodes: cluster.NameNodes(), Protection: "privacy", Kerberos: alice}
	s := openAs(t, good, cluster.Nameservice())
	content := strings.Repeat("encrypted on its way", 100_000)
	obj, err := storage.WriteAll(t.Context(), s, prefix+"mine", []byte(content), storage.IfAbsent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storage.WriteAll(t.Context(), s, prefix+"mine", []byte("x"), storage.IfAbsent); !errors.Is(err, storage.ErrCondition) {
		t.Errorf("create again: got error %v, want ErrCondition", err)
	}
	if got, _, err := storage.ReadAll(t.Context(), s, prefix+"mine", obj.Size); err != nil || string(got) != content {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	err = s.with(t.Context(), "look", prefix, func(c *session) error {
		info, err := c.Stat("/" + prefix + "mine")
		if err == nil && status(info).GetOwner() != "alice" {
			t.Errorf("it belongs to %q, want alice", status(info).GetOwner())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := storage.WriteAll(t.Context(), s, "not-mine", nil, storage.Always); !errors.Is(err, storage.ErrDenied) {
		t.Errorf("write to the root: got error %v, want ErrDenied", err)
	}

	unknown, noKeytab, nobodyThere := good, good, good
	unknown.Kerberos.Principal = "mallory@TIDEMILL.TEST"
	noKeytab.Kerberos.KeytabFile = filepath.Join(t.TempDir(), "none")
	nobodyThere.Kerberos.Krb5Conf = filepath.Join(t.TempDir(), "krb5.conf")
	const elsewhere = "[libdefaults]\ndefault_realm = TIDEMILL.TEST\nudp_preference_limit = 1\n[realms]\nTIDEMILL.TEST = {\n kdc = 127.0.0.1:1\n}\n"
	if err := os.WriteFile(nobodyThere.Kerberos.Krb5Conf, []byte(elsewhere), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config Config
		kind   error
		want   string
	}{
		"without Kerberos":       {Config{NameNodes: cluster.NameNodes(), User: "alice"}, storage.ErrUnavailable, `give "kerberos"`},
		"principal without keys": {unknown, storage.ErrDenied, "mallory"},
		"no keytab":              {noKeytab, storage.ErrDenied, "keytab"},
		"no distribution centre": {nobodyThere, storage.ErrUnavailable, "log in as alice"},
	} {
		_, err := openAs(t, tt.config, cluster.Nameservice()).Stat(t.Context(), prefix+"mine")
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %v with %q", name, err, tt.kind, tt.want)
		}
	}
}
