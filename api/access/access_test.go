package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/storage"
)

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// tokensFile writes entries, each a name and a role, whose secret is the name.
func tokensFile(t *testing.T, path string, mode os.FileMode, entries ...string) {
	t.Helper()
	text := "tokens:\n"
	for _, e := range entries {
		name, more, _ := strings.Cut(e, " ")
		text += fmt.Sprintf("  - {name: %s, sha256: %s, %s}\n", name, hashed("secret of "+name), more)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestNobodyNeedsAToken(t *testing.T) {
	a, err := Open(Config{})
	if err != nil || a.Needed() || a.Err() != nil {
		t.Fatalf("got %v, %v", a, err)
	}
	if actor, err := a.Identify(""); err != nil || actor.Name != "anonymous" || !actor.Has(Admin) {
		t.Errorf("got %+v, %v", actor, err)
	}
}

func TestIdentify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	tokensFile(t, path, 0o600, "ci roles: [deployer]", "late roles: [viewer], expires: 2020-01-01", "soon roles: [viewer], expires: 2100-01-01")
	a, err := Open(Config{Token: storage.NewSecret("s3cret"), File: path})
	if err != nil || !a.Needed() {
		t.Fatal(err)
	}
	for secret, want := range map[string]string{"s3cret": "token", "secret of ci": "ci", "secret of soon": "soon"} {
		if actor, err := a.Identify(secret); err != nil || actor.Name != want {
			t.Errorf("%s: got %+v, %v", secret, actor, err)
		}
	}
	for _, secret := range []string{"", "s3cre", "s3crets", "secret of none", hashed("secret of ci")} {
		if actor, err := a.Identify(secret); !errors.Is(err, ErrUnknown) || actor != nil {
			t.Errorf("%q: got %+v, %v", secret, actor, err)
		}
	}
	_, err = a.Identify("secret of late")
	if expired := (*ExpiredError)(nil); !errors.As(err, &expired) || expired.Name != "late" || !strings.Contains(err.Error(), "2020-01-01T00:00:00Z") {
		t.Errorf("expired: got %v", err)
	}
	a.now = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
	if _, err := a.Identify("secret of soon"); err == nil {
		t.Error("a token is good at the moment when it expires")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("tokens: [{name: ci}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	everybody := filepath.Join(dir, "everybody.yaml")
	tokensFile(t, everybody, 0o644, "ci roles: [viewer]")
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file", bad: `tokens[0] (ci): the field "sha256" is missing`, everybody: "mode 0644",
	} {
		if _, err := Open(Config{File: path}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// A changed file holds once two looks have found the same; a broken one changes nothing, and says so once.
func TestFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	tokensFile(t, path, 0o600, "ci roles: [deployer]")
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		a, err := Open(Config{File: path, Log: slog.New(slog.NewTextHandler(&logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		known := func(name string) bool {
			_, err := a.Identify("secret of " + name)
			return err == nil
		}
		// change lets the second look be the next one. The file's times are ahead of the bubble's clock.
		change := func(mode os.FileMode, entry string) {
			tokensFile(t, path, mode, entry)
			time.Sleep(time.Second)
			if known("third") {
				t.Error("the first look changed something")
			}
			time.Sleep(time.Second)
		}
		change(0o600, "new roles: [viewer]")
		if known("ci") || !known("new") || a.Err() != nil {
			t.Errorf("changed: ci %v, new %v, %v", known("ci"), known("new"), a.Err())
		}
		for _, mode := range []os.FileMode{0o644, 0o600} {
			change(mode, "third roles: [viewr]")
			for range 3 {
				if !known("new") || known("third") || a.Err() == nil {
					t.Errorf("broken: new %v, third %v, %v", known("new"), known("third"), a.Err())
				}
				time.Sleep(time.Second)
			}
		}
		if n := strings.Count(logged.String(), "level=ERROR"); n != 2 || !strings.Contains(logged.String(), "did you mean") {
			t.Errorf("got %d errors in the log:\n%s", n, &logged)
		}
		change(0o600, "third roles: [viewer]")
		if !known("third") || a.Err() != nil {
			t.Errorf("mended: third %v, %v", known("third"), a.Err())
		}
	})
}

func TestRoles(t *testing.T) {
	for _, test := range []struct {
		roles []Role
		has   []Role
	}{
		{[]Role{Viewer}, []Role{Anybody, Viewer}},
		{[]Role{Submitter}, []Role{Anybody, Viewer, Submitter}},
		{[]Role{Deployer}, []Role{Anybody, Viewer, Deployer}},
		{[]Role{Submitter, Deployer}, []Role{Anybody, Viewer, Submitter, Deployer}},
		{[]Role{Admin}, []Role{Anybody, Viewer, Submitter, Deployer, Admin}},
		{nil, []Role{Anybody}},
	} {
		actor := &Actor{Roles: test.roles}
		for _, role := range append([]Role{Anybody}, Roles...) {
			if got, want := actor.Has(role), slices.Contains(test.has, role); got != want {
				t.Errorf("%v has %s: got %v", test.roles, role, got)
			}
		}
	}
}

func TestPermit(t *testing.T) {
	actor := &Actor{Name: "ci", Roles: []Role{Submitter}, Jobs: []string{"flights-*", "exact"}, MesosRoles: []string{"data/*"}}
	for _, test := range []struct{ job, role, want string }{
		{"flights-by-day", "data/batch", ""},
		{"exact", "data/batch", ""},
		{"flights", "data/batch", `for jobs named flights-*, exact, not for "flights"`},
		{"exactly", "data/batch", "for jobs named"},
		{"exact", "other", `for jobs in the Mesos role data/*, and job "exact" is in "other"`},
	} {
		err := actor.Permit(test.job, test.role)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s in %s: got %v, want %q", test.job, test.role, err, test.want)
		}
	}
	if err := (&Actor{Roles: []Role{Submitter}}).Permit("any", "any"); err != nil {
		t.Errorf("no limit: got %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"*", "any/thing", true}, {"a*", "a", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a", "ab", false}, {"a*a", "a", false}, {"a*a", "aa", true}, {"a*b*c", "a-b-b-c", true}, {"a*b*c", "a-c-b", false},
		{"*b*b*", "b", false}, {"*b*b*", "bb", true}, {"a**c", "abc", true}, {"[a-z]", "b", false}, {"?", "b", false}, {"", "", true}, {"", "a", false},
	} {
		if got := matches(test.pattern, test.text); got != test.want {
			t.Errorf("%q on %q: got %v", test.pattern, test.text, got)
		}
	}
}

// Each actor has a limit of his own, and no more are kept than there are actors.
func TestLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	tokensFile(t, path, 0o600, "a roles: [submitter]", "b roles: [submitter]")
	synctest.Test(t, func(t *testing.T) {
		a, err := Open(Config{File: path, Rate: 2, Burst: 3})
		if err != nil {
			t.Fatal(err)
		}
		first, other := &Actor{Name: "a"}, &Actor{Name: "b"}
		for range 3 {
			if wait := a.Limit(first); wait != 0 {
				t.Fatalf("got %v", wait)
			}
		}
		for range 2 { // what is refused is not taken
			if wait := a.Limit(first); wait != 500*time.Millisecond {
				t.Errorf("got %v", wait)
			}
		}
		if wait := a.Limit(other); wait != 0 {
			t.Errorf("the other: got %v", wait)
		}
		time.Sleep(500 * time.Millisecond)
		if wait := a.Limit(first); wait != 0 {
			t.Errorf("later: got %v", wait)
		}
		for i := range 100 {
			a.Limit(&Actor{Name: fmt.Sprint("gone-", i)})
		}
		if len(a.limits) > 4 || a.limits["a"] == nil {
			t.Errorf("%d limits are kept", len(a.limits))
		}
	})
	free, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if wait := free.Limit(anonymous); wait != 0 || len(free.limits) > 0 {
		t.Errorf("without a limit: got %v", wait)
	}
}

func TestNewSecret(t *testing.T) {
	secret, sum := NewSecret()
	if again, _ := NewSecret(); again == secret || !strings.HasPrefix(secret, "tidemill_") || len(secret) < 30 || sum != hashed(secret) {
		t.Errorf("got %d characters", len(secret))
	}
}
