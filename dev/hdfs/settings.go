package hdfs

import (
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// property is an entry of a Hadoop configuration file.
type property struct {
	Name  string `xml:"name"`
	Value string `xml:"value"`
}

func writeSite(path string, settings map[string]string) error {
	var site struct {
		XMLName    xml.Name   `xml:"configuration"`
		Properties []property `xml:"property"`
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		site.Properties = append(site.Properties, property{name, settings[name]})
	}
	text, err := xml.MarshalIndent(site, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

const log4j = `log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d %p %c{1}: %m%n
`

// configure writes what all processes share below <dir>/conf. A Hadoop client can be pointed there, too.
func (c *Cluster) configure() error {
	conf := c.ConfDir()
	for _, part := range []string{"hdfs", "datanode"} { // the web applications, which nobody needs, must be there
		dir := filepath.Join(conf, "webapps", part, "WEB-INF")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "web.xml"), []byte("<web-app/>"), 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(conf, "webapps", "static"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(conf, "log4j.properties"), []byte(log4j), 0o644); err != nil {
		return err
	}
	core := map[string]string{
		"hadoop.tmp.dir": filepath.Join(c.config.Dir, "tmp"),
		"fs.defaultFS":   "hdfs://" + c.Nameservice(),
	}
	hdfs := map[string]string{
		"dfs.replication":                                      "1",
		"dfs.blocksize":                                        fmt.Sprint(c.config.BlockSize),
		"dfs.permissions.enabled":                              "true",
		"dfs.datanode.data.dir":                                filepath.Join(c.config.Dir, "data"),
		"dfs.datanode.hostname":                                "localhost",
		"dfs.datanode.address":                                 "127.0.0.1:0",
		"dfs.datanode.http.address":                            "127.0.0.1:0",
		"dfs.datanode.ipc.address":                             "127.0.0.1:0",
		"dfs.namenode.datanode.registration.ip-hostname-check": "false",
		"dfs.namenode.fs-limits.min-block-size":                "1024",
		"dfs.namenode.safemode.extension":                      "0",
		"dfs.namenode.edits.noeditlogchannelflush":             "true", // what is lost with the machine is lost
		"dfs.heartbeat.interval":                               "1",
		"dfs.ha.standby.checkpoints":                           "false",
		"dfs.ha.tail-edits.period":                             "1s",
	}
	if len(c.addresses) == 1 {
		hdfs["dfs.namenode.rpc-address"] = c.addresses[0]
		hdfs["dfs.namenode.http-address"] = c.web[0]
		hdfs["dfs.namenode.name.dir"] = c.nameDir(0)
	} else {
		c.configureTwo(hdfs)
	}
	if c.realm != nil {
		c.realm.configure(core, hdfs)
	}
	if err := writeSite(filepath.Join(conf, "core-site.xml"), core); err != nil {
		return err
	}
	return writeSite(filepath.Join(conf, "hdfs-site.xml"), hdfs)
}

// configureTwo is for high availability: the name nodes share their edits in a folder, and people say which is active.
func (c *Cluster) configureTwo(hdfs map[string]string) {
	const service = nameservice
	hdfs["dfs.nameservices"] = service
	hdfs["dfs.namenode.shared.edits.dir"] = "file://" + filepath.Join(c.config.Dir, "edits")
	hdfs["dfs.ha.fencing.methods"] = "shell(/bin/true)"
	hdfs["dfs.client.failover.proxy.provider."+service] = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
	var ids []string
	for i, address := range c.addresses {
		id := fmt.Sprintf("nn%d", i+1)
		ids = append(ids, id)
		hdfs["dfs.namenode.rpc-address."+service+"."+id] = address
		hdfs["dfs.namenode.http-address."+service+"."+id] = c.web[i]
		hdfs["dfs.namenode.name.dir."+service+"."+id] = c.nameDir(i)
	}
	hdfs["dfs.ha.namenodes."+service] = strings.Join(ids, ",")
}

// copyFolder copies files, and folders with them, of a name node that does not run.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, relative), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, relative), data, 0o644)
	})
}
