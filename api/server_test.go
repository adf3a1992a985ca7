package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// timedWriter records deadlines and fails to write once its deadline is missed.
type timedWriter struct {
	*httptest.ResponseRecorder
	read, write []time.Time
	err         error
}

func (w *timedWriter) SetReadDeadline(t time.Time) error  { w.read = append(w.read, t); return nil }
func (w *timedWriter) SetWriteDeadline(t time.Time) error { w.write = append(w.write, t); return nil }

func (w *timedWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	return w.ResponseRecorder.Write(p)
}

// Each piece of a stream has a deadline of its own, and none limits how long the stream's request is read: a client that
// reads nothing is dropped, one that reads slowly is not.
func TestStreamsHaveADeadlineForEachPiece(t *testing.T) {
	w := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
	events := &eventStream{w: w, control: http.NewResponseController(w)}
	log := &logWriter{w: w, control: http.NewResponseController(w)}
	steps := []func() error{
		func() error { return events.event("run", 1, []byte("{}")) },
		func() error { return events.comment("heartbeat") },
		func() error { _, err := log.Write([]byte("x")); return err },
		func() error { _, err := log.Write(nil); return err },
	}
	for i, step := range steps {
		before := time.Now()
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if len(w.write) != i+1 || w.write[i].Before(before.Add(answerTimeout)) || w.write[i].After(time.Now().Add(answerTimeout)) {
			t.Errorf("step %d: write deadlines %v", i, w.write)
		}
		if len(w.read) != i+1 || !w.read[i].IsZero() {
			t.Errorf("step %d: read deadlines %v", i, w.read)
		}
	}
	w.err = errors.New("deadline exceeded")
	for i, step := range steps[:3] {
		if err := step(); !errors.Is(err, w.err) {
			t.Errorf("step %d: got %v", i, err)
		}
	}
}

// Each piece of an upload must come in time; when all has come, no deadline is left for the server to trip over.
func TestUploadHasADeadlineForEachPiece(t *testing.T) {
	w := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
	pieces := io.MultiReader(strings.NewReader("one"), strings.NewReader("two"))
	body := &uploadBody{body: io.NopCloser(pieces), control: http.NewResponseController(w)}
	begin := time.Now()
	data, err := io.ReadAll(body)
	if err != nil || string(data) != "onetwo" {
		t.Fatalf("got %q, %v", data, err)
	}
	if n := len(w.read); n < 3 || !w.read[n-1].IsZero() {
		t.Fatalf("got deadlines %v", w.read)
	}
	for _, deadline := range w.read[:len(w.read)-1] {
		if deadline.Before(begin.Add(bodyTimeout)) {
			t.Errorf("got deadline %v", deadline)
		}
	}
}

// Pieces that come in time and are too small for the whole to come in time end an upload.
func TestUploadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
		begin := time.Now()
		ends := begin.Add(uploadTimeout - answerTimeout)
		body := &uploadBody{body: io.NopCloser(trickle{}), control: http.NewResponseController(w), ends: ends}
		if _, err := io.Copy(io.Discard, body); !errors.Is(err, errSlow) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took < uploadTimeout-answerTimeout || took > uploadTimeout {
			t.Errorf("it took %s", took)
		}
		if last := w.read[len(w.read)-1]; !last.Equal(ends) {
			t.Errorf("the last deadline is %s, want %s", last, ends)
		}
	})
}

// trickle gives a byte now and then.
type trickle struct{}

func (trickle) Read([]byte) (int, error) {
	time.Sleep(bodyTimeout - 7*time.Second)
	return 1, nil
}

// The server that the handler gives has every limit that net/http leaves open.
func TestServerIsLimited(t *testing.T) {
	server := New(Config{Artifacts: noArtifacts{}}).Server()
	if server.ReadHeaderTimeout == 0 || server.IdleTimeout == 0 || server.MaxHeaderBytes == 0 {
		t.Errorf("got %+v", server)
	}
}

type noArtifacts struct {
	Artifacts
	http.Handler
}

func (noArtifacts) ServeHTTP(http.ResponseWriter, *http.Request) {}

func TestDrainIsBounded(t *testing.T) {
	body := &countingReader{}
	drain(body)
	if body.n < maxDrain || body.n > maxDrain+1<<20 {
		t.Errorf("read %d bytes of an endless body", body.n)
	}
}

type countingReader struct{ n int64 }

func (r *countingReader) Read(p []byte) (int, error) { r.n += int64(len(p)); return len(p), nil }

func TestIsJSON(t *testing.T) {
	for contentType, want := range map[string]bool{
		"": true, "application/json": true, "Application/JSON; charset=utf-8": true, "application/vnd.tidemill+json": true,
		"application/x-www-form-urlencoded": true, "text/plain": false, "application/yaml": false, "multipart/form-data; boundary=x": false, "json": false,
	} {
		if got := isJSON(contentType); got != want {
			t.Errorf("%q: got %v", contentType, got)
		}
	}
}

func TestLocated(t *testing.T) {
	for location, want := range map[string][2]string{
		"body": {"", ""}, "body.params": {"/params", ""}, "body.items[3].name": {"/items/3/name", ""}, "body.a/b~c": {"/a~1b~0c", ""},
		"query.limit": {"", "limit"}, "query.state[0]": {"", "state"}, "header.X-Checksum-Sha256": {"", "X-Checksum-Sha256"}, "path.id": {"", "id"}, "": {"", ""},
	} {
		if got := located(location); got.Pointer != want[0] || got.Parameter != want[1] {
			t.Errorf("%q: got %+v, want %q", location, got, want)
		}
	}
}
