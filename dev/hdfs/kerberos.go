package hdfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// realmName is what the key distribution centre calls itself.
const realmName = "TIDEMILL.TEST"

// realm is a Kerberos realm of the cluster's own.
type realm struct {
	dir     string
	process *process
}

// kdcReady is the last line that the key distribution centre prints.
var kdcReady = regexp.MustCompile(`(Do <CTRL-C> or kill <PID> to stop it)`)

// startRealm starts a key distribution centre with the servers' principals and that of a user.
func (c *Cluster) startRealm(ctx context.Context) error {
	r := &realm{dir: filepath.Join(c.config.Dir, "kdc")}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	settings := filepath.Join(r.dir, "settings")
	text := "org.name=TIDEMILL\norg.domain=TEST\nkdc.bind.address=127.0.0.1\nkdc.port=0\ninstance=DefaultKrbServer\n" +
		"max.ticket.lifetime=86400000\nmax.renewable.lifetime=604800000\ntransport=TCP\ndebug=false\n"
	if err := os.WriteFile(settings, []byte(text), 0o644); err != nil {
		return err
	}
	process, err := launch("key distribution centre", filepath.Join(r.dir, "log"), c.javaCommand(nil,
		"org.apache.hadoop.minikdc.MiniKdc", r.dir, settings, r.keytab(), "hdfs/localhost", "HTTP/localhost", "alice"))
	if err != nil {
		return err
	}
	r.process, c.realm = process, r
	_, err = process.await(ctx, kdcReady)
	return err
}

func (r *realm) keytab() string   { return filepath.Join(r.dir, "keytab") }
func (r *realm) krb5Conf() string { return filepath.Join(r.dir, "krb5.conf") }

func (r *realm) configure(core, hdfs map[string]string) {
	core["hadoop.security.authentication"] = "kerberos"
	core["hadoop.security.authorization"] = "true"
	server, web := "hdfs/localhost@"+realmName, "HTTP/localhost@"+realmName
	for _, node := range []string{"namenode", "datanode"} {
		hdfs["dfs."+node+".kerberos.principal"] = server
		hdfs["dfs."+node+".keytab.file"] = r.keytab()
	}
	hdfs["dfs.web.authentication.kerberos.principal"] = web
	hdfs["dfs.web.authentication.kerberos.keytab"] = r.keytab()
	hdfs["dfs.block.access.token.enable"] = "true"
	hdfs["dfs.data.transfer.protection"] = "privacy"
	hdfs["dfs.encrypt.data.transfer.cipher.suites"] = "AES/CTR/NoPadding"
	hdfs["ignore.secure.ports.for.testing"] = "true"
}

// Kerberos is how a user logs in.
type Kerberos struct {
	Principal         string // alice@REALM
	Keytab            string // file with its keys
	Krb5Conf          string // file that says where the key distribution centre is
	NameNodePrincipal string // service/host
}

// Kerberos gives the user alice, who is not the superuser; the zero value without Kerberos.
func (c *Cluster) Kerberos() Kerberos {
	if c.realm == nil {
		return Kerberos{}
	}
	return Kerberos{Principal: "alice@" + realmName, Keytab: c.realm.keytab(), Krb5Conf: c.realm.krb5Conf(), NameNodePrincipal: "hdfs/localhost"}
}

// Superuser is Kerberos for the principal that the servers run as.
func (c *Cluster) Superuser() Kerberos {
	k := c.Kerberos()
	k.Principal = fmt.Sprintf("hdfs/localhost@%s", realmName)
	return k
}
