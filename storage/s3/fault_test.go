package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/storage"
)

var quick = storage.Backoff{Attempts: 4, Base: time.Millisecond, Max: 4 * time.Millisecond}

// through gives a retrying store over bucket behind a proxy, and one without
// either.
func through(t *testing.T, f *flaky, bucket string) (flakyStore, direct storage.Store) {
	t.Helper()
	return storage.WithRetry(connect(t, serverConfig(f.URL)).Bucket(bucket), quick), connect(t, serverConfig(server.URL())).Bucket(bucket)
}

func content(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i>>16) ^ byte(i>>8) ^ byte(i)
	}
	return data
}

func write(t *testing.T, s storage.Store, key string, data []byte, cond storage.Condition) storage.Object {
	t.Helper()
	obj, err := storage.WriteAll(t.Context(), s, key, data, cond)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// holds checks what is stored under a key.
func holds(t *testing.T, s storage.Store, key string, want []byte) {
	t.Helper()
	got, _, err := storage.ReadAll(t.Context(), s, key, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes %.40q, want %d bytes %.40q", key, len(got), got, len(want), want)
	}
}

func TestBrokenBodiesAreResumed(t *testing.T) {
	tests := []struct {
		name   string
		faults []fault
		most   int // requests
	}{
		{"reset in the middle", times(7, cutAfter(500_000)), 8},
		{"reset before the first byte", times(3, cutAfter(0)), 4},
		{"resets and refusals", []fault{cutAfter(1000), refuse(503, "SlowDown"), loseRequest, cutAfter(1), refuse(500, "InternalError")}, 6},
	}
	data := content(5_000_000)
	bucket := newBucket(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFlaky(t, method(http.MethodGet), tt.faults...)
			s, direct := through(t, f, bucket)
			obj := write(t, direct, "k", data, storage.Always)
			holds(t, s, "k", data)
			if got := f.matched(); got != tt.most {
				t.Errorf("got %d requests, want %d", got, tt.most)
			}
			r := storage.NewReader(t.Context(), s, obj, storage.Range{Offset: 1, Length: 4_000_000}, storage.ReadAhead{Chunk: 1 << 20, Parallel: 3})
			got, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data[1:4_000_001]) {
				t.Errorf("reader: got %d bytes, %v", len(got), err)
			}
		})
	}
}

// A silent connection counts as broken. That a busy machine may be silent for
// as long adds requests, and nothing else.
func TestSilentBodiesAreResumed(t *testing.T) {
	bucket, data := newBucket(t), content(5_000_000)
	f := newFlaky(t, method(http.MethodGet), stallAfter(70_000), stallAfter(0))
	client, err := newClient(t.Context(), serverConfig(f.URL), 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, direct := through(t, f, bucket)
	write(t, direct, "k", data, storage.Always)
	patient := quick
	patient.Attempts = 20
	holds(t, storage.WithRetry(client.Bucket(bucket), patient), "k", data)
	if got := f.matched(); got < 3 {
		t.Errorf("got %d requests, want 3 or more", got)
	}
}

func TestOneReadNeverMixesVersions(t *testing.T) {
	bucket := newBucket(t)
	var direct storage.Store
	f := newFlaky(t, method(http.MethodGet), cutAfter(1_000_000), then(func() {
		write(t, direct, "k", content(3_000_000)[1:], storage.Always)
	}, pass))
	s, direct := through(t, f, bucket)
	write(t, direct, "k", content(2_000_000), storage.Always)
	_, _, err := storage.ReadAll(t.Context(), s, "k", 1<<30)
	if !errors.Is(err, storage.ErrCondition) {
		t.Errorf("got error %v, want ErrCondition", err)
	}
}

func TestRefusalsAreRetried(t *testing.T) {
	tests := []struct {
		fault  fault
		inBody bool // what it is stands in the body only, and HEAD has none
	}{
		{refuse(503, "SlowDown"), false},
		{refuse(429, "TooManyRequests"), false},
		{refuse(400, "RequestTimeout"), true},
		{refuse(409, "ConditionalRequestConflict"), true},
		{refuse(502, ""), false},
		{loseRequest, false},
		{loseAnswer, false},
	}
	for _, tt := range tests {
		bucket := newBucket(t)
		f := newFlaky(t, anything)
		s, direct := through(t, f, bucket)
		write(t, direct, "from", []byte("x"), storage.Always)
		steps := map[string]func() error{
			"stat":   func() error { _, err := s.Stat(t.Context(), "from"); return err },
			"put":    func() error { _, err := storage.WriteAll(t.Context(), s, "k", []byte("x"), storage.Always); return err },
			"copy":   func() error { return s.Copy(t.Context(), "from", "to") },
			"delete": func() error { return s.Delete(t.Context(), "from") },
			"list": func() error {
				for _, err := range s.List(t.Context(), "", "") {
					if err != nil {
						return err
					}
				}
				return nil
			},
		}
		for _, name := range []string{"stat", "put", "copy", "delete", "list"} {
			if name == "stat" && tt.inBody {
				continue
			}
			f.faults = times(3, tt.fault)
			if err := steps[name](); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if len(f.faults) > 0 {
				t.Errorf("%s: %d faults were not met", name, len(f.faults))
			}
		}
	}
}

func TestGivingUp(t *testing.T) {
	f := newFlaky(t, anything, times(100, refuse(503, "SlowDown"))...)
	s, _ := through(t, f, "flights")
	_, err := s.Stat(t.Context(), "k")
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("got error %v, want ErrUnavailable", err)
	}
	if got, want := f.matched(), quick.Attempts; got != want {
		t.Errorf("got %d requests, want %d", got, want)
	}
	if want := "give up after 4 attempts: stat s3://flights/k"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %q, want one that begins with %q", err, want)
	}
	withoutKeys(t, err.Error())

	for code, kind := range map[string]error{"AccessDenied": storage.ErrDenied, "ExpiredToken": storage.ErrDenied, "PermanentRedirect": storage.ErrInvalid} {
		f := newFlaky(t, anything, refuse(map[string]int{"AccessDenied": 403, "ExpiredToken": 400, "PermanentRedirect": 301}[code], code))
		s, _ := through(t, f, "flights")
		if _, _, err := s.Get(t.Context(), "k", storage.Range{}); !errors.Is(err, kind) {
			t.Errorf("%s: got error %v, want %v", code, err, kind)
		}
		if got := f.matched(); got != 1 {
			t.Errorf("%s: got %d requests, want 1", code, got)
		}
	}
}

