package mesos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// nodes is what is needed of zookeeper.Session. All methods block until ZooKeeper has answered; paths are below the
// URL's. Watches tell once.
type nodes interface {
	Children(ctx context.Context, path string) ([]string, error)
	ChildrenWatch(ctx context.Context, path string) ([]string, zookeeper.Watch, error)
	ExistsWatch(ctx context.Context, path string) (bool, zookeeper.Watch, error)
	Get(ctx context.Context, path string) ([]byte, zookeeper.Stat, error)
}

// zooKeeper learns from ZooKeeper which master leads: masters that want to lead make nodes there, and the oldest leads.
// While ZooKeeper cannot be reached, what it said last holds.
type zooKeeper struct {
	url    zookeeper.URL
	scheme string // of the masters
	log    *slog.Logger
	pause  time.Duration // before ZooKeeper is asked again after an error
	again  time.Duration // after which it is asked although no watch has told anything

	mu      sync.Mutex
	node    string // of the master that led last; empty before the first
	leader  candidate
	lost    chan struct{} // closed when another one leads than leader
	leads   bool          // that master still does, as far as is known
	changed chan struct{} // closed and replaced when leader or leads changes
}

func newZooKeeper(cfg Config) (*zooKeeper, error) {
	where, err := zookeeper.ParseURL(cfg.Master)
	if err != nil {
		return nil, fmt.Errorf("mesos master: %w", err)
	}
	z := &zooKeeper{url: where, scheme: "http", log: cfg.Log, pause: time.Second, again: 15 * time.Second, changed: make(chan struct{})}
	if cfg.MasterTLS || cfg.CAFile != "" {
		z.scheme = "https"
	}
	if z.log == nil {
		z.log = slog.New(slog.DiscardHandler)
	}
	return z, nil
}

func (z *zooKeeper) String() string { return z.url.String() }

// watch holds a session. Its error, an ErrRefused, says that ZooKeeper does not let us read.
func (z *zooKeeper) watch(ctx context.Context) error {
	session := zookeeper.Connect(z.url, zookeeper.Config{Log: z.log})
	defer session.Close()
	return z.follow(ctx, session)
}

func (z *zooKeeper) follow(ctx context.Context, nodes nodes) error {
	for {
		changed, err := z.look(ctx, nodes)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, zookeeper.ErrNoAuth):
			return fmt.Errorf("%w: look for the leading master at %s: check user and password in --mesos-master: %w", ErrRefused, z.url, err)
		case err != nil:
			z.log.Warn("the leading master cannot be looked up", "masters", z.url.String(), "error", err)
			select {
			case <-time.After(z.pause):
			case <-ctx.Done():
			}
			continue
		}
		z.await(ctx, nodes, changed)
	}
}

// await returns when the watch tells something, or another master leads although it does not: a watch tells nothing of a
// change during a disconnection if the next connection breaks while the watch is set again.
func (z *zooKeeper) await(ctx context.Context, nodes nodes, changed zookeeper.Watch) {
	look := time.NewTicker(z.again)
	defer look.Stop()
	for {
		select {
		case <-changed:
			return
		case <-ctx.Done():
			return
		case <-look.C:
		}
		names, err := nodes.Children(ctx, "/")
		if err != nil && !errors.Is(err, zookeeper.ErrNoNode) {
			return
		}
		if leader, _ := leaderOf(names); leader != z.leading() {
			return
		}
	}
}

// leading is the node of the master that leads, as far as is known; empty if none does.
func (z *zooKeeper) leading() string {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.leads {
		return ""
	}
	return z.node
}

