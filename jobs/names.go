package jobs

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// All names below are shorter than 200 characters, are valid as Mesos IDs (no slash, space or control character) and
// as one segment of an object key, and are never used twice as long as run IDs are not.

// RunID names a run: job, second of its creation in UTC, and 30 random bits, as in
// "flights-by-carrier-20261123160000-k7q2mz". The caller makes sure that no run has that ID yet. job is a valid name.
func RunID(job string, created time.Time, random uint64) string {
	var bits [8]byte
	binary.BigEndian.PutUint64(bits[:], random)
	text := strings.ToLower(base32.StdEncoding.EncodeToString(bits[:]))
	return job + "-" + created.UTC().Format(runTime) + "-" + text[:runSuffix]
}

const (
	runTime   = "20060102150405" // of a run ID, in UTC
	runSuffix = 6                // characters of five bits
)

// ParseRunID takes a [RunID] apart. created is the second of the run's creation.
func ParseRunID(id string) (job string, created time.Time, err error) {
	rest, suffix, ok := cutLast(id, "-")
	job, second, ok2 := cutLast(rest, "-")
	created, wrong := time.Parse(runTime, second)
	good := len(suffix) == runSuffix && strings.Trim(suffix, "abcdefghijklmnopqrstuvwxyz234567") == ""
	if !ok || !ok2 || !good || wrong != nil || len(second) != len(runTime) || job == "" {
		return "", time.Time{}, fmt.Errorf("parse run ID %q: want <job>-<yyyymmddhhmmss>-<6 letters and digits>", id)
	}
	return job, created, nil
}

// TaskID names a task of a run: "<run>.<stage>.<index>". stage has no dot.
func TaskID(run, stage string, index int) string {
	return run + "." + stage + "." + strconv.Itoa(index)
}

// ParseTaskID takes a [TaskID] apart.
func ParseTaskID(id string) (run, stage string, index int, err error) {
	rest, number, ok := cutLast(id, ".")
	run, stage, ok2 := cutLast(rest, ".")
	index, parsed := ordinal(number)
	if !ok || !ok2 || !parsed || run == "" || stage == "" {
		return "", "", 0, fmt.Errorf("parse task ID %q: want <run>.<stage>.<index>", id)
	}
	return run, stage, index, nil
}

// MesosTaskID names an attempt of a task: "<task>.<attempt>", with attempts counted from 1.
func MesosTaskID(task string, attempt uint32) string {
	return task + "." + strconv.FormatUint(uint64(attempt), 10)
}

// ParseMesosTaskID takes a [MesosTaskID] apart. It refuses what is not the ID of a task of ours.
func ParseMesosTaskID(id string) (task string, attempt uint32, err error) {
	task, number, ok := cutLast(id, ".")
	n, parsed := ordinal(number)
	if _, _, _, err := ParseTaskID(task); err != nil || !ok || !parsed || n < 1 {
		return "", 0, fmt.Errorf("parse Mesos task ID %q: want <run>.<stage>.<index>.<attempt>", id)
	}
	return task, uint32(n), nil
}

// ExecutorID names an executor process: "<owner>_<version>_<n>". owner is a run's ID or [ChecksOwner]; n tells apart
// the executors of one owner and version, and is never used twice.
func ExecutorID(owner, version string, n int) string {
	return owner + "_" + version + "_" + strconv.Itoa(n)
}

// ParseExecutorID takes an [ExecutorID] apart.
func ParseExecutorID(id string) (owner, version string, n int, err error) {
	rest, number, ok := cutLast(id, "_")
	owner, version, ok2 := cutLast(rest, "_") // versions have no underscore
	n, parsed := ordinal(number)
	if !ok || !ok2 || !parsed || owner == "" || version == "" {
		return "", "", 0, fmt.Errorf("parse executor ID %q: want <owner>_<version>_<n>", id)
	}
	return owner, version, n, nil
}

// ChecksOwner owns the executors that check expressions for a version; it stands where a run's ID stands otherwise.
func ChecksOwner(version string) string { return "checks-" + version }

// ordinal reads a number as strconv.Itoa writes it, so that two texts never mean one thing.
func ordinal(s string) (n int, ok bool) {
	u, err := strconv.ParseUint(s, 10, 32)
	return int(u), err == nil && strconv.FormatUint(u, 10) == s
}

func cutLast(s, separator string) (before, after string, ok bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(separator):], true
}
