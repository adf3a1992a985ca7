package mesos

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// detector finds the master to subscribe with. Run alone uses it.
type detector interface {
	// watch keeps looking until ctx ends, when it returns nil, or until there is no use in it. It is called once.
	watch(ctx context.Context) error

	// next blocks until there is a master to try. Its only error is the context's.
	next(ctx context.Context) (candidate, error)

	// String is where it looks, for people. It holds no password.
	String() string
}

// candidate is a master that may lead.
type candidate struct {
	master *url.URL
	lost   <-chan struct{} // closed when it is known that another one leads; nil: nobody will tell
	more   bool            // if this one does not lead, another one can be tried at once
}

// newDetector makes the detector that the configuration asks for. It contacts nobody.
func newDetector(cfg Config) (detector, error) {
	if strings.HasPrefix(cfg.Master, "zk://") {
		return newZooKeeper(cfg)
	}
	var found list
	for text := range strings.SplitSeq(cfg.Master, ",") {
		master, err := masterURL(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		found.masters = append(found.masters, master)
	}
	return &found, nil
}

// masterURL reads one URL. The error does not repeat what may hold a password.
func masterURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(text, "@"):
		return nil, errors.New("mesos master holds credentials: give principal and secret by themselves")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("mesos master %q is not of the form http://host:port, a list of such, or zk://host:port/path", text)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}, nil
}

// list is one or several masters by URL. They are tried in turn: one that does not lead says so, or who does.
type list struct {
	masters []*url.URL
	tried   int // since the beginning
}

func (*list) watch(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (l *list) next(ctx context.Context) (candidate, error) {
	if err := ctx.Err(); err != nil {
		return candidate{}, err
	}
	n := l.tried % len(l.masters)
	l.tried++
	return candidate{master: l.masters[n], more: n < len(l.masters)-1}, nil
}

func (l *list) String() string {
	var out []string
	for _, master := range l.masters {
		out = append(out, master.String())
	}
	return strings.Join(out, ",")
}
