package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/proto/describe"
	"github.com/tidemill/tidemill/scheduler/artifacts"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

// x86 begins an ELF file for x86-64.
const x86 = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"

// program is a file that is registered as that version for linux-amd64; salt makes others of the same version.
func program(version, salt string) string {
	return x86 + salt + describe.BlockMarker + `{"os":"linux","arch":"amd64","protocol":{"min":1,"max":1},"kinds":["aggregate"],"features":[]};` +
		describe.VersionMarker + version + ";"
}

// files is the real place of executor files, in folders of the test's.
type files struct {
	*artifacts.Store
	t              *testing.T
	folder, spool  string
	most           int64     // instead of the real limit; 0: that one
	handled        chan int  // statuses of uploads that were answered
	storage        *downable // what it stores in
	keys           string    // the file of keys
	private, other ed25519.PrivateKey
}

func (f *files) MaxSize() int64 {
	if f.most > 0 {
		return f.most
	}
	return f.Store.MaxSize()
}

// downable is storage that answers nothing while down is set.
type downable struct {
	storage.Store
	mu   sync.Mutex
	down func(op string) bool
}

func (d *downable) fails(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil && d.down(op) {
		return fmt.Errorf("%s: %w", op, storage.ErrUnavailable)
	}
	return nil
}

func (d *downable) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := d.fails("stat"); err != nil {
		return storage.Object{}, err
	}
	return d.Store.Stat(ctx, key)
}

func (d *downable) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	if err := d.fails("put"); err != nil {
		return storage.Object{}, err
	}
	return d.Store.Put(ctx, key, body, size, cond)
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{t: t, folder: t.TempDir(), spool: t.TempDir(), handled: make(chan int, 10_000)}
	objects, err := file.Open(file.Config{Root: f.folder})
	if err != nil {
		t.Fatal(err)
	}
	f.storage = &downable{Store: objects}
	f.Store = artifacts.New(f.storage, f.spool)
	f.makeKeys()
	return f
}

// use is the option that makes a service keep files here.
func (f *files) use(cfg *api.Config) {
	cfg.Artifacts = f
	cfg.Observe = func(method, route string, status int, _ time.Duration) {
		if method == http.MethodPut && strings.HasPrefix(route, "PUT /v1/executors/") {
			f.handled <- status
		}
	}
}

// sign is the option that makes a service ask for signatures, those of f.private.
func (f *files) sign(cfg *api.Config) {
	f.t.Helper()
	keys, err := artifacts.OpenKeys(f.keys, slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	cfg.Signatures = keys
}

// makeKeys writes the file of keys.
func (f *files) makeKeys() {
	f.t.Helper()
	var public ed25519.PublicKey
	var err error
	if public, f.private, err = ed25519.GenerateKey(rand.Reader); err != nil {
		f.t.Fatal(err)
	}
	if _, f.other, err = ed25519.GenerateKey(rand.Reader); err != nil {
		f.t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		f.t.Fatal(err)
	}
	text := append([]byte("# release\n"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	f.keys = filepath.Join(f.t.TempDir(), "keys.pem")
	if err := os.WriteFile(f.keys, text, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func signature(key ed25519.PrivateKey, sum string) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, artifacts.SignedText(sum)))
}

// kept are the sums of the files that are there. Nothing else may be, here or in the spool.
func (f *files) kept() []string {
	f.t.Helper()
	sums := []string{}
	for object, err := range f.storage.List(f.t.Context(), "", "") {
		if err != nil {
			f.t.Fatal(err)
		}
		sums = append(sums, strings.TrimPrefix(object.Key, "artifacts/"))
	}
	for _, folder := range []string{f.spool, filepath.Join(f.folder, ".tidemill")} {
		left, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			f.t.Fatal(err)
		}
		for _, entry := range left {
			if entry.Name() != "lock" {
				f.t.Errorf("left in %s: %s", folder, entry.Name())
			}
		}
	}
	slices.Sort(sums)
	return sums
}

// head is a request for an upload without its body. Headers are name, value pairs.
func head(path string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "PUT %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", path)
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	return b.String() + "\r\n"
}

