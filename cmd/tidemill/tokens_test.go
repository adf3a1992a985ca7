package main

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/tidemill/tidemill/api/access"
)

// Root adds a token to the file of the service's user, or an operator to one that a group may read: whoever could read
// the file still can.
func TestAddToKeepsOwner(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 1234, 1234
	} else {
		groups, err := os.Getgroups()
		if err != nil {
			t.Fatal(err)
		}
		other := slices.IndexFunc(groups, func(g int) bool { return g != gid })
		if other < 0 {
			t.Skip("this user can give a file to nobody else")
		}
		gid = groups[other]
	}
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	_, sum := access.NewSecret()
	token := access.Token{Name: "ci", SHA256: sum, Roles: []access.Role{access.Deployer}}
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := addTo(path, token); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if int(owner.Uid) != uid || int(owner.Gid) != gid || info.Mode().Perm() != 0o640 || info.Size() == 0 {
		t.Errorf("got %d:%d, %v, %d bytes", owner.Uid, owner.Gid, info.Mode(), info.Size())
	}
}
