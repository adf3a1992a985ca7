package hdfs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	krbclient "github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/krberror"

	"github.com/tidemill/tidemill/storage"
)

// Kerberos says who logs in and how.
type Kerberos struct {
	Principal  string // user@REALM or service/host@REALM
	KeytabFile string // absolute path of the file with its keys
	Krb5Conf   string // absolute path; empty: /etc/krb5.conf
	// NameNodePrincipal is service/host of the name nodes, in which _HOST stands for the host of the one that is
	// spoken to; empty: dfs.namenode.kerberos.principal of Hadoop's configuration, or nn/_HOST.
	NameNodePrincipal string
}

const defaultKrb5Conf = "/etc/krb5.conf"

func (k Kerberos) validate() error {
	if k == (Kerberos{}) {
		return nil
	}
	name, realm, ok := strings.Cut(k.Principal, "@")
	if !ok || name == "" || realm == "" || strings.Contains(realm, "@") {
		return invalid("kerberos/principal", "want user@REALM or service/host@REALM")
	}
	if !path.IsAbs(k.KeytabFile) {
		return invalid("kerberos/keytab_file", "it must be an absolute path")
	}
	if k.Krb5Conf != "" && !path.IsAbs(k.Krb5Conf) {
		return invalid("kerberos/krb5_conf", "it must be an absolute path")
	}
	if k.NameNodePrincipal != "" && (!strings.Contains(k.NameNodePrincipal, "/") || strings.Contains(k.NameNodePrincipal, "@")) {
		return invalid("kerberos/name_node_principal", "want service/host without a realm, such as nn/_HOST")
	}
	return nil
}

// login reads the files and gets a ticket. The client gets new ones by itself until it is destroyed.
func (k Kerberos) login() (*krbclient.Client, error) {
	file := k.Krb5Conf
	if file == "" {
		file = defaultKrb5Conf
	}
	settings, err := config.Load(file)
	if err != nil {
		return nil, fmt.Errorf("%w: read %s: %w", storage.ErrDenied, file, err)
	}
	keys, err := keytab.Load(k.KeytabFile)
	if err != nil {
		return nil, fmt.Errorf("%w: read keytab %s: %w", storage.ErrDenied, k.KeytabFile, err)
	}
	name, realm, _ := strings.Cut(k.Principal, "@")
	c := krbclient.NewWithKeytab(name, realm, keys, settings, krbclient.DisablePAFXFAST(true))
	if err := c.Login(); err != nil {
		c.Destroy()
		return nil, fmt.Errorf("%w: log in as %s: %w", loginKind(err), k.Principal, err)
	}
	return c, nil
}

// loginKind tells a key distribution centre that cannot be reached from one that refuses.
func loginKind(err error) error {
	if failed, ok := errors.AsType[krberror.Krberror](err); ok && failed.RootCause == krberror.NetworkingError {
		return storage.ErrUnavailable
	}
	return storage.ErrDenied
}