// dial is a connection whose answers must come before the server gives up waiting for a body.
func (s *service) dial() (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// ask sends the head of a request and gives the first answer to it, be it 100.
func (s *service) ask(head string) (*http.Response, string, net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn, reader := s.dial()
	if _, err := io.WriteString(conn, head); err != nil {
		s.t.Fatal(err)
	}
	response, text := s.read(reader)
	return response, text, conn, reader
}

func (s *service) read(reader *bufio.Reader) (*http.Response, string) {
	s.t.Helper()
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		s.t.Fatalf("read the answer: %v", err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("read the answer: %v", err)
	}
	return response, string(text)
}

const tenGiB = "10737418240"

// What path and headers give away is answered at once, on the leader and through a standby: of ten announced GiB not a
// byte is asked for, and none is waited for if the client does not wait to be asked.
func TestUploadIsRefusedUnread(t *testing.T) {
	f := newFiles(t)
	own, leader, _ := standby(t, withToken, f.use, f.sign)
	good := strings.Repeat("0", 64)
	path := func(version string) string { return "/v1/executors/" + version + "/linux-amd64" }
	for name, test := range map[string]struct {
		path    string
		headers []string
		status  int
		says    string
	}{
		"ten GiB":           {path("1.5.0"), []string{"X-Checksum-Sha256", good, "X-Signature-Ed25519", signature(f.private, good)}, 413, "at most 2147483648"},
		"no token":          {path("1.5.0"), []string{"Authorization", "Bearer wrong"}, 401, "token"},
		"no sum":            {path("1.5.0"), nil, 400, "X-Checksum-Sha256"},
		"half a sum":        {path("1.5.0"), []string{"X-Checksum-Sha256", "0123"}, 422, "64 hex digits"},
		"no signature":      {path("1.5.0"), []string{"X-Checksum-Sha256", good, "Content-Length", "1000000"}, 403, "must be signed"},
		"empty signature":   {path("1.5.0"), []string{"X-Checksum-Sha256", good, "Content-Length", "1000000", "X-Signature-Ed25519", ""}, 403, "must be signed"},
		"no base64":         {path("1.5.0"), []string{"X-Checksum-Sha256", good, "Content-Length", "1000000", "X-Signature-Ed25519", "%%"}, 403, "base64"},
		"a stranger's":      {path("1.5.0"), []string{"X-Checksum-Sha256", good, "Content-Length", "1000000", "X-Signature-Ed25519", signature(f.other, good)}, 403, "none of the keys"},
		"of another file":   {path("1.5.0"), []string{"X-Checksum-Sha256", good, "Content-Length", "1000000", "X-Signature-Ed25519", signature(f.private, sha256Of("x"))}, 403, "another file"},
		"long signature":    {path("1.5.0"), []string{"X-Checksum-Sha256", good, "X-Signature-Ed25519", strings.Repeat("A", 300)}, 422, "X-Signature-Ed25519"},
		"other bytes":       {path("1.4.0"), []string{"X-Checksum-Sha256", good, "Content-Length", "1000000", "X-Signature-Ed25519", signature(f.private, good)}, 409, "a version never changes"},
		"no platform":       {"/v1/executors/1.5.0/linux", []string{"X-Checksum-Sha256", good}, 422, "platform"},
		"platform of dots":  {"/v1/executors/1.5.0/%2e%2e-%2e%2e", []string{"X-Checksum-Sha256", good}, 422, "platform"},
		"encoded slashes":   {path("..%2f..%2fetc%2fpasswd"), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"backslashes":       {path(`..%5c..%5cetc`), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"NUL":               {path("1.5.0%00"), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"line feed":         {path("1.5.0%0a"), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"bad UTF-8":         {path("1.5.0%ff"), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"a hyphen first":    {path("-rf"), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"too long":          {path(strings.Repeat("1", 64)), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"much too long":     {path(strings.Repeat("1", 20_000)), []string{"X-Checksum-Sha256", good}, 422, "version"},
		"nothing":           {path(""), []string{"X-Checksum-Sha256", good}, 0, ""},
		"parent":            {path(".."), []string{"X-Checksum-Sha256", good}, 0, ""},
		"encoded parent":    {path("%2e%2e"), []string{"X-Checksum-Sha256", good}, 0, ""},
		"one folder deeper": {path("1.5.0/x"), []string{"X-Checksum-Sha256", good}, 404, ""},
	} {
		headers := test.headers
		if !slices.Contains(headers, "Authorization") {
			headers = append(headers, "Authorization", "Bearer s3cret")
		}
		if !slices.Contains(headers, "Content-Length") {
			headers = append(headers, "Content-Length", tenGiB)
		}
		for kind, more := range map[string][]string{"asking": {"Expect", "100-continue"}, "not asking": nil} {
			for who, s := range map[string]*service{"leader": leader, "standby": own} {
				if test.headers != nil && slices.Contains(test.headers, "1000000") && more == nil {
					continue // its rest is waited for, so that the client gets to read the answer
				}
				t.Run(name+", "+kind+", "+who, func(t *testing.T) {
					s.t = t
					response, text, _, _ := s.ask(head(test.path, append(slices.Clone(headers), more...)...))
					if test.status == 0 && response.StatusCode >= 300 && response.StatusCode < 500 {
						return // elsewhere, where nothing is
					}
					if response.StatusCode != test.status || !strings.Contains(text, test.says) {
						t.Errorf("got %s: %s, want %d and %q", response.Status, text, test.status, test.says)
					}
					if got := response.Header.Get("Content-Type"); got != "application/problem+json" {
						t.Errorf("got content type %q", got)
					}
				})
			}
		}
	}
	f.t, own.t, leader.t = t, t, t
	if kept := f.kept(); len(kept) != 0 {
		t.Errorf("kept: %v", kept)
	}
	if n := len(leader.scheduler.View().Versions); n != 1 {
		t.Errorf("there are %d versions", n)
	}
}

// curl asks before it sends a large file, and sends nothing of one that is refused.
func TestCurlSendsNothingInVain(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip(err)
	}
	f := newFiles(t)
	own, leader, _ := standby(t, f.use)
	for version, wanted := range map[string]string{"1.4.0": "409 0", "1.5.0": "201 8388608"} {
		content := program(version, "")
		content += strings.Repeat("x", 8<<20-len(content))
		path := filepath.Join(t.TempDir(), "executor")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*service{own, leader} {
			out, err := exec.CommandContext(t.Context(), curl, "-sS", "--max-time", "30", "--expect100-timeout", "20", "-o", os.DevNull, "-w", "%{http_code} %{size_upload}",
				"-H", "X-Checksum-Sha256: "+sha256Of(content), "-T", path, s.server.URL+"/v1/executors/"+version+"/linux-amd64").CombinedOutput()
			if got := string(out); err != nil || got != wanted {
				t.Errorf("%s: curl got %q, %v, want %q", version, got, err, wanted)
			}
			wanted = strings.Replace(wanted, "201", "200", 1)
		}
	}
}

// A client that waits to be asked for the body is asked once, also through a standby, and what it sends is registered
// with who sent it and who signed it.
func TestUploadIsAskedFor(t *testing.T) {
	f := newFiles(t)
	own, leader, p := standby(t, withToken, f.use, f.sign)
	p.refresh = func() {}
	for version, s := range map[string]*service{"1.5.0": leader, "1.6.0": own} {
		content := program(version, "")
		sum := sha256Of(content)
		response, _, conn, reader := s.ask(head("/v1/executors/"+version+"/linux-amd64", "X-Checksum-Sha256", strings.ToUpper(sum), "Expect", "100-continue",
			"X-Signature-Ed25519", signature(f.private, sum), "Authorization", "Bearer s3cret", "Content-Length", fmt.Sprint(len(content))))
		if response.StatusCode != http.StatusContinue {
			t.Fatalf("%s: got %s", version, response.Status)
		}
		if _, err := io.WriteString(conn, content); err != nil {
			t.Fatal(err)
		}
		response, text := s.read(reader)
		if response.StatusCode != http.StatusCreated || len(response.Header.Values("X-Request-Id")) != 1 {
			t.Fatalf("%s: got %s, %v: %s", version, response.Status, response.Header, text)
		}
		if got := <-f.handled; got != http.StatusCreated {
			t.Errorf("%s: it is counted as %d", version, got)
		}
		shown := want[wire.Executor](t, leader.do("GET", "/v1/executors/"+version, "", "Authorization", "Bearer s3cret"), 200)
		if a := shown.Artifacts[0]; a.SignedBy != "release" || a.RegisteredBy != "token" || shown.RegisteredBy != "token" || a.SHA256 != sum {
			t.Errorf("%s: got %+v", version, shown)
		}
		stored := leader.scheduler.View().Versions[version].Version.Artifacts[0].Signature
		if base64.StdEncoding.EncodeToString(stored) != signature(f.private, sum) {
			t.Errorf("%s: stored signature %x", version, stored)
		}
	}
	if kept := f.kept(); len(kept) != 2 {
		t.Errorf("kept: %v", kept)
	}
}

// Only so many uploads are received at one time; others are refused before their body is asked for, until one has ended.
func TestUploadsAtOneTimeAreLimited(t *testing.T) {
	f := newFiles(t)
	s := serve(t, f.use, func(cfg *api.Config) { cfg.Uploads = 2 })
	begin := func(version string) (int, string, func() int) {
		content := program(version, "")
		response, _, conn, reader := s.ask(head("/v1/executors/"+version+"/linux-amd64", "X-Checksum-Sha256", sha256Of(content),
			"Expect", "100-continue", "Content-Length", fmt.Sprint(len(content))))
		return response.StatusCode, response.Header.Get("Retry-After"), func() int {
			if _, err := io.WriteString(conn, content); err != nil {
				t.Fatal(err)
			}
			response, _ := s.read(reader)
			return response.StatusCode
		}
	}
	var finish []func() int
	for _, version := range []string{"1.5.0", "1.6.0"} {
		status, _, end := begin(version)
		if status != http.StatusContinue {
			t.Fatalf("%s: got %d", version, status)
		}
		finish = append(finish, end)
	}
	if status, retry, _ := begin("1.7.0"); status != http.StatusServiceUnavailable || retry == "" {
		t.Errorf("a third one: got %d, Retry-After %q", status, retry)
	}
	if got := finish[0](); got != http.StatusCreated {
		t.Errorf("the first one: got %d", got)
	}
	status, _, end := begin("1.7.0")
	if status != http.StatusContinue {
		t.Fatalf("after the first one: got %d", status)
	}
	for i, end := range []func() int{finish[1], end} {
		if got := end(); got != http.StatusCreated {
			t.Errorf("upload %d: got %d", i, got)
		}
	}
}

// Whatever is wrong with the body shows when it has come, and leaves nothing.
func TestBadUploadLeavesNothing(t *testing.T) {
	f := newFiles(t)
	f.most = 1 << 20
	s := serve(t, f.use)
	good := program("1.5.0", "")
	arm := strings.Replace(good, "\x3e\x00", "\xb7\x00", 1)
	for name, test := range map[string]struct {
		path, body, sum string
		status          int
		says            string
	}{
		"wrong sum":              {"1.5.0/linux-amd64", good, sha256Of("other"), 422, "not " + sha256Of("other")},
		"no description":         {"1.5.0/linux-amd64", x86 + "a program", "", 422, "no tidemill executor"},
		"no version":             {"1.5.0/linux-amd64", good[:strings.Index(good, describe.VersionMarker)], "", 422, "no version"},
		"two descriptions":       {"1.5.0/linux-amd64", good + program("1.5.1", ""), "", 422, "descriptions that differ"},
		"another version":        {"1.5.1/linux-amd64", good, "", 422, "is executor version 1.5.0 for linux-amd64, not 1.5.1"},
		"another arch":           {"1.5.0/linux-arm64", good, "", 422, "not 1.5.0 for linux-arm64"},
		"another OS":             {"1.5.0/darwin-amd64", good, "", 422, "not 1.5.0 for darwin-amd64"},
		"x86 that says arm64":    {"1.5.0/linux-arm64", strings.Replace(good, `"amd64"`, `"arm64"`, 1), "", 422, "its ELF header says EM_X86_64"},
		"arm64 that says x86":    {"1.5.0/linux-amd64", arm, "", 422, "its ELF header says EM_AARCH64"},
		"ELF that says darwin":   {"1.5.0/darwin-amd64", strings.Replace(good, `"linux"`, `"darwin"`, 1), "", 422, "Mach-O"},
		"a script":               {"1.5.0/linux-amd64", "#!/bin/sh\n" + good[len(x86):], "", 422, "no ELF program"},
		"protocols of later":     {"1.5.0/linux-amd64", strings.Replace(good, `"min":1,"max":1`, `"min":90,"max":91`, 1), "", 422, "protocol 90 to 91"},
		"nothing":                {"1.5.0/linux-amd64", "", "", 422, "no tidemill executor"},
		"larger than allowed":    {"1.5.0/linux-amd64", good + strings.Repeat("x", 2<<20), "", 413, "too large"},
		"a name without its sum": {"1.5.0/linux-amd64", "../../../../etc/passwd", "", 422, "no tidemill executor"},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %v", name, chunked), func(t *testing.T) {
				s := s
				if name == "protocols of later" { // which the core refuses
					l, _ := startCore(t)
					s = serve(t, f.use, func(cfg *api.Config) { cfg.Scheduler = l })
				}
				s.t, f.t = t, t
				sum := test.sum
				if sum == "" {
					sum = sha256Of(test.body)
				}
				var body io.Reader = strings.NewReader(test.body)
				if chunked {
					body = io.MultiReader(body) // whose length is not known
				}
				request, err := http.NewRequest(http.MethodPut, s.server.URL+"/v1/executors/"+test.path, body)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("X-Checksum-Sha256", sum)
				response, err := s.server.Client().Do(request)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(response.Body)
				if err = errors.Join(err, response.Body.Close()); err != nil {
					t.Fatal(err)
				}
				if response.StatusCode != test.status || !strings.Contains(string(text), test.says) {
					t.Errorf("got %s %s, want %d and %q", response.Status, text, test.status, test.says)
				}
				<-f.handled
				if kept := f.kept(); len(kept) != 0 {
					t.Errorf("kept: %v", kept)
				}
			})
		}
	}
}

// An upload that breaks off leaves nothing, and the same again is taken.
func TestCutUploadLeavesNothing(t *testing.T) {
	f := newFiles(t)
	s := serve(t, f.use)
	content := program("1.5.0", strings.Repeat("code ", 100_000))
	sum := sha256Of(content)
	const path = "/v1/executors/1.5.0/linux-amd64"
	half := content[:len(content)/2]
	for name, text := range map[string]string{
		"announced": head(path, "X-Checksum-Sha256", sum, "Content-Length", fmt.Sprint(len(content))) + half,
		"chunked":   head(path, "X-Checksum-Sha256", sum, "Transfer-Encoding", "chunked") + fmt.Sprintf("%x\r\n%s", len(content), half),
		"asked for": head(path, "X-Checksum-Sha256", sum, "Content-Length", fmt.Sprint(len(content)), "Expect", "100-continue"),
	} {
		conn, _ := s.dial()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if status := <-f.handled; status < 400 {
			t.Errorf("%s: it is counted as %d", name, status)
		}
		if kept := f.kept(); len(kept) != 0 {
			t.Errorf("%s: kept %v", name, kept)
		}
	}
	want[wire.Executor](t, s.do("PUT", path, content, "X-Checksum-Sha256", sum), http.StatusCreated)
	if kept := f.kept(); !slices.Equal(kept, []string{sum}) {
		t.Errorf("kept: %v", kept)
	}
}

// Two uploads of one version at once: with the same bytes one is new and the other is there already, with other bytes one
// wins and the other's file goes. Whatever the order, the version has its file.
func TestUploadsOfOneVersionAtOnce(t *testing.T) {
	f := newFiles(t)
	l, _ := startCore(t)
	s := serve(t, f.use, func(cfg *api.Config) { cfg.Scheduler = l })
	for round := range 10 {
		same, other := fmt.Sprintf("1.%d.0", round), fmt.Sprintf("2.%d.0", round)
		statuses := s.atOnce(same, program(same, ""), program(same, ""), program(same, ""))
		if !slices.Equal(statuses, []int{200, 200, 201}) {
			t.Errorf("the same bytes: got %v", statuses)
		}
		statuses = s.atOnce(other, program(other, "a"), program(other, "b"))
		if !slices.Equal(statuses, []int{201, 409}) {
			t.Errorf("other bytes: got %v", statuses)
		}
	}
	var named []string
	for _, version := range l.View().Versions {
		named = append(named, version.Version.Artifacts[0].SHA256)
	}
	slices.Sort(named)
	if kept := f.kept(); len(named) != 20 || !slices.Equal(kept, named) {
		t.Errorf("versions name %d files, %d are kept", len(named), len(kept))
	}
}

// atOnce uploads all contents as that version, each in two pieces of which the second is sent when all are under way, and
// gives the statuses, sorted.
func (s *service) atOnce(version string, contents ...string) []int {
	s.t.Helper()
	statuses := make([]int, len(contents))
	var begun, ended sync.WaitGroup
	begun.Add(len(contents))
	for i, content := range contents {
		ended.Go(func() {
			body, pipe := io.Pipe()
			go func() {
				_, err := io.WriteString(pipe, content[:30])
				begun.Done()
				begun.Wait()
				if err == nil {
					_, err = io.WriteString(pipe, content[30:])
				}
				_ = pipe.CloseWithError(err) // never fails
			}()
			request, err := http.NewRequest(http.MethodPut, s.server.URL+"/v1/executors/"+version+"/linux-amd64", body)
			if err != nil {
				s.t.Error(err)
				return
			}
			request.Header.Set("X-Checksum-Sha256", sha256Of(content))
			response, err := s.server.Client().Do(request)
			if err != nil {
				s.t.Error(err)
				return
			}
			statuses[i] = response.StatusCode
			if err := response.Body.Close(); err != nil {
				s.t.Error(err)
			}
		})
	}
	ended.Wait()
	slices.Sort(statuses)
	return statuses
}

// Storage that is away is 503 and leaves nothing; when it is back the same upload is taken.
func TestUploadWhileStorageIsAway(t *testing.T) {
	f := newFiles(t)
	s := serve(t, f.use)
	content := program("1.5.0", "")
	upload := func() answer {
		return s.do("PUT", "/v1/executors/1.5.0/linux-amd64", content, "X-Checksum-Sha256", sha256Of(content))
	}
	for _, op := range []string{"stat", "put"} {
		f.storage.mu.Lock()
		f.storage.down = func(asked string) bool { return asked == op }
		f.storage.mu.Unlock()
		a := upload()
		if want[wire.Error](t, a, http.StatusServiceUnavailable); a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", op)
		}
		if kept := f.kept(); len(kept) != 0 || s.scheduler.View().Versions["1.5.0"] != nil {
			t.Errorf("%s: kept %v", op, kept)
		}
	}
	f.storage.mu.Lock()
	f.storage.down = nil
	f.storage.mu.Unlock()
	want[wire.Executor](t, upload(), http.StatusCreated)
}

// A large file passes through in pieces.
func TestUploadNeedsLittleMemory(t *testing.T) {
	f := newFiles(t)
	s := serve(t, f.use)
	const size = 96 << 20
	content := append([]byte(program("1.5.0", "")), make([]byte, size)...)
	request, err := http.NewRequest(http.MethodPut, s.server.URL+"/v1/executors/1.5.0/linux-amd64", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Checksum-Sha256", sha256Of(string(content)))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	response, err := s.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("got %s, %v", response.Status, err)
	}
	// All that was allocated, freed or not: the pieces' buffers and the search for the description.
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("an upload of %d MiB allocates %d MiB", size>>20, used>>20)
	}
}
