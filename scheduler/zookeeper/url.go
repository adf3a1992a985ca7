package zookeeper

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	scheme      = "zk://"
	defaultPort = "2181"
)

// URL says where an ensemble is, who we are there, and below which node we work. Printed in any way, it does not show the
// password.
type URL struct {
	Hosts []string // host:port, at least one
	User  string   // of the digest scheme; empty: no credentials
	Path  string   // such as /mesos; empty: the root

	password string
}

// ParseURL reads zk://[user:password@]host1[:port],host2[:port]/path. The port is 2181 unless given. User and password
// may be percent-encoded, and must be where they contain a slash. Its errors do not show the password.
func ParseURL(text string) (URL, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return URL{}, errors.New("parse ZooKeeper URL: it does not begin with " + scheme)
	}
	u, err := parse(rest)
	if err != nil {
		return URL{}, fmt.Errorf("parse ZooKeeper URL: %w", err)
	}
	return u, nil
}

func parse(rest string) (URL, error) {
	var u URL
	authority, path, slash := strings.Cut(rest, "/")
	if slash {
		if u.Path = strings.TrimRight("/"+path, "/"); u.Path != "" {
			if err := checkPath(u.Path); err != nil {
				return URL{}, err
			}
		}
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		var err error
		if u.User, u.password, err = parseCredentials(authority[:at]); err != nil {
			return URL{}, err
		}
		authority = authority[at+1:]
	}
	for host := range strings.SplitSeq(authority, ",") {
		address, err := parseHost(host)
		if err != nil {
			return URL{}, err
		}
		u.Hosts = append(u.Hosts, address)
	}
	return u, nil
}

func parseCredentials(text string) (user, password string, err error) {
	user, password, ok := strings.Cut(text, ":")
	if !ok || user == "" || password == "" {
		return "", "", errors.New("before the @ there must be user:password")
	}
	// The errors of PathUnescape quote what may be the password.
	if user, err = url.PathUnescape(user); err != nil {
		return "", "", errors.New("the user has a percent sign that begins no escape: write %25")
	}
	if password, err = url.PathUnescape(password); err != nil {
		return "", "", errors.New("the password has a percent sign that begins no escape: write %25")
	}
	if strings.Contains(user, ":") {
		return "", "", errors.New("the user contains a colon, which ZooKeeper cannot tell from the one before the password")
	}
	return user, password, nil
}

func parseHost(text string) (string, error) {
	host, port := text, defaultPort
	if strings.Contains(strings.TrimPrefix(text, "["), ":") {
		if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
			host = text[1 : len(text)-1]
		} else {
			var err error
			if host, port, err = net.SplitHostPort(text); err != nil {
				return "", fmt.Errorf("host %q: want host, host:port or [IPv6]:port", text)
			}
		}
	}
	if host == "" {
		return "", errors.New("a host is empty: want host1:port,host2:port")
	}
	if strings.ContainsFunc(host, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`/?#[]@"\`, r) || r == utf8.RuneError
	}) {
		return "", fmt.Errorf("host %q: it contains what no host name can", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("host %q: port %q is no number from 1 to 65535", host, port)
	}
	return net.JoinHostPort(host, port), nil
}

// checkPath holds a path to ZooKeeper's rules, and to ours: a question mark or a number sign is a mistake.
func checkPath(path string) error {
	for name := range strings.SplitSeq(path[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return fmt.Errorf("path %q: %q is no name of a node", path, name)
		}
		for _, r := range name {
			if r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0 || r == '?' || r == '#' {
				return fmt.Errorf("path %q: %q is not allowed there", path, r)
			}
		}
	}
	return nil
}

// String is the URL with *** for the password.
func (u URL) String() string {
	var b strings.Builder
	b.WriteString(scheme)
	if u.User != "" {
		b.WriteString(url.PathEscape(u.User) + ":***@")
	}
	b.WriteString(strings.Join(u.Hosts, ","))
	b.WriteString(u.Path)
	return b.String()
}

// GoString keeps %#v from showing the password.
func (u URL) GoString() string { return "zookeeper.URL(" + strconv.Quote(u.String()) + ")" }

// MarshalText is String, for JSON and logs.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
