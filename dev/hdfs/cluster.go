package hdfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/tidemill/tidemill/dev/maven"
)

// nameservice is the name of a cluster with two name nodes.
const nameservice = "prod"

const startTimeout = 5 * time.Minute // of a machine on which much else runs

// Config says what a cluster is like. Only Dir is needed.
type Config struct {
	Dir       string // for data, configuration and logs; made if it is not there, and must be empty
	HeapMiB   int    // of each process; 0: 128
	BlockSize int64  // bytes; 0: 4 MiB, so that small files have several blocks
	Kerberos  bool   // a realm of its own, and privacy on the way to the data node
	Two       bool   // two name nodes, of which the first is active
}

// Cluster is an HDFS. Its methods are for one goroutine.
type Cluster struct {
	config    Config
	java      string
	jars      string
	addresses []string // of the name nodes
	web       []string // of their web pages
	realm     *realm   // nil without Kerberos

	nameNodes []*process
	dataNode  *process
}

// Start fetches HDFS if that was never done, starts it, and returns when files can be written. It runs until Stop, or
// until this process ends.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	java, err := maven.Java()
	if err != nil {
		return nil, err
	}
	if config.Dir, err = filepath.Abs(config.Dir); err != nil {
		return nil, fmt.Errorf("start HDFS: %w", err)
	}
	if config.HeapMiB == 0 {
		config.HeapMiB = 128
	}
	if config.BlockSize == 0 {
		config.BlockSize = 4 << 20
	}
	jars, err := bundle.Folder(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &Cluster{config: config, java: java, jars: jars}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start HDFS: %w", err), c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	count := 1
	if c.config.Two {
		count = 2
	}
	ports, err := freePorts(2 * count)
	if err != nil {
		return err
	}
	c.addresses, c.web = ports[:count], ports[count:]
	c.nameNodes = make([]*process, count)
	if err := os.MkdirAll(c.ConfDir(), 0o755); err != nil {
		return err
	}
	if c.config.Kerberos {
		if err := c.startRealm(ctx); err != nil {
			return err
		}
	}
	if err := c.configure(); err != nil {
		return err
	}
	if err := c.format(ctx); err != nil {
		return err
	}
	for i := range c.nameNodes {
		if err := c.StartNameNode(ctx, i); err != nil {
			return err
		}
	}
	if c.config.Two {
		if err := c.Activate(ctx, 0); err != nil {
			return err
		}
	}
	return c.startDataNode(ctx)
}

// freePorts finds ports on loopback that nobody listens on at this moment.
func freePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // after all have been found, so that they differ
		addresses = append(addresses, fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port))
	}
	return addresses, nil
}

// format makes the name nodes' empty file systems.
func (c *Cluster) format(ctx context.Context) error {
	args := []string{"-format", "-nonInteractive"}
	if out, err := c.run(ctx, c.settingsOf(0), "org.apache.hadoop.hdfs.server.namenode.NameNode", args...); err != nil {
		return fmt.Errorf("format: %w\n%s", err, out)
	}
	if c.config.Two {
		return copyFolder(c.nameDir(0), c.nameDir(1))
	}
	return nil
}

// ConfDir is the folder with core-site.xml and hdfs-site.xml.
func (c *Cluster) ConfDir() string { return filepath.Join(c.config.Dir, "conf") }

// NameNodes are their addresses, host:port. They stay the same over restarts.
func (c *Cluster) NameNodes() []string { return c.addresses }

// Nameservice is what stands in hdfs:// URIs: a name for two name nodes, the address of one.
func (c *Cluster) Nameservice() string {
	if c.config.Two {
		return nameservice
	}
	return c.addresses[0]
}

func (c *Cluster) nameDir(i int) string {
	return filepath.Join(c.config.Dir, fmt.Sprintf("name%d", i+1))
}

