package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Event says what an entry is about.
type Event string

// The events.
const (
	Asked    Event = "asked"    // a change is about to be carried out
	Answered Event = "answered" // it was: see Status
	Refused  Event = "refused"  // it was not, for want of a token, a role or patience: see Status
)

// Entry is one line.
type Entry struct {
	Time         time.Time         `json:"time"`
	Event        Event             `json:"event"`
	Request      string            `json:"request"`                 // its ID, as in the answer's X-Request-Id
	Actor        string            `json:"actor,omitempty"`         // whose token it had; empty: a wrong one, or none
	Address      string            `json:"address"`                 // of the connection's other end
	ForwardedBy  string            `json:"forwarded_by,omitempty"`  // the instance that passed it on
	ForwardedFor string            `json:"forwarded_for,omitempty"` // whom it came from, as that instance or a proxy says
	Action       string            `json:"action"`                  // the operation's ID
	Target       map[string]string `json:"target,omitempty"`        // what the path names
	Facts        map[string]any    `json:"facts,omitempty"`         // what the query, headers and body say of it
	Status       int               `json:"status,omitempty"`        // of the answer; 0: the connection broke before it
	Location     string            `json:"location,omitempty"`      // of what was made
}

const (
	maxSize = 64 << 20 // bytes of one file
	maxKept = 16       // files that were put aside
	aside   = "20060102T150405.000Z"
)

// Log is a file of entries. Make one with [Open] or [To]. Its methods are safe for concurrent use.
type Log struct {
	path    string
	maxSize int64
	now     func() time.Time

	failures atomic.Uint64

	mu   sync.Mutex
	out  io.Writer
	file *os.File // nil: what is written goes to out only
	size int64
	torn bool // the last line is not whole
}

// To is a log on w, which nobody closes.
func To(w io.Writer) *Log { return &Log{out: w} }

// Open opens the log in the file of that path, and makes it if need be. A file of 64 MiB is put aside, with the time in
// its name; 16 of them are kept. Others may move the file away, too.
func Open(path string) (*Log, error) {
	l := &Log{path: path, maxSize: maxSize, now: time.Now}
	return l, l.open()
}

// open opens the file. A last line that is not whole, because its writer was ended in it, is ended.
func (l *Log) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	last := []byte{'\n'}
	if err == nil && info.Size() > 0 {
		_, err = file.ReadAt(last, info.Size()-1)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open audit log %q: %w", l.path, err), file.Close())
	}
	l.file, l.out, l.size, l.torn = file, file, info.Size(), last[0] != '\n'
	return nil
}

// Write adds a line. It blocks until the operating system has it. After an error the line may be there in part, and the
// next one begins anew.
func (l *Log) Write(e Entry) error {
	err := l.write(e)
	if err != nil {
		l.failures.Add(1)
	}
	return err
}

// Failures counts the errors of Write.
func (l *Log) Failures() uint64 { return l.failures.Load() }

func (l *Log) write(e Entry) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.settle(); err != nil {
		return err
	}
	text := line.Bytes()
	if l.torn {
		text = append([]byte{'\n'}, text...)
	}
	n, err := l.out.Write(text)
	l.size += int64(n)
	if n > 0 {
		l.torn = n < len(text)
	}
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	return nil
}

// settle makes sure that what is written goes to a file of that name which is not too large.
func (l *Log) settle() error {
	if l.path == "" {
		return nil
	}
	if l.file == nil {
		return l.open() // which failed before
	}
	there, err := os.Stat(l.path)
	if err == nil && l.size < l.maxSize {
		var own os.FileInfo
		if own, err = l.file.Stat(); err == nil && os.SameFile(own, there) {
			return nil
		}
	}
	if err == nil && l.size >= l.maxSize {
		err = l.putAside()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("rotate audit log: %w", err)
	}
	err = l.file.Close()
	l.file = nil
	return errors.Join(err, l.open())
}

// putAside renames the file and removes the oldest of those that were. One rename does it: there is no moment at which
// an end of the process would lose lines.
func (l *Log) putAside() error {
	kept, err := l.kept()
	if err != nil {
		return err
	}
	at := l.now().UTC()
	if len(kept) > 0 { // the newest has the latest name, whatever the clock does
		newest, err := time.Parse(aside, strings.TrimPrefix(kept[len(kept)-1], l.path+"."))
		if err == nil && !at.Truncate(time.Millisecond).After(newest) {
			at = newest.Add(time.Millisecond)
		}
	}
	if err := os.Rename(l.path, l.path+"."+at.Format(aside)); err != nil {
		return err
	}
	for ; len(kept) >= maxKept && err == nil; kept = kept[1:] {
		err = os.Remove(kept[0])
	}
	return err
}

// kept are the files that were put aside, oldest first.
func (l *Log) kept() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(l.path))
	if err != nil {
		return nil, err
	}
	var kept []string
	for _, e := range entries {
		at, ours := strings.CutPrefix(e.Name(), filepath.Base(l.path)+".")
		if _, err := time.Parse(aside, at); ours && err == nil {
			kept = append(kept, l.path+"."+at)
		}
	}
	slices.Sort(kept)
	return kept, nil
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
