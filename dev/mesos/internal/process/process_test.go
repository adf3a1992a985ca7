package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// container starts a shell script in a session of its own, marked.
func container(t *testing.T, script string) (leader Identity, mark, dir string) {
	t.Helper()
	dir = t.TempDir()
	mark = "CONTAINER=" + dir
	command := exec.Command("/bin/sh", "-c", script)
	command.Dir, command.Env = dir, append(os.Environ(), mark)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	leader, err := Identify(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		if err := Destroy(leader, mark, 10*time.Second); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return leader, mark, dir
}

// pidIn waits for a file with a PID in it.
func pidIn(t *testing.T, file string) int {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("%s: no PID", file)
	return 0
}

func TestDestroyFindsWhateverRanAway(t *testing.T) {
	leader, mark, dir := container(t, `
		sleep 300 & echo $! > child
		(setsid sh -c 'echo $$ > session; exec sleep 300' &)
		(setsid setsid sh -c 'echo $$ > orphan; exec sleep 300' & ) &
		wait`)
	pids := []int{leader.PID}
	for _, name := range []string{"child", "session", "orphan"} {
		pids = append(pids, pidIn(t, filepath.Join(dir, name)))
	}
	if !slices.Contains(Members(leader.PID), pids[1]) {
		t.Errorf("the child %d is no member of the session: %v", pids[1], Members(leader.PID))
	}
	if err := Destroy(leader, mark, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if s, err := readStat(pid); err == nil && s.state != 'Z' {
			t.Errorf("process %d lives", pid)
		}
	}
}

func TestValuesAreThoseOfTheLiving(t *testing.T) {
	leader, mark, _ := container(t, "exec sleep 300")
	name, value, _ := strings.Cut(mark, "=")
	if !Values(name)[value] {
		t.Errorf("%s is missing", mark)
	}
	if err := Destroy(leader, mark, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if Values(name)[value] {
		t.Errorf("%s is there without a process", mark)
	}
}

func TestIdentityIsOneProcess(t *testing.T) {
	leader, _, _ := container(t, "sleep 300")
	if !leader.Alive() {
		t.Error("it does not live")
	}
	if other := (Identity{PID: leader.PID, Start: leader.Start + 1}); other.Alive() {
		t.Error("a process with that PID of another time lives")
	}
	// Somebody else's session is left alone.
	other := Identity{PID: leader.PID, Start: leader.Start + 1}
	if err := Destroy(other, "CONTAINER=none", time.Second); err != nil || !leader.Alive() {
		t.Errorf("a stranger was killed, or looked for: %v", err)
	}
}

func TestNeverStartedHasNoMembers(t *testing.T) {
	if got := Members(0); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestMemoryAndTimeAreCounted(t *testing.T) {
	// The shell holds 30 MB in a variable that its loop built up.
	leader, _, dir := container(t, `x=$(head -c 30000000 /dev/zero | tr '\0' x); echo $$ > ready; sleep 300`)
	pidIn(t, filepath.Join(dir, "ready"))
	if used := Memory(leader.PID)[leader.PID] >> 20; used < 28 || used > 200 {
		t.Errorf("it holds %d MB", used)
	}
	if user, system := CPU(leader.PID); user+system <= 0 {
		t.Errorf("it used %v s", user+system)
	}
}

func TestSignalReachesAll(t *testing.T) {
	leader, _, dir := container(t, `
		trap 'echo $$ > caught; exit' TERM
		sh -c 'trap "echo \$\$ > caught-too; exit" TERM; echo $$ > ready; while :; do sleep 0.01; done' &
		while :; do sleep 0.01; done`)
	pidIn(t, filepath.Join(dir, "ready"))
	Signal(leader.PID, syscall.SIGTERM)
	for _, name := range []string{"caught", "caught-too"} {
		pidIn(t, filepath.Join(dir, name))
	}
}

func TestIdentifyNamesTheProcess(t *testing.T) {
	_, err := Identify(1 << 30)
	if want := fmt.Sprintf("identify process %d: ", 1<<30); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
}
