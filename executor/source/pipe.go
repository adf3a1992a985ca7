package source

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pipe brings rows to the engine that it reads once, from a path in the session's directory.
type pipe struct {
	path  string // a link to the reading end
	read  *os.File
	write *os.File
}

// pipeSize is how much is on its way, in bytes: no process may ask for more.
const pipeSize = 1 << 20

func openPipe(path string) (*pipe, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe to the engine: %w", err)
	}
	raw, err := write.SyscallConn()
	if err == nil { // a smaller one will do: users who have many may not have larger ones
		err = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
	if err = errors.Join(err, os.Symlink(fmt.Sprintf("/dev/fd/%d", read.Fd()), path)); err != nil {
		return nil, errors.Join(fmt.Errorf("open pipe to the engine: %w", err), read.Close(), write.Close())
	}
	return &pipe{path: path, read: read, write: write}, nil
}

// release is called when the engine reads no more: whoever still writes gets an error.
func (p *pipe) release() error {
	_ = p.write.SetWriteDeadline(time.Unix(1, 0)) // the engine may hold its end for longer; an error says that it is closed
	return errors.Join(p.read.Close(), os.Remove(p.path))
}
