package api

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// An executor's file takes as long as the network takes, much longer than a request may take to come: net/http ends the
// context of a request when its read deadline passes, whatever is being written.
func TestSlowDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := New(Config{Artifacts: file{}}).Server()
		local, remote := net.Pipe()
		listener := &listener{conn: make(chan net.Conn, 1)}
		listener.conn <- remote
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()

		if _, err := io.WriteString(local, "GET /artifacts/sum/tidemill-executor HTTP/1.1\r\nHost: tidemill\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		answer, err := http.ReadResponse(bufio.NewReader(&slowReader{local}), nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, answer.Body)
		if err != nil || n != fileSize {
			t.Errorf("got %d of %d bytes after %s: %v", n, fileSize, time.Since(begun), err)
		}
		if took := time.Since(begun); took < 2*bodyTimeout || took > fileTimeout {
			t.Errorf("it took %s: this is no slow download", took)
		}
		if err := errors.Join(local.Close(), server.Close()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

const fileSize = 1 << 20

// file is sent piece by piece until the request's context ends, as one from object storage is.
type file struct{ Artifacts }

func (file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for sent := 0; sent < fileSize && r.Context().Err() == nil; {
		n, err := w.Write(make([]byte, 32<<10))
		if err != nil {
			return
		}
		sent += n
	}
}

// slowReader reads 4 KiB a second.
type slowReader struct{ io.Reader }

func (r *slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return r.Reader.Read(p[:min(len(p), 4<<10)])
}

// listener accepts one connection.
type listener struct{ conn chan net.Conn }

func (l *listener) Accept() (net.Conn, error) {
	conn, open := <-l.conn
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l *listener) Close() error   { close(l.conn); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }
