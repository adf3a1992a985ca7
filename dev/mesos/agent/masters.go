package agent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/election"
)

// masters tells where the master is: at one of a fixed list of URLs, which are tried in
// turn, or where an election says.
type masters struct {
	urls    []string
	watcher election.Watcher
	scheme  string // of masters that an election names

	mu      sync.Mutex
	at      int           // of urls
	leader  string        // a URL; empty while nobody leads
	changed chan struct{} // closed when the leader changes
}

// parseMasters reads Config.Master: URLs with commas between them, or one that begins
// with zk://.
func parseMasters(text string, watcher election.Watcher, scheme string) (*masters, error) {
	m := &masters{watcher: watcher, scheme: scheme, changed: make(chan struct{})}
	switch {
	case watcher != nil:
	case strings.HasPrefix(text, "zk://"):
		z, err := election.ParseZooKeeper(text)
		if err != nil {
			return nil, fmt.Errorf("configure agent: %w", err)
		}
		m.watcher = z
	default:
		for one := range strings.SplitSeq(text, ",") {
			one = strings.TrimSuffix(strings.TrimSpace(one), "/")
			if u, err := url.Parse(one); err != nil || u.Host == "" {
				return nil, fmt.Errorf("configure agent: master %q is no URL", one)
			}
			m.urls = append(m.urls, one)
		}
	}
	return m, nil
}

// watch follows the election, if there is one, until ctx ends.
func (m *masters) watch(ctx context.Context) {
	if m.watcher == nil {
		return
	}
	m.watcher.Watch(ctx, func(leader *v1.MasterInfo) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.leader = ""
		if leader != nil {
			m.leader = m.scheme + "://" + election.AddressOf(leader)
		}
		close(m.changed)
		m.changed = make(chan struct{})
	})
}

var errNoLeader = errors.New("no master leads")

// next is the master to try now; changed is closed when that is another one.
func (m *masters) next() (base string, changed <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watcher == nil {
		base = m.urls[m.at%len(m.urls)]
		m.at++
		return base, m.changed, nil
	}
	if m.leader == "" {
		return "", m.changed, errNoLeader
	}
	return m.leader, m.changed, nil
}

// keep makes next give the same URL again: that master took the agent in.
func (m *masters) keep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.urls) > 0 {
		m.at += len(m.urls) - 1
	}
}