// look finds out who leads and returns a watch that tells when that may have changed.
func (z *zooKeeper) look(ctx context.Context, nodes nodes) (zookeeper.Watch, error) {
	names, changed, err := nodes.ChildrenWatch(ctx, "/")
	if errors.Is(err, zookeeper.ErrNoNode) {
		there, changed, err := nodes.ExistsWatch(ctx, "/")
		if err == nil && there {
			return z.look(ctx, nodes)
		}
		z.nobody()
		return changed, err
	}
	if err != nil {
		return nil, err
	}
	name, ok := leaderOf(names)
	if !ok {
		z.nobody()
		return changed, nil
	}
	if z.still(name) {
		return changed, nil
	}
	data, _, err := nodes.Get(ctx, "/"+name)
	if errors.Is(err, zookeeper.ErrNoNode) { // it went meanwhile, which the watch tells
		z.nobody()
		return changed, nil
	}
	if err != nil {
		return nil, err
	}
	master, err := parseMaster(data, z.scheme)
	if err != nil {
		z.log.Error("the leading master's node cannot be read", "masters", z.url.String(), "node", name, "error", err)
		z.nobody()
		return changed, nil
	}
	z.elect(name, master)
	return changed, nil
}

// still says whether a node leads that is known already and has not been away. One that was may be another master's: an
// ensemble that was set up anew counts from the beginning.
func (z *zooKeeper) still(node string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.node == node && z.leads
}

// nobody says that no master leads. The one that did is not given up: it may not be told apart from one that leads
// and whose session is being renewed, and it ends the subscription itself when it gives up.
func (z *zooKeeper) nobody() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.leads = false
	z.announce()
}

func (z *zooKeeper) elect(node string, master *url.URL) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.node == node && *z.leader.master == *master { // it is back
		z.leads = true
		z.announce()
		return
	}
	if z.lost != nil {
		close(z.lost)
	}
	z.log.Info("a master leads", "masters", z.url.String(), "master", master.String(), "node", node)
	z.lost = make(chan struct{})
	z.node, z.leads, z.leader = node, true, candidate{master: master, lost: z.lost}
	z.announce()
}

func (z *zooKeeper) announce() {
	close(z.changed)
	z.changed = make(chan struct{})
}

func (z *zooKeeper) next(ctx context.Context) (candidate, error) {
	for told := false; ; told = true {
		z.mu.Lock()
		leader, leads, changed := z.leader, z.leads, z.changed
		z.mu.Unlock()
		if leads {
			return leader, nil
		}
		if !told {
			z.log.Info("waiting for a master to lead", "masters", z.url.String())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return candidate{}, ctx.Err()
		}
	}
}

// leaderOf picks the leading one of the nodes that masters made: that with the lowest number.
func leaderOf(names []string) (name string, ok bool) {
	least := int64(math.MaxInt64)
	for _, candidate := range slices.Sorted(slices.Values(names)) {
		digits, found := strings.CutPrefix(candidate, "json.info_")
		if n, err := strconv.ParseInt(digits, 10, 32); found && err == nil && n < least {
			name, least = candidate, n
		}
	}
	return name, name != ""
}

// parseMaster reads the JSON of a mesos.MasterInfo: its address, or in what very old masters write, its PID. Only that is
// looked at: newer masters say more. Certificates are made out to names, so a name is preferred with TLS.
func parseMaster(data []byte, scheme string) (*url.URL, error) {
	var info struct {
		Address struct {
			Hostname string      `json:"hostname"`
			IP       string      `json:"ip"`
			Port     json.Number `json:"port"`
		} `json:"address"`
		PID string `json:"pid"`
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, fmt.Errorf("read master info: %w", err)
	}
	host, port := info.Address.IP, info.Address.Port.String()
	if name := info.Address.Hostname; host == "" || scheme == "https" && name != "" {
		host = name
	}
	if host == "" {
		_, address, _ := strings.Cut(info.PID, "@")
		var err error
		if host, port, err = net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("read master info: it has no address, and the PID %q has none either", info.PID)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("read master info: %q is no port", port)
	}
	if ip, err := netip.ParseAddr(host); (err != nil || ip.Zone() != "") && !hostname(host) {
		return nil, fmt.Errorf("read master info: %q is neither an address nor a host's name", host)
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}, nil
}

func hostname(text string) bool {
	return text != "" && len(text) < 256 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}
