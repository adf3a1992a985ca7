package election_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/election"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
)

const sessionTimeout = time.Second

func parse(t *testing.T, url string) *election.ZooKeeper {
	t.Helper()
	z, err := election.ParseZooKeeper(url)
	if err != nil {
		t.Fatal(err)
	}
	z.SessionTimeout, z.Logger = sessionTimeout, slog.New(slog.NewTextHandler(io.Discard, nil))
	return z
}

// at gives the same URL with another server.
func at(url, server, other string) string { return strings.Replace(url, server, other, 1) }

func TestZooKeeperElectsTheLowest(t *testing.T) {
	server := zookeepertest.Shared(t).Address()
	url := zookeepertest.URL(t, server, "mesos:secret")
	first := contend(t, parse(t, url), always(info("a", 5050)))
	first.await("a")
	second := contend(t, parse(t, url), always(info("b", 5051)))
	second.await("a")
	watcher := follow(t, parse(t, at(url, "mesos:secret@", "")).Watch) // everybody may read
	watcher.await("a")

	conn, events, err := zk.Connect([]string{server}, sessionTimeout, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		for range events {
		}
	}()
	node := url[strings.LastIndexByte(url, '/'):]
	children, _, err := conn.Children(node)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(children)
	if len(children) != 2 || !regexp.MustCompile(`^json\.info_[0-9]{10}$`).MatchString(children[0]) {
		t.Fatalf("got the nodes %q", children)
	}
	body, stat, err := conn.Get(node + "/" + children[0])
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if got["id"] != "a" || got["port"] != 5050.0 || got["ip"] != 16777343.0 || got["hostname"] != "localhost" || stat.EphemeralOwner == 0 {
		t.Errorf("got %s, owner %d", body, stat.EphemeralOwner)
	}

	// What else lies there means nothing, and a stranger cannot stand.
	if _, err := conn.Create(node+"/log_replicas", nil, 0, zk.WorldACL(zk.PermAll)); err == nil {
		t.Error("a node was made without the password")
	}
	if err := conn.AddAuth("digest", []byte("mesos:secret")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Create(node+"/log_replicas", nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	stranger := contend(t, parse(t, at(url, "mesos:secret@", "")), always(info("c", 5052)))
	first.stop()
	second.await("b")
	watcher.await("b")
	second.stop()
	watcher.await("")
	if told := stranger.all(); slices.Contains(told, "c") {
		t.Errorf("a stranger was elected: %q", told)
	}
}

// TestLostSessionEndsALeadership cuts the leader off: it knows before another one leads,
// and comes back as another.
func TestLostSessionEndsALeadership(t *testing.T) {
	server := zookeepertest.Shared(t).Address()
	proxy := zookeepertest.NewProxy(t, server)
	url := zookeepertest.URL(t, server, "")
	lives := 0
	first := contend(t, parse(t, at(url, server, proxy.Address())), func() *v1.MasterInfo {
		lives++
		return info("a"+string(rune('0'+lives)), 5050)
	})
	first.await("a1")
	second := contend(t, parse(t, url), always(info("b", 5051)))
	second.await("a1")

	proxy.Cut() // a connection that breaks costs nothing
	if told := first.all(); len(told) != 1 {
		t.Fatalf("after a cut the leader was told %q", told)
	}
	proxy.Hold(zookeepertest.Requests, zookeepertest.Answers)
	proxy.Cut()
	second.await("b")
	if told := first.all(); told[len(told)-1] == "a1" {
		t.Errorf("another one leads and the old one does not know: it was told %q", told)
	}
	proxy.Release()
	first.await("b")
	second.stop()
	first.await("a2")
}
