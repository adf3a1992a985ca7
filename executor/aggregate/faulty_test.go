package aggregate_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/dev/s3"
	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/storage/faults"
)

// An S3 that fails 5 % of its calls, cuts 1 % of its bodies and is slow at random gives the same rows, and once a later
// run has tidied up there is no object that nobody names, and no part of one.
func TestFaultyS3(t *testing.T) {
	const runs, seed = 2, 7
	folder := t.TempDir()
	server, err := s3.Start(t.Context(), s3.Config{DataDir: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateBucket(t.Context(), "lake"); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	injector := faults.New(faults.Random(seed, faults.Rates{Fail: 0.05, Cut: 0.01, Slow: 0.1, Longest: 30 * time.Millisecond}))
	proxy := httptest.NewServer(injector.Proxy(target, nil))
	t.Cleanup(proxy.Close)
	entry := func(endpoint string) string {
		return fmt.Sprintf(`{"type": "s3", "endpoint": %q, "region": %q, "access_key": %q, "secret_key": %q, "path_style": true}`,
			endpoint, server.Region(), server.AccessKey(), server.SecretKey())
	}
	l := newLake(t)
	l.root, l.base = folder+"/objects/lake", "s3://lake"
	direct, faulty := connect(t, entry(server.URL())), connect(t, entry(proxy.URL))

	l.connections = direct
	l.copyIn(flightsData, "flights")
	l.kind, l.reduces, l.attempts = aggregate.NewCutting(64<<10), 3, 5
	section := strings.Replace(flightsSection, `"output"`, `"order_by": [{"name": "carrier"}, {"name": "day"}], "output"`, 1)
	clean, err := l.run(section, 8)
	if err != nil {
		t.Fatal(err)
	}
	want := l.rows(clean)
	slices.Sort(want)

	l.connections = faulty
	for range runs {
		out, err := l.run(section, 8)
		if err != nil {
			t.Fatal(err)
		}
		got := l.rows(out)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("rows of run %d (-want +got):\n%s", l.runs, diff)
		}
	}
	calls, failed := injector.Calls(""), injector.Faults(faults.Refuse)+injector.Faults(faults.Lose)
	t.Logf("%d calls, %d refused or lost, %d cut, %d attempts failed", calls, failed, injector.Faults(faults.Cut), l.failed)
	if failed < calls/40 || injector.Faults(faults.Cut) == 0 {
		t.Errorf("of %d calls %d failed and %d were cut: the test shows little", calls, failed, injector.Faults(faults.Cut))
	}

	l.connections = direct
	if _, err := l.run(section, 8); err != nil {
		t.Fatal(err)
	}
	if left := l.unnamed("out"); len(left) > 0 {
		t.Errorf("nobody names %q", left)
	}
	if parts, err := filepath.Glob(l.root + "/.sgwtmp/multipart/*/*"); err != nil || len(parts) > 0 {
		t.Errorf("left of uploads are %q, %v", parts, err)
	}
}

// unnamed are the objects below an output that neither _latest.json nor a manifest that it keeps names.
func (l *lake) unnamed(output string) (left []string) {
	l.t.Helper()
	read := func(path string, value any) {
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, value)
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	pointer := filepath.Join(l.root, output, "_latest.json")
	named := map[string]bool{pointer: true}
	var latest struct{ Kept []struct{ Run string } }
	read(pointer, &latest)
	if len(latest.Kept) == 0 {
		l.t.Fatalf("%s keeps nothing", pointer)
	}
	for _, kept := range latest.Kept {
		path := filepath.Join(l.root, output, "data", kept.Run, "_manifest.json")
		named[path] = true
		var manifest struct{ Entries []struct{ URL string } }
		read(path, &manifest)
		for _, e := range manifest.Entries {
			named[l.path(e.URL)] = true
		}
	}
	err := filepath.WalkDir(filepath.Join(l.root, output), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !named[path] {
			left = append(left, strings.TrimPrefix(path, l.root))
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return left
}
