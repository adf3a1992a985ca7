package zookeeper_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/maven"
	"github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
)

func TestLife(t *testing.T) {
	s := zookeepertest.Start(t, zookeeper.Config{})
	address, pid := s.Address(), s.PID()
	if got := ask(t, address); !strings.Contains(got, "Mode: standalone") {
		t.Errorf("srvr: got %q", got)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, address); got != "" {
		t.Errorf("srvr while frozen: got %q, want no answer", got)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, address); !strings.Contains(got, "Mode: standalone") {
		t.Errorf("srvr after going on: got %q", got)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process after being killed: got %v, want no such process", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Address() != address || s.PID() == pid {
		t.Errorf("restarted: got %s (process %d), want %s and not process %d", s.Address(), s.PID(), address, pid)
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

// ask returns what srvr answers within 300 ms.
func ask(t *testing.T, address string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("srvr")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := c.Read(answer)
	if n < len("Mode: standalone") && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("srvr: %v", err)
	}
	for err == nil {
		var more int
		more, err = c.Read(answer[n:])
		n += more
	}
	return string(answer[:n])
}

func TestMissingJava(t *testing.T) {
	t.Setenv("JAVA_HOME", "")
	t.Setenv("PATH", t.TempDir())
	if err := zookeeper.Available(); !errors.Is(err, maven.ErrNoJava) {
		t.Errorf("available: got %v, want ErrNoJava", err)
	}
	if _, err := zookeeper.Start(t.Context(), zookeeper.Config{Dir: t.TempDir()}); !errors.Is(err, maven.ErrNoJava) {
		t.Errorf("start: got %v, want ErrNoJava", err)
	}
}