func TestLostAnswersAreSettled(t *testing.T) {
	mine, others := []byte("mine, attempt 1"), []byte("theirs, attempt 2")
	big := content(20 << 20)
	tests := []struct {
		name    string
		match   func(*http.Request) bool
		faults  []fault
		data    []byte
		replace bool // IfMatch instead of IfAbsent
		meddle  bool // another writer comes in between
		kind    error
	}{
		{name: "created", match: method(http.MethodPut), faults: []fault{loseAnswer}, data: mine},
		{name: "created, every answer lost", match: method(http.MethodPut), faults: times(100, loseAnswer), data: mine},
		{name: "replaced", match: method(http.MethodPut), faults: []fault{loseAnswer}, data: mine, replace: true},
		{name: "not created before", match: method(http.MethodPut), faults: []fault{loseRequest}, data: mine},
		{name: "another created", match: method(http.MethodPut), faults: []fault{loseRequest}, data: mine, meddle: true, kind: storage.ErrCondition},
		{name: "another replaced", match: method(http.MethodPut), faults: []fault{loseRequest}, data: mine, replace: true, meddle: true, kind: storage.ErrCondition},
		{name: "nothing gets through", match: anything, faults: times(100, loseRequest), data: mine, kind: storage.ErrUnavailable},
		{name: "big, created", match: completion, faults: []fault{loseAnswer}, data: big},
		{name: "big, replaced", match: completion, faults: []fault{loseAnswer}, data: big, replace: true},
		{name: "big, another created", match: completion, faults: []fault{loseRequest}, data: big, meddle: true, kind: storage.ErrCondition},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bucket := newBucket(t)
			var direct storage.Store
			if tt.meddle {
				tt.faults[0] = then(func() { write(t, direct, "k", others, storage.Always) }, tt.faults[0])
			}
			f := newFlaky(t, tt.match, tt.faults...)
			s, direct := through(t, f, bucket)
			cond := storage.IfAbsent
			if tt.replace {
				cond = storage.IfMatch(write(t, direct, "k", []byte("before"), storage.Always).ETag)
			}
			obj, err := storage.WriteAll(t.Context(), s, "k", tt.data, cond)
			if !errors.Is(err, tt.kind) {
				t.Fatalf("got error %v, want %v", err, tt.kind)
			}
			switch {
			case tt.meddle:
				holds(t, direct, "k", others)
			case err == nil:
				holds(t, direct, "k", tt.data)
				if stat, err := direct.Stat(t.Context(), "k"); err != nil || stat.ETag != obj.ETag || stat.Size != obj.Size {
					t.Errorf("got %+v, stat %+v, %v", obj, stat, err)
				}
			}
			if left := unfinished(t, bucket); len(left) > 0 {
				t.Errorf("got unfinished uploads %q", left)
			}
		})
	}
}

func TestPartsAreRetriedByThemselves(t *testing.T) {
	bucket, data := newBucket(t), content(20<<20)
	f := newFlaky(t, part, refuse(503, "SlowDown"))
	client := connect(t, serverConfig(f.URL))
	write(t, client.Bucket(bucket), "k", data, storage.Always) // no other retries
	holds(t, client.Bucket(bucket), "k", data)

	f = newFlaky(t, part, times(100, refuse(403, "AccessDenied"))...)
	client = connect(t, serverConfig(f.URL))
	_, err := storage.WriteAll(t.Context(), client.Bucket(bucket), "none", data, storage.Always)
	if !errors.Is(err, storage.ErrDenied) {
		t.Errorf("got error %v, want ErrDenied", err)
	}
	if left := unfinished(t, bucket); len(left) > 0 {
		t.Errorf("got unfinished uploads %q", left)
	}
	if _, err := client.Bucket(bucket).Stat(t.Context(), "none"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("stat after a failed upload: got error %v, want ErrNotFound", err)
	}
}
