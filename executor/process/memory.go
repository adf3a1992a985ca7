package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// memoryInterval is how often a task process is looked at. At 2 GB/s it grows by 100 MB meanwhile; a look costs some 20 µs.
const memoryInterval = 50 * time.Millisecond

// memory is what a process holds, in bytes, without the pages of its own file, which all task processes share.
type memory struct {
	now  int64
	peak int64
}

// readMemory reads /proc/<pid>/status; pid may be "self".
func readMemory(pid string) (memory, error) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return memory{}, fmt.Errorf("read memory: %w", err)
	}
	return parseMemory(status), nil
}

// parseMemory counts what the process allocated: anonymous and shared memory. The peak is known of the whole only, so
// the file pages of now are taken off it. A process that is ending has no such lines and counts as 0.
func parseMemory(status []byte) memory {
	var anonymous, shared, file, high int64
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "RssAnon":
			anonymous = kibibytes(value)
		case "RssShmem":
			shared = kibibytes(value)
		case "RssFile":
			file = kibibytes(value)
		case "VmHWM":
			high = kibibytes(value)
		}
	}
	now := anonymous + shared
	return memory{now: now, peak: max(now, high-file)}
}

// kibibytes reads "   1234 kB"; what is not of that form counts as 0.
func kibibytes(value []byte) int64 {
	n, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
	if err != nil || n < 0 || n > 1<<50 {
		return 0
	}
	return n << 10
}
