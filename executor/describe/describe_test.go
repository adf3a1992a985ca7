package describe

import (
	"runtime"
	"testing"
)

func TestOwnBlockIsSound(t *testing.T) {
	d := Own()
	if d.Version != unstamped || d.OS != runtime.GOOS || d.Arch != runtime.GOARCH {
		t.Errorf("got %+v", d)
	}
	if d.ProtocolMin != 1 || d.ProtocolMax < d.ProtocolMin || len(d.Kinds) == 0 {
		t.Errorf("got %+v", d)
	}
}
