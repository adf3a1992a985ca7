package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/tidemill/tidemill/api/wire"
)

// Upload is an executor's file for one platform.
type Upload struct {
	Version  string // that the file says of itself
	Platform string // such as linux-amd64
	// File is read twice: for its SHA-256, then to be sent.
	File interface {
		io.ReaderAt
		io.Seeker // for its size
	}
	Sign     func(sum string) []byte // gives the Ed25519 signature for a SHA-256 in hex; nil: none is sent
	Progress func(sent, size int64)  // is told, in bytes, as they are sent; begins anew when they are sent again. May be nil
}

// Register uploads an executor's file. created is false if the same bytes were registered before. A server that refuses
// the file for its headers is not sent the body; one that is away for a moment is sent it again.
func (c *Client) Register(ctx context.Context, upload Upload) (executor wire.Executor, created bool, err error) {
	size, err := upload.File.Seek(0, io.SeekEnd)
	hash := sha256.New()
	if err == nil {
		_, err = io.Copy(hash, io.NewSectionReader(upload.File, 0, size))
	}
	if err != nil {
		return executor, false, fmt.Errorf("read executor: %w", err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	call := call{
		method: http.MethodPut, path: []string{"v1", "executors", upload.Version, upload.Platform},
		header: map[string]string{
			"Content-Type":      "application/octet-stream",
			"X-Checksum-Sha256": sum,
			"Expect":            "100-continue", // what is refused by its headers is not sent
		},
		file: &file{content: upload.File, size: size, progress: upload.Progress}, repeat: true,
	}
	if upload.Sign != nil {
		call.header["X-Signature-Ed25519"] = base64.StdEncoding.EncodeToString(upload.Sign(sum))
	}
	status, err := c.do(ctx, call, &executor)
	return executor, status == http.StatusCreated, err
}

// file is a body that is too large to be kept.
type file struct {
	content  io.ReaderAt
	size     int64
	progress func(sent, size int64) // nil: nobody asks

	mu     sync.Mutex
	newest *reporting
}

// reader gives the body from its beginning on. That of an earlier attempt may still be read from for a moment.
func (f *file) reader() io.Reader {
	content := io.NewSectionReader(f.content, 0, f.size)
	if f.progress == nil {
		return content
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = &reporting{file: f, content: content}
	return f.newest
}

// reporting tells how much of it was read, unless there is a newer one.
type reporting struct {
	file    *file
	content io.Reader
	sent    int64
}

func (r *reporting) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	r.sent += int64(n)
	r.file.mu.Lock()
	defer r.file.mu.Unlock()
	if r.file.newest == r {
		r.file.progress(r.sent, r.file.size)
	}
	return n, err
}
