package lease_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// candidateURL names, in the environment, where this test binary takes part until its standard input ends.
const candidateURL = "TIDEMILL_TEST_CANDIDATE"

// beCandidate says, a thousand times a second while its term is valid, by which clock it was: the time is taken first, so
// that being stopped afterwards makes no term look longer than it was.
func beCandidate(text string) error {
	url, err := zookeeper.ParseURL(text)
	if err != nil {
		return err
	}
	session := zookeeper.Connect(url, zookeeper.Config{SessionTimeout: timeout})
	defer session.Close()
	l, err := lease.NewZooKeeper(session, lease.Instance{URL: strconv.Itoa(os.Getpid())}, slog.Default())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test or its process has ended
		cancel()
	}()
	for terms := 1; ; terms++ {
		term, err := l.Acquire(ctx)
		if err != nil {
			break
		}
		for ctx.Err() == nil {
			now := time.Now().UnixNano()
			if !term.Valid() {
				break
			}
			fmt.Println(terms, now)
			time.Sleep(time.Millisecond)
		}
		if ctx.Err() == nil {
			<-term.Done()
		}
	}
	return l.Close()
}

// interval is a term as its process saw it.
type interval struct {
	who         string
	first, last int64 // ns
}

// candidate is such a process.
type candidate struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	read  sync.WaitGroup

	mu    sync.Mutex
	terms map[string]*interval
	last  int64
}

func startCandidate(t *testing.T, url string) *candidate {
	t.Helper()
	c := &candidate{t: t, cmd: exec.Command(os.Args[0]), terms: map[string]*interval{}}
	c.cmd.Env = append(os.Environ(), candidateURL+"="+url)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.read.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			term, at, ok := strings.Cut(lines.Text(), " ")
			now, err := strconv.ParseInt(at, 10, 64)
			if !ok || err != nil {
				return // cut short by being killed
			}
			c.note(term, now)
		}
	})
	return c
}

func (c *candidate) note(term string, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terms[term] == nil {
		c.terms[term] = &interval{who: fmt.Sprintf("process %d, term %s", c.cmd.Process.Pid, term), first: now}
	}
	c.terms[term].last, c.last = now, now
}

// ledAfter says whether it was valid after that time.
func (c *candidate) ledAfter(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last > t.UnixNano()
}

func (c *candidate) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// end lets the process end and gives its terms.
func (c *candidate) end() []interval {
	c.t.Helper()
	if err := c.stdin.Close(); err != nil {
		c.t.Error(err)
	}
	c.read.Wait()
	if err := c.cmd.Wait(); err != nil && !strings.Contains(err.Error(), "killed") {
		c.t.Error(err)
	}
	var out []interval
	for _, i := range c.terms {
		out = append(out, *i)
	}
	return out
}

// Processes are stopped for longer than the session timeout, killed, and cut off; never are two of them valid at one
// time, and there is always one again soon.
func TestNeverTwo(t *testing.T) {
	t.Parallel()
	g := newGroup(t, zookeepertest.Shared(t))
	proxy := zookeepertest.NewProxy(t, g.server.Address())
	start := func(address string) *candidate { return startCandidate(t, "zk://user:secret@"+address+g.path) }
	all := []*candidate{start(proxy.Address()), start(g.server.Address()), start(g.server.Address())}
	defer func() {
		for _, c := range all {
			_ = c.cmd.Process.Kill() // when the test failed on the way; it has ended otherwise
		}
	}()
	// leader waits until one of them is valid, other than not.
	leader := func(not *candidate) *candidate {
		t.Helper()
		begin := time.Now()
		for end := begin.Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for _, c := range all {
				if c != not && c.ledAfter(begin) {
					if took := time.Since(begin); not != nil && took > 3*timeout {
						t.Errorf("a new leader only after %s", took)
					}
					return c
				}
			}
		}
		t.Fatal("nobody leads")
		return nil
	}
	for round := range 5 {
		old := leader(nil)
		switch {
		case old == all[0] && round%2 == 0:
			proxy.Hold(zookeepertest.Requests, zookeepertest.Answers)
			leader(old)
			proxy.Release()
		case round%3 == 2:
			old.signal(syscall.SIGKILL)
			leader(old)
			all = append(all, start(g.server.Address()))
		default:
			old.signal(syscall.SIGSTOP)
			next := leader(old)
			began := time.Now()
			old.signal(syscall.SIGCONT)
			for !next.ledAfter(began.Add(2 * tick)) { // while the other one wakes up
				time.Sleep(time.Millisecond)
			}
		}
	}
	var terms []interval
	for _, c := range all {
		terms = append(terms, c.end()...)
	}
	slices.SortFunc(terms, func(a, b interval) int { return int(a.first - b.first) })
	if len(terms) < 6 {
		t.Errorf("only %d terms in five rounds", len(terms))
	}
	for n := range terms[:len(terms)-1] {
		if gap := time.Duration(terms[n+1].first - terms[n].last); gap < 0 {
			t.Errorf("%s and %s were valid at one time for %s", terms[n].who, terms[n+1].who, -gap)
		}
	}
}
