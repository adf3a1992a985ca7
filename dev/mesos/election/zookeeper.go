package election

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// label begins the names of candidates' nodes, as in Mesos.
const label = "json.info_"

// DefaultSessionTimeout is that of Mesos' --zk_session_timeout.
const DefaultSessionTimeout = 10 * time.Second

const reconnectPause = 200 * time.Millisecond

// ZooKeeper is an election as Mesos holds it. It is made by ParseZooKeeper.
type ZooKeeper struct {
	// SessionTimeout is asked for; a dead leader is replaced after it. The server may
	// have bounds of its own.
	SessionTimeout time.Duration
	// Logger is slog.Default() if nil.
	Logger *slog.Logger

	hosts          []string
	user, password string
	path           string
}

// ParseZooKeeper reads zk://[user:password@]host1[:port],host2[:port]/path. Its errors
// do not repeat the password.
func ParseZooKeeper(text string) (*ZooKeeper, error) {
	rest, found := strings.CutPrefix(text, "zk://")
	if !found {
		return nil, errors.New("parse ZooKeeper URL: it does not begin with zk://")
	}
	z := &ZooKeeper{SessionTimeout: DefaultSessionTimeout}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || len(rest) == slash+1 {
		return nil, errors.New("parse ZooKeeper URL: no path after the hosts")
	}
	servers := rest[:slash]
	z.path = path.Clean(rest[slash:])
	if at := strings.LastIndexByte(servers, '@'); at >= 0 {
		user, password, both := strings.Cut(servers[:at], ":")
		if !both {
			return nil, errors.New("parse ZooKeeper URL: want user:password before the @")
		}
		z.user, z.password, servers = unescape(user), unescape(password), servers[at+1:]
	}
	for host := range strings.SplitSeq(servers, ",") {
		if host == "" {
			return nil, errors.New("parse ZooKeeper URL: an empty host")
		}
		z.hosts = append(z.hosts, host)
	}
	z.hosts = zk.FormatServers(z.hosts)
	return z, nil
}

