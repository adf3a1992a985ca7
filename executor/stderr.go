package executor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalName is SIGSEGV (segmentation fault).
func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return fmt.Sprintf("%s (%s)", name, s)
	}
	return s.String()
}

// telling are beginnings of lines that say why a process crashed, unlike the stack that follows.
var telling = []string{"panic: ", "fatal error: ", "runtime: ", "SIG", "terminate called", "what():", "FATAL", "INTERNAL Error"}

const (
	stderrTail = 64 << 10 // bytes of the file's end that are looked at
	maxLine    = 300      // bytes of the line that are shown
)

// lastLine is the line of a crashed process' standard error that says most: the last telling one, else the last. It is
// empty if there is none, or the file cannot be read: then there is nothing to show.
func lastLine(file *os.File) string {
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	tail := make([]byte, min(info.Size(), stderrTail))
	n, err := file.ReadAt(tail, info.Size()-int64(len(tail)))
	if err != nil && err != io.EOF {
		return ""
	}
	var last, told string
	for line := range bytes.Lines(tail[:n]) {
		text := strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
		if text == "" {
			continue
		}
		last = text
		for _, beginning := range telling {
			if strings.HasPrefix(text, beginning) {
				told = text
			}
		}
	}
	if told == "" {
		told = last
	}
	return strings.ToValidUTF8(told[:min(len(told), maxLine)], "")
}
