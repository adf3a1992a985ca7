package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/faults"
	"github.com/tidemill/tidemill/storage/file"
	"github.com/tidemill/tidemill/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func folder(t *testing.T, root string) storage.Store {
	t.Helper()
	s, err := file.Open(file.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// calls makes every call once; key "k" is there with ten bytes. It gives what each of them returned.
func calls(ctx context.Context, s storage.Store) map[string]error {
	errs := map[string]error{}
	_, errs["stat"] = s.Stat(ctx, "k")
	body, _, err := s.Get(ctx, "k", storage.Range{})
	if err == nil {
		_, err = io.ReadAll(body)
		err = errors.Join(err, body.Close())
	}
	errs["get"] = err
	_, errs["put"] = storage.WriteAll(ctx, s, "new", []byte("x"), storage.Always)
	errs["copy"] = s.Copy(ctx, "k", "copy")
	for _, err := range s.List(ctx, "k", "") {
		errs["list"] = err
	}
	errs["delete"] = s.Delete(ctx, "old")
	return errs
}

func TestEveryCallCanFail(t *testing.T) {
	for _, effect := range []faults.Effect{faults.Refuse, faults.Lose, faults.Cut} {
		for _, label := range []string{"stat", "get", "put", "copy", "list", "delete"} {
			t.Run(effect.String()+" "+label, func(t *testing.T) {
				below := folder(t, t.TempDir())
				for _, key := range []string{"k", "old"} {
					if _, err := storage.WriteAll(t.Context(), below, key, []byte("0123456789"), storage.Always); err != nil {
						t.Fatal(err)
					}
				}
				in := faults.New(faults.Nth(label, 1, faults.Fault{Effect: effect}))
				s := in.Store(below)
				for name, err := range calls(t.Context(), s) {
					if failed := errors.Is(err, storage.ErrUnavailable); failed != (name == label) {
						t.Errorf("%s: got error %v", name, err)
					}
				}
				// What was only lost has happened.
				there := func(key string) bool { _, err := below.Stat(t.Context(), key); return err == nil }
				done := effect != faults.Refuse
				if got := there("new"); label == "put" && got != done {
					t.Errorf("got written %v, want %v", got, done)
				}
				if got := there("copy"); label == "copy" && got != done {
					t.Errorf("got copied %v, want %v", got, done)
				}
				if got := !there("old"); label == "delete" && got != done {
					t.Errorf("got deleted %v, want %v", got, done)
				}
				if in.Calls(label) != 1 || in.Faults(effect) != 1 || in.Calls("") != 6 {
					t.Errorf("got %d calls, %d of %s, %d faults", in.Calls(""), in.Calls(label), label, in.Faults(effect))
				}
				for name, err := range calls(t.Context(), s) { // the second calls pass
					if err != nil {
						t.Errorf("again: %s: %v", name, err)
					}
				}
			})
		}
	}
}

func TestCut(t *testing.T) {
	below := folder(t, t.TempDir())
	for i := range 5 {
		if _, err := storage.WriteAll(t.Context(), below, fmt.Sprint(i), []byte("0123456789"), storage.Always); err != nil {
			t.Fatal(err)
		}
	}
	s := faults.New(func(faults.Call) faults.Fault { return faults.Fault{Effect: faults.Cut, After: 3} }).Store(below)
	body, obj, err := s.Get(t.Context(), "2", storage.Range{Offset: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if string(got) != "123" || !errors.Is(err, storage.ErrUnavailable) || obj.Size != 10 {
		t.Errorf("got %q, %v, of %+v", got, err, obj)
	}
	var keys []string
	for obj, err := range s.List(t.Context(), "", "") {
		if err != nil {
			keys = append(keys, "error")
			continue
		}
		keys = append(keys, obj.Key)
	}
	if want := []string{"0", "1", "2", "error"}; !slices.Equal(keys, want) {
		t.Errorf("got %q, want %q", keys, want)
	}
}

func TestDelay(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		in := faults.New(func(faults.Call) faults.Fault { return faults.Fault{Delay: time.Minute} })
		s := in.Store(folder(t, root))
		start := time.Now()
		if _, err := s.Stat(t.Context(), "none"); !errors.Is(err, storage.ErrNotFound) || time.Since(start) != time.Minute {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Stat(ctx, "none"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if in.Faults(faults.None) != 2 {
			t.Errorf("got %d slow calls, want 2", in.Faults(faults.None))
		}
	})
}

// With retries on top a store that fails at random is a store like any other.
func TestConformanceBehindRetries(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	in := faults.New(faults.Random(7, faults.Rates{Fail: 0.05, Cut: 0.01, Slow: 0.02, Longest: 2 * time.Millisecond}))
	patient := storage.Backoff{Attempts: 10, Base: time.Millisecond, Max: 4 * time.Millisecond}
	storagetest.Run(t, storagetest.Target{
		Empty: func(t *testing.T) storage.Store {
			return storage.WithRetry(in.Store(folder(t, t.TempDir())), patient)
		},
		Missing:   storage.WithRetry(in.Store(folder(t, t.TempDir()+"/none")), patient),
		Leftovers: func(*testing.T, storage.Store) []string { return nil },
	})
	for _, effect := range []faults.Effect{faults.None, faults.Refuse, faults.Lose, faults.Cut} {
		if in.Faults(effect) == 0 {
			t.Errorf("there was no fault of %s among %d calls", effect, in.Calls(""))
		}
	}
}

func TestRandomIsTheSameAgainAndAsOftenAsAsked(t *testing.T) {
	rates := faults.Rates{Fail: 0.05, Cut: 0.01, Slow: 0.1, Longest: time.Second}
	a, b, other := faults.Random(1, rates), faults.Random(1, rates), faults.Random(2, rates)
	const n = 50_000
	var failed, cut, slow, differ int
	for i := range n {
		c := faults.Call{Label: "get", Key: fmt.Sprint(i / 3), Same: i % 3, N: i}
		f := a(c)
		c.N = n - i // plays no part
		if f != b(c) {
			t.Fatalf("call %+v: got %+v, then %+v", c, f, b(c))
		}
		if f != other(c) {
			differ++
		}
		switch f.Effect {
		case faults.Refuse, faults.Lose:
			failed++
		case faults.Cut:
			cut++
		}
		if f.Delay > 0 {
			slow++
		}
	}
	for what, counts := range map[string][2]float64{"failed": {float64(failed), 0.05}, "cut": {float64(cut), 0.01}, "slow": {float64(slow), 0.1}} {
		got, want := counts[0], counts[1]*n
		if math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%s: got %v of %d, want about %v", what, got, n, want)
		}
	}
	if differ < n/20 {
		t.Errorf("another seed differs in %d calls only", differ)
	}
}

func TestProxy(t *testing.T) {
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.Host+" "+r.URL.RequestURI()+" "+string(body))
		fmt.Fprint(w, "0123456789")
	}))
	defer server.Close()
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	script := []faults.Fault{{}, {Effect: faults.Refuse}, {Effect: faults.Lose}, {Effect: faults.Cut, After: 4}, {}}
	in := faults.New(func(c faults.Call) faults.Fault {
		if c.Label != "GetObject" || c.Key != "dir/a b" {
			t.Errorf("got call %+v", c)
		}
		return script[c.N-1]
	})
	front := httptest.NewServer(in.Proxy(target, nil))
	defer front.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var got []string
	for range script {
		answer, err := client.Get(front.URL + "/bucket/dir/a%20b?x=1")
		if err != nil {
			got = append(got, "no answer")
			continue
		}
		body, err := io.ReadAll(answer.Body)
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
		if answer.StatusCode != 200 {
			body = nil
		}
		got = append(got, fmt.Sprint(answer.StatusCode, " ", string(body), " ", err != nil))
	}
	want := []string{"200 0123456789 false", "503  false", "no answer", "200 0123 true", "200 0123456789 false"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	host := front.Listener.Addr().String()
	for _, line := range seen {
		if line != "GET "+host+" /bucket/dir/a%20b?x=1 " {
			t.Errorf("the server saw %q", line)
		}
	}
	if len(seen) != 4 {
		t.Errorf("the server saw %d requests, want 4", len(seen))
	}
}

func TestOperation(t *testing.T) {
	tests := []struct{ method, uri, source, want string }{
		{"GET", "/b?list-type=2&prefix=x", "", "ListObjectsV2"},
		{"GET", "/b?uploads", "", "ListMultipartUploads"},
		{"GET", "/b/k/l", "", "GetObject"},
		{"HEAD", "/b", "", "HeadBucket"},
		{"HEAD", "/b/k", "", "HeadObject"},
		{"PUT", "/b/k", "", "PutObject"},
		{"PUT", "/b/k", "/b/l", "CopyObject"},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "", "UploadPart"},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "/b/l", "UploadPartCopy"},
		{"POST", "/b/k?uploads", "", "CreateMultipartUpload"},
		{"POST", "/b/k?uploadId=u", "", "CompleteMultipartUpload"},
		{"POST", "/b?delete", "", "DeleteObjects"},
		{"DELETE", "/b/k?uploadId=u", "", "AbortMultipartUpload"},
		{"GET", "/", "", "GET"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(tt.method, tt.uri, nil)
		if tt.source != "" {
			r.Header.Set("X-Amz-Copy-Source", tt.source)
		}
		if got := faults.Operation(r); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.method, tt.uri, got, tt.want)
		}
	}
}
