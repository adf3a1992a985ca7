package zookeeper

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]URL{
		"zk://a":                      {Hosts: []string{"a:2181"}},
		"zk://a/":                     {Hosts: []string{"a:2181"}},
		"zk://a:1,b,c:65535/mesos":    {Hosts: []string{"a:1", "b:2181", "c:65535"}, Path: "/mesos"},
		"zk://u:p@a/x/y/":             {Hosts: []string{"a:2181"}, Path: "/x/y", User: "u", password: "p"},
		"zk://u:p@:q@10.0.0.1:2181/x": {Hosts: []string{"10.0.0.1:2181"}, Path: "/x", User: "u", password: "p@:q"},
		"zk://u%40x:p%2Fq%25@a/x":     {Hosts: []string{"a:2181"}, Path: "/x", User: "u@x", password: "p/q%"},
		"zk://[::1]:2182,[::2],b/x":   {Hosts: []string{"[::1]:2182", "[::2]:2181", "b:2181"}, Path: "/x"},
	} {
		got, err := ParseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.Path != want.Path || got.User != want.User || got.password != want.password || !slices.Equal(got.Hosts, want.Hosts) {
			t.Errorf("%s: got %s, password %q", text, got, got.password)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "does not begin with zk://",
		"http://a/x":            "does not begin with zk://",
		"zk://":                 "a host is empty",
		"zk:///x":               "a host is empty",
		"zk://a,,b/x":           "a host is empty",
		"zk://a:/x":             `port ""`,
		"zk://a:0/x":            `port "0"`,
		"zk://a:65536/x":        `port "65536"`,
		"zk://a:b:c/x":          "want host, host:port",
		"zk://a b/x":            "no host name",
		"zk://a//x":             `"" is no name of a node`,
		"zk://a/x/../y":         `".." is no name of a node`,
		"zk://a/x?y=1":          "'?' is not allowed",
		"zk://a/x\x01":          `'\x01' is not allowed`,
		"zk://u@a/x":            "user:password",
		"zk://:p@a/x":           "user:password",
		"zk://u:@a/x":           "user:password",
		"zk://u:geheim%zz@a/x":  "the password has a percent sign",
		"zk://u%3Av:geheim@a/x": "the user contains a colon",
		"zk://u:geheim@a:x/x":   `port "x"`,
	} {
		u, err := ParseURL(text)
		if err == nil {
			t.Errorf("%q: got %s, want an error", text, u)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, want it to say %q", text, err, want)
		}
		if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: the error shows the password: %v", text, err)
		}
	}
}

func TestPasswordStaysSecret(t *testing.T) {
	u, err := ParseURL("zk://user:geheim@a,b/x")
	if err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(map[string]any{"url": u, "pointer": &u})
	if err != nil {
		t.Fatal(err)
	}
	const want = "zk://user:***@a:2181,b:2181/x"
	for _, got := range []string{
		u.String(), string(marshalled), fmt.Sprint(u, &u), fmt.Sprintf("%+v %#v %q", u, u, u),
		fmt.Sprintf("%v %+v", struct{ U URL }{u}, []URL{u}),
	} {
		if strings.Contains(got, "geheim") || !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it and no password", got, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"zk://a", "zk://u:p@a:1,[::1]:2,b/x/y", "zk://u%40:p%25@a/\u00e4", "zk://@/", "zk://a:1/x/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURL(text)
		if err != nil {
			return
		}
		if len(u.Hosts) == 0 || strings.HasSuffix(u.Path, "/") {
			t.Fatalf("%q: got %s", text, u)
		}
		again, err := ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q: printed as %s, which is refused: %v", text, u, err)
		}
		if !slices.Equal(again.Hosts, u.Hosts) || again.Path != u.Path || again.User != u.User || (u.User != "" && again.password != "***") {
			t.Fatalf("%q: printed as %s, read as %s", text, u, again)
		}
	})
}
