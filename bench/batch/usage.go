package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process is a line of /proc/<pid>/stat (proc(5)).
type process struct {
	parent         int
	own, collected time.Duration // CPU of itself, and of descendants that it has waited for
	resident       int64         // bytes
}

// tick is the unit of CPU times in /proc: USER_HZ, 100 on all Linux machines that Go runs on.
const tick = 10 * time.Millisecond

// processes reads all that there are now.
func processes() map[int]process {
	all := map[int]process{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return all
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			all[pid] = p
		}
	}
	return all
}

func readProcess(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the third field is the first one here
	if len(fields) < 22 {
		return process{}, fmt.Errorf("read stat of process %d: %d fields", pid, len(fields))
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(fields[i], 10, 64) // the kernel writes numbers
		return n
	}
	return process{
		parent:    int(number(1)),
		own:       time.Duration(number(11)+number(12)) * tick,
		collected: time.Duration(number(13)+number(14)) * tick,
		resident:  number(21) * int64(os.Getpagesize()),
	}, nil
}

// below are the descendants of a process.
func below(all map[int]process, root int) []int {
	children := map[int][]int{}
	for pid, p := range all {
		children[p.parent] = append(children[p.parent], pid)
	}
	found := []int{}
	for next := children[root]; len(next) > 0; {
		pid := next[0]
		found = append(found, pid)
		next = append(next[1:], children[pid]...)
	}
	return found
}

// cpuBelow is the CPU that all descendants of a process have taken so far, and what the process itself has.
func cpuBelow(root int) (descendants, itself time.Duration) {
	all := processes()
	descendants = all[root].collected
	for _, pid := range below(all, root) {
		descendants += all[pid].own + all[pid].collected
	}
	return descendants, all[root].own
}

// memoryWatch looks at what a tree of processes has resident.
type memoryWatch struct {
	root     int
	withRoot bool
	peak     int64
	end      chan struct{}
	done     sync.WaitGroup
}

func watchMemory(root int) *memoryWatch      { return startWatch(root, true) }
func watchMemoryBelow(root int) *memoryWatch { return startWatch(root, false) }

func startWatch(root int, withRoot bool) *memoryWatch {
	w := &memoryWatch{root: root, withRoot: withRoot, end: make(chan struct{})}
	w.done.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-w.end:
				return
			case <-ticker.C:
				w.peak = max(w.peak, w.now())
			}
		}
	})
	return w
}

func (w *memoryWatch) now() (sum int64) {
	all := processes()
	for _, pid := range below(all, w.root) {
		sum += all[pid].resident
	}
	if w.withRoot {
		sum += all[w.root].resident
	}
	return sum
}

// stop returns the peak, in bytes.
func (w *memoryWatch) stop() int64 {
	close(w.end)
	w.done.Wait()
	return w.peak
}
