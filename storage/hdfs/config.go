package hdfs

import (
	"cmp"
	"fmt"
	"net"
	"os/user"
	"path"
	"slices"
	"strings"

	client "github.com/colinmarc/hdfs/v2"
	"github.com/colinmarc/hdfs/v2/hadoopconf"

	"github.com/tidemill/tidemill/storage"
)

// defaultPort is a name node's, where none is given.
const defaultPort = "8020"

// Config says how to reach an HDFS. Either NameNodes or HadoopConf is needed.
type Config struct {
	NameNodes   []string // host or host:port of each name node of one nameservice
	Nameservice string   // its name in URIs; empty: URIs name one of NameNodes
	HadoopConf  string   // a folder with core-site.xml and hdfs-site.xml, for what the other fields leave open
	User        string   // who acts, without Kerberos; empty: the user of this process
	Root        string   // absolute path of the folder below which objects are; empty: /
	Kerberos    Kerberos // empty: no Kerberos
	// Protection of what goes to and comes from data nodes: "authentication" or "privacy", as in
	// dfs.data.transfer.protection; empty: what HadoopConf says, or none. Privacy needs data nodes that offer AES.
	Protection string
	// DataNodesByName connects to data nodes by their host names instead of their addresses.
	DataNodesByName bool
}

// Validate reports what can never work; its errors match storage.ErrInvalid. It opens no files.
func (c Config) Validate() error {
	if len(c.NameNodes) == 0 && c.HadoopConf == "" {
		return invalid("name_nodes", "give the name nodes, or a folder with Hadoop's configuration as hadoop_conf")
	}
	for _, node := range c.NameNodes {
		if reason := storage.CheckAuthority(node); reason != "" {
			return invalid("name_nodes", reason)
		}
	}
	if c.Nameservice != "" && (storage.CheckAuthority(c.Nameservice) != "" || strings.Contains(c.Nameservice, ":")) {
		return invalid("nameservice", "it is a name such as prod, as in hdfs://prod/path")
	}
	if c.Nameservice != "" && len(c.NameNodes) == 0 {
		return invalid("nameservice", "it needs name_nodes; with hadoop_conf the names are those of its files")
	}
	if c.HadoopConf != "" && !path.IsAbs(c.HadoopConf) {
		return invalid("hadoop_conf", "it must be an absolute path")
	}
	if c.Root != "" && !path.IsAbs(c.Root) {
		return invalid("root", "it must be an absolute path")
	}
	if !slices.Contains([]string{"", client.DataTransferProtectionAuthentication, client.DataTransferProtectionPrivacy}, c.Protection) {
		return invalid("protection", "it is authentication or privacy")
	}
	if c.User != "" && c.Kerberos != (Kerberos{}) {
		return invalid("user", "with Kerberos the principal says who acts")
	}
	return c.Kerberos.validate()
}

func invalid(field, reason string) error {
	return fmt.Errorf("%w: field %q: %s", storage.ErrInvalid, field, reason)
}

// place is one nameservice with all that is needed to connect to it.
type place struct {
	authority string
	options   client.ClientOptions
}

// resolve finds the name nodes that an authority of a URI means, and what Hadoop's configuration says of them.
func (c Config) resolve(authority string) (place, error) {
	p := place{authority: authority}
	conf := hadoopconf.HadoopConf{}
	if c.HadoopConf != "" {
		loaded, err := hadoopconf.Load(c.HadoopConf)
		if err != nil {
			return place{}, fmt.Errorf("%w: read Hadoop's configuration: %w", storage.ErrInvalid, err)
		}
		if loaded == nil {
			return place{}, fmt.Errorf("%w: there is no core-site.xml or hdfs-site.xml in %s", storage.ErrInvalid, c.HadoopConf)
		}
		conf = loaded
	}
	p.options = client.ClientOptionsFromConf(conf)
	p.options.Addresses = c.addresses(conf, authority)
	if len(p.options.Addresses) == 0 {
		return place{}, fmt.Errorf("%w: it reaches %s, not hdfs://%s", storage.ErrInvalid, strings.Join(c.reachable(conf), ", "), authority)
	}
	p.options.UseDatanodeHostname = p.options.UseDatanodeHostname || c.DataNodesByName
	p.options.DataTransferProtection = cmp.Or(c.Protection, p.options.DataTransferProtection)
	if p.options.DataTransferProtection == client.DataTransferProtectionIntegrity {
		// The library loses bytes of connections that are only signed.
		return place{}, fmt.Errorf("%w: dfs.data.transfer.protection in %s is integrity, which is not supported: set \"protection\" to privacy", storage.ErrInvalid, c.HadoopConf)
	}
	p.options.KerberosServicePrincipleName = cmp.Or(c.Kerberos.NameNodePrincipal, p.options.KerberosServicePrincipleName, "nn/_HOST")
	if p.options.KerberosClient != nil && c.Kerberos == (Kerberos{}) {
		return place{}, fmt.Errorf("%w: Hadoop's configuration in %s asks for Kerberos: give \"kerberos\" in the connection", storage.ErrInvalid, c.HadoopConf)
	}
	p.options.KerberosClient = nil // made when it is first needed
	if c.Kerberos == (Kerberos{}) {
		p.options.User = c.User
		if p.options.User == "" {
			current, err := user.Current()
			if err != nil {
				return place{}, fmt.Errorf("%w: find the user of this process: %w", storage.ErrInvalid, err)
			}
			p.options.User = current.Username
		}
	}
	return p, nil
}

// addresses are those of the name nodes behind authority; none if this connection does not reach it.
func (c Config) addresses(conf hadoopconf.HadoopConf, authority string) []string {
	if len(c.NameNodes) > 0 {
		var all []string
		for _, node := range c.NameNodes {
			all = append(all, withPort(node))
		}
		if authority == c.Nameservice || c.Nameservice == "" && slices.Contains(all, withPort(authority)) {
			return all
		}
		return nil
	}
	if ids := conf["dfs.ha.namenodes."+authority]; ids != "" {
		var all []string
		for id := range strings.SplitSeq(ids, ",") {
			if address := conf["dfs.namenode.rpc-address."+authority+"."+strings.TrimSpace(id)]; address != "" {
				all = append(all, withPort(address))
			}
		}
		return all
	}
	if address := conf["dfs.namenode.rpc-address."+authority]; address != "" {
		return []string{withPort(address)}
	}
	for _, known := range c.reachable(conf) {
		if name := strings.TrimPrefix(known, "hdfs://"); withPort(name) == withPort(authority) {
			return []string{withPort(authority)}
		}
	}
	return nil
}

// reachable are the URIs that this connection reaches, for messages and for single name nodes.
func (c Config) reachable(conf hadoopconf.HadoopConf) []string {
	var all []string
	add := func(name string) {
		if uri := "hdfs://" + strings.TrimSpace(name); name != "" && !slices.Contains(all, uri) {
			all = append(all, uri)
		}
	}
	switch {
	case c.Nameservice != "":
		add(c.Nameservice)
	case len(c.NameNodes) > 0:
		for _, node := range c.NameNodes {
			add(withPort(node))
		}
	default:
		for name := range strings.SplitSeq(conf["dfs.nameservices"], ",") {
			add(name)
		}
		if name, ok := strings.CutPrefix(conf["fs.defaultFS"], "hdfs://"); ok {
			add(strings.TrimSuffix(name, "/"))
		}
		add(conf["dfs.namenode.rpc-address"])
	}
	return all
}

func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(address, defaultPort)
}