// javaCommand is a Java program with settings that only it has.
func (c *Cluster) javaCommand(settings []string, class string, args ...string) *exec.Cmd {
	all := []string{"-XX:+UseSerialGC", fmt.Sprintf("-Xmx%dm", c.config.HeapMiB), "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1",
		"-XX:+ExitOnOutOfMemoryError", "-Djava.net.preferIPv4Stack=true", "-Djava.io.tmpdir=" + c.config.Dir,
		"--add-opens", "java.base/java.lang=ALL-UNNAMED", "--add-opens", "java.base/java.util=ALL-UNNAMED",
		"--add-exports", "java.security.jgss/sun.security.krb5=ALL-UNNAMED"}
	if c.realm != nil {
		all = append(all, "-Djava.security.krb5.conf="+c.realm.krb5Conf())
	}
	all = append(all, "-cp", c.ConfDir()+":"+filepath.Join(c.jars, "*"), class)
	all = append(append(all, settings...), args...)
	cmd := exec.Command(c.java, all...)
	cmd.Dir = c.config.Dir
	return cmd
}

// settingsOf says which of two name nodes a program is.
func (c *Cluster) settingsOf(i int) []string {
	if !c.config.Two {
		return nil
	}
	return []string{"-D", fmt.Sprintf("dfs.ha.namenode.id=nn%d", i+1)}
}

// run runs a program to its end.
func (c *Cluster) run(ctx context.Context, settings []string, class string, args ...string) (string, error) {
	log := filepath.Join(c.config.Dir, "run.log")
	p, err := launch(class, log, c.javaCommand(settings, class, args...))
	if err != nil {
		return "", err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return p.tail(), errors.Join(ctx.Err(), p.kill())
	}
	return p.tail(), p.exit
}

var (
	nameNodeUp = regexp.MustCompile(`NameNode RPC up at: (\S+)`)
	dataNodeUp = regexp.MustCompile(`(successfully registered with NN)`)
)

// StartNameNode starts a name node that does not run, with the data and address it had, and returns when it serves. One
// of two is on standby then.
func (c *Cluster) StartNameNode(ctx context.Context, i int) error {
	p, err := launch("name node", filepath.Join(c.config.Dir, fmt.Sprintf("name%d.log", i+1)),
		c.javaCommand(c.settingsOf(i), "org.apache.hadoop.hdfs.server.namenode.NameNode"))
	if err != nil {
		return err
	}
	c.nameNodes[i] = p
	_, err = p.await(ctx, nameNodeUp)
	return err
}

// KillNameNode ends a name node without a warning.
func (c *Cluster) KillNameNode(i int) error { return c.nameNodes[i].kill() }

// Activate makes one of two name nodes the active one. The other must be on standby or gone.
func (c *Cluster) Activate(ctx context.Context, i int) error {
	out, err := c.run(ctx, nil, "org.apache.hadoop.hdfs.tools.DFSHAAdmin", "-ns", nameservice, "-transitionToActive", "--forceactive", fmt.Sprintf("nn%d", i+1))
	if err != nil {
		return fmt.Errorf("activate a name node: %w\n%s", err, out)
	}
	return nil
}

func (c *Cluster) startDataNode(ctx context.Context) error {
	p, err := launch("data node", filepath.Join(c.config.Dir, "data.log"),
		c.javaCommand(nil, "org.apache.hadoop.hdfs.server.datanode.DataNode"))
	if err != nil {
		return err
	}
	c.dataNode = p
	_, err = p.await(ctx, dataNodeUp)
	return err
}

// Stop ends all processes and returns when they have ended. It may be called again.
func (c *Cluster) Stop() error {
	var errs []error
	// Nothing has to outlive them: killing is quicker than asking.
	for _, p := range append([]*process{c.dataNode}, c.nameNodes...) {
		if p != nil {
			errs = append(errs, p.kill())
		}
	}
	if c.realm != nil {
		errs = append(errs, c.realm.process.kill())
	}
	return errors.Join(errs...)
}
