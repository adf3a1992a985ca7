package process

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Identity names one process for good: a PID may be used again, together with the
// start time it may not.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks since boot
}

// Identify reads the identity of a living process.
func Identify(pid int) (Identity, error) {
	s, err := readStat(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return Identity{PID: pid, Start: s.start}, nil
}

// Alive says whether the process is still there and not just a zombie.
func (id Identity) Alive() bool {
	s, err := readStat(id.PID)
	return err == nil && s.start == id.Start && s.state != 'Z' && s.state != 'X'
}

type stat struct {
	pid, parent, session int
	user, system         uint64 // time used, in clock ticks
	start                uint64
	state                byte
}

func readStat(pid int) (stat, error) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	// The command name stands in parentheses and may hold anything, so count from
	// the last one: state ppid pgrp session … utime is the 14th field of all, starttime
	// the 22nd.
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return stat{}, errors.New("no command name in stat")
	}
	fields := strings.Fields(string(line[end+1:]))
	if len(fields) < 20 {
		return stat{}, errors.New("too few fields in stat")
	}
	s := stat{pid: pid, state: fields[0][0]}
	var errs [5]error
	s.parent, errs[0] = strconv.Atoi(fields[1])
	s.session, errs[1] = strconv.Atoi(fields[3])
	s.start, errs[2] = strconv.ParseUint(fields[19], 10, 64)
	s.user, errs[3] = strconv.ParseUint(fields[11], 10, 64)
	s.system, errs[4] = strconv.ParseUint(fields[12], 10, 64)
	return s, errors.Join(errs[:]...)
}

func all() []stat {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var stats []stat
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil { // it may have ended meanwhile
			stats = append(stats, s)
		}
	}
	return stats
}

// Members lists the living processes of a session: those in it and their
// descendants, in no order. There is no session 0: it stands for a process that was
// never started.
func Members(session int) []int { return members(all(), session) }

func members(stats []stat, session int) []int {
	if session <= 0 {
		return nil
	}
	in := map[int]bool{}
	for _, s := range stats {
		if s.session == session {
			in[s.pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, s := range stats {
			if !in[s.pid] && in[s.parent] {
				in[s.pid], grown = true, true
			}
		}
	}
	var pids []int
	for _, s := range stats {
		if in[s.pid] && s.state != 'Z' {
			pids = append(pids, s.pid)
		}
	}
	return pids
}

// Marked lists the living processes whose environment holds the entry
// "name=value": they come from the container that was started with it, wherever
// they have gone since.
func Marked(entry string) []int {
	var pids []int
	environments(func(pid int, variables iter.Seq[[]byte]) {
		for variable := range variables {
			if string(variable) == entry {
				pids = append(pids, pid)
				return
			}
		}
	})
	return pids
}

// Values are those that a variable has in the environments of the living processes.
func Values(name string) map[string]bool {
	values := map[string]bool{}
	environments(func(_ int, variables iter.Seq[[]byte]) {
		for variable := range variables {
			if value, found := strings.CutPrefix(string(variable), name+"="); found {
				values[value] = true
			}
		}
	})
	return values
}

// environments visits the living processes whose environment may be read, with the
// entries of it.
func environments(visit func(pid int, variables iter.Seq[[]byte])) {
	for _, s := range all() {
		environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.pid), "environ"))
		if err == nil && s.state != 'Z' {
			visit(s.pid, bytes.SplitSeq(environ, []byte{0}))
		}
	}
}

// Memory is what the processes of each session hold in bytes: anonymous and shared
// memory, not pages of files, which the kernel can take back. All are looked at in
// one go.
func Memory(sessions ...int) map[int]uint64 {
	stats := all()
	held := map[int]uint64{}
	for _, session := range sessions {
		for _, pid := range members(stats, session) {
			held[session] += memoryOf(pid)
		}
	}
	return held
}

// memoryOf is nothing for a process that has ended meanwhile.
func memoryOf(pid int) (sum uint64) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		if kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); err == nil {
			sum += kb << 10
		}
	}
	return sum
}

// CPU is the time that the living processes of a session have used, in seconds.
func CPU(session int) (user, system float64) {
	const ticksPerSecond = 100 // of /proc, on all platforms that Go knows
	for _, pid := range Members(session) {
		if s, err := readStat(pid); err == nil {
			user += float64(s.user) / ticksPerSecond
			system += float64(s.system) / ticksPerSecond
		}
	}
	return user, system
}

// Signal sends a signal to all members of a session.
func Signal(session int, signal syscall.Signal) {
	for _, pid := range Members(session) {
		syscall.Kill(pid, signal) //nolint:errcheck // it may have ended meanwhile
	}
}

// Destroy kills everything that belongs to a container and returns when nothing of
// it lives any more, or with an error after the timeout. leader is the process that
// began the session; mark is the environment entry that its processes carry.
func Destroy(leader Identity, mark string, timeout time.Duration) error {
	session := leader.PID
	if s, err := readStat(leader.PID); err == nil && s.start != leader.Start {
		session = 0 // somebody else has that PID now
	}
	deadline := time.Now().Add(timeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		pids := append(Members(session), Marked(mark)...)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("destroy session %d: processes %v still live", session, pids)
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended meanwhile
		}
		time.Sleep(wait)
	}
}