// unescape reads a %-escaped text; one that is not well escaped is meant as it stands.
func unescape(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// Watch implements Watcher.
func (z *ZooKeeper) Watch(ctx context.Context, changed func(leader *v1.MasterInfo)) {
	z.sessions(ctx, nil, changed)
}

// Contend implements Election. When its session may have expired, it tells the master
// that there is no leader: another one may lead already.
func (z *ZooKeeper) Contend(ctx context.Context, candidate func() *v1.MasterInfo, changed func(leader *v1.MasterInfo)) {
	z.sessions(ctx, candidate, changed)
}

// sessions follows the election through one session after the other.
func (z *ZooKeeper) sessions(ctx context.Context, candidate func() *v1.MasterInfo, changed func(leader *v1.MasterInfo)) {
	log := z.Logger
	if log == nil {
		log = slog.Default()
	}
	var told *v1.MasterInfo
	tell := func(leader *v1.MasterInfo) {
		if (leader == nil) != (told == nil) || leader.GetID() != told.GetID() {
			told = leader
			changed(leader)
		}
	}
	for ctx.Err() == nil {
		if err := z.session(ctx, candidate, tell); err != nil && ctx.Err() == nil {
			log.Warn("session with ZooKeeper ended", "path", z.path, "error", err)
		}
		tell(nil)
		select {
		case <-ctx.Done():
		case <-time.After(reconnectPause):
		}
	}
}

// session is one session with ZooKeeper: it returns when that has or may have expired.
func (z *ZooKeeper) session(ctx context.Context, candidate func() *v1.MasterInfo, tell func(leader *v1.MasterInfo)) error {
	conn, events, err := zk.Connect(z.hosts, z.SessionTimeout, zk.WithLogger(silent{}), zk.WithLogInfo(false))
	if err != nil {
		return fmt.Errorf("connect to ZooKeeper: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	lost := make(chan error, 1)
	var guards sync.WaitGroup
	guards.Go(func() {
		lost <- z.guard(ctx, events)
		conn.Close() // whoever waits for an answer gets an error now
		for range events {
		}
	})
	defer guards.Wait()
	defer cancel()
	err = z.follow(ctx, conn, candidate, tell)
	cancel()
	if guarded := <-lost; guarded != nil {
		return guarded
	}
	return err
}

// guard returns when the session is over or may be. The library sees a dead connection
// after at most two thirds of the session's timeout; a quarter more may pass without
// another server.
func (z *ZooKeeper) guard(ctx context.Context, events <-chan zk.Event) error {
	patience := time.NewTimer(z.SessionTimeout)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-patience.C:
			return errors.New("no server was reached for too long: the session may have expired")
		case event, open := <-events:
			switch {
			case !open:
				return errors.New("the session is closed")
			case event.State == zk.StateExpired:
				return zk.ErrSessionExpired
			case event.State == zk.StateAuthFailed:
				return zk.ErrAuthFailed
			case event.State == zk.StateHasSession:
				patience.Stop()
			case event.State == zk.StateDisconnected:
				patience.Reset(z.SessionTimeout / 4)
			}
		}
	}
}

// follow takes part and tells each leader until an error.
func (z *ZooKeeper) follow(ctx context.Context, conn *zk.Conn, candidate func() *v1.MasterInfo, tell func(leader *v1.MasterInfo)) error {
	acl := zk.WorldACL(zk.PermAll)
	if z.user != "" {
		if err := conn.AddAuth("digest", []byte(z.user+":"+z.password)); err != nil {
			return fmt.Errorf("authenticate with ZooKeeper: %w", err)
		}
		acl = append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...) // as Mesos: everybody may read
	}
	if err := ensure(conn, z.path, acl); err != nil {
		return err
	}
	if candidate != nil {
		_, err := conn.Create(path.Join(z.path, label), wire.MarshalJSON(candidate()), zk.FlagEphemeral|zk.FlagSequence, acl)
		if err != nil {
			return fmt.Errorf("become a candidate: %w", err)
		}
	}
	for {
		children, _, changes, err := conn.ChildrenW(z.path)
		if err != nil {
			return fmt.Errorf("list candidates: %w", err)
		}
		leader, err := z.leader(conn, children)
		if err != nil {
			return err
		}
		tell(leader)
		if err := z.changed(ctx, conn, children, changes); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// changed blocks until the candidates are others than known. The client may lose a change that came while a connection was
// broken, for it sets its watches again relative to the newest that it has seen: so it looks by itself from time to time.
func (z *ZooKeeper) changed(ctx context.Context, conn *zk.Conn, known []string, changes <-chan zk.Event) error {
	again := time.NewTicker(z.SessionTimeout)
	defer again.Stop()
	slices.Sort(known)
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-changes:
			return event.Err
		case <-again.C:
			now, _, err := conn.Children(z.path)
			if err != nil {
				return fmt.Errorf("list candidates: %w", err)
			}
			if slices.Sort(now); !slices.Equal(now, known) {
				return nil
			}
		}
	}
}

// leader reads the node of the lowest number; nil if there is none.
func (z *ZooKeeper) leader(conn *zk.Conn, children []string) (*v1.MasterInfo, error) {
	children = slices.DeleteFunc(children, func(name string) bool { return !strings.HasPrefix(name, label) })
	slices.Sort(children) // the numbers have leading zeros
	for _, name := range children {
		body, _, err := conn.Get(path.Join(z.path, name))
		if errors.Is(err, zk.ErrNoNode) {
			continue // it is gone meanwhile; the watch tells
		}
		if err != nil {
			return nil, fmt.Errorf("read candidate %s: %w", name, err)
		}
		info := &v1.MasterInfo{}
		if err := wire.UnmarshalJSON(body, info); err != nil {
			return nil, fmt.Errorf("read candidate %s: %w", name, err)
		}
		return info, nil
	}
	return nil, nil
}

// ensure makes a node and those above it.
func ensure(conn *zk.Conn, node string, acl []zk.ACL) error {
	exists, _, err := conn.Exists(node)
	if err != nil || exists {
		return err
	}
	if parent := path.Dir(node); parent != "/" {
		if err := ensure(conn, parent, acl); err != nil {
			return err
		}
	}
	_, err = conn.Create(node, nil, 0, acl)
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("make node %s: %w", node, err)
	}
	return nil
}

// silent keeps the library from writing to the process's standard error; what counts
// comes back as errors.
type silent struct{}

func (silent) Printf(string, ...any) {}
