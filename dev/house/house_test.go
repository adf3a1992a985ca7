package house

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tidemill/tidemill/"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	CgoFiles     []string
}

// room is the package's path inside the module, such as "scheduler/mesos".
func (p pkg) room() string { return strings.TrimPrefix(p.ImportPath, module) }

// floors are the rooms, highest first. A package may import its own floor and those below, no other. Entries of
// one line are one floor; the longest prefix decides.
var floors = []string{
	"dev/check dev/house dev/endtoend bench",
	"cmd/tidemill-dev",
	"cmd/tidemill cmd/tidemill-executor cmd/internal",
	"dev",
	"api",
	"executor",
	"executor/aggregate executor/sql",
	"executor/source",
	"executor/lake",
	"executor/commit executor/input executor/expression executor/result executor/parquet",
	"executor/engine",
	"executor/task",
	"scheduler/loop scheduler/mesos scheduler/store scheduler/lease scheduler/metrics scheduler/artifacts scheduler/archive",
	"scheduler/zookeeper",
	"scheduler",
	"scheduler/rollout",
	"storage",
	"jobs/kinds",
	"jobs/sql",
	"jobs/aggregate",
	"jobs",
	"proto",
}

// never lists imports that the floors would allow and that the house forbids all the same: from, to, why.
var never = [][3]string{
	{"cmd/tidemill", "executor", "the scheduler's binary has no engine"},
	{"cmd/tidemill", "dev", "the scheduler's binary has no embedded service"},
	{"cmd/internal", "executor", "the scheduler's binary has no engine"},
	{"cmd/internal", "dev", "the scheduler's binary has no embedded service"},
	{"cmd/tidemill-executor", "dev", "the executor has no embedded service"},
	{"cmd/tidemill-executor", "scheduler", "executor and scheduler meet in proto and jobs"},
	{"api", "executor", "executor and scheduler meet in proto and jobs"},
	{"executor", "scheduler", "executor and scheduler meet in proto and jobs"},
	{"api/client", "scheduler", "the client has wire types only"},
	{"scheduler", "scheduler/mesos", "adapters import the core, never the other way round"},
	{"jobs", "storage", "jobs is pure"},
	{"dev/mesos", "scheduler", "dev/mesos is for others, too"},
	{"dev/mesos", "executor", "dev/mesos is for others, too"},
	{"dev/mesos", "jobs", "dev/mesos is for others, too"},
	{"dev/zookeeper", "scheduler", "dev/zookeeper is for others, too"},
}

func TestImportsRunDownOnly(t *testing.T) {
	for _, p := range packages(t) {
		from := p.room()
		for _, path := range p.Imports {
			to, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			if floor(t, from) > floor(t, to) {
				t.Errorf("%s imports %s, which is above it", from, to)
			}
			for _, rule := range never {
				if within(from, rule[0]) && within(to, rule[1]) && !(rule[0] == "scheduler" && from != "scheduler") {
					t.Errorf("%s imports %s: %s", from, to, rule[2])
				}
			}
		}
	}
}

// TestEngineStaysInItsRoom holds the engine and the embedded services to the places that design.md names.
func TestEngineStaysInItsRoom(t *testing.T) {
	only := map[string][]string{
		"github.com/duckdb/duckdb-go":         {"executor/engine", "bench", "dev/endtoend"},
		"github.com/versity/versitygw":        {"dev/s3"},
		"github.com/mesos/mesos-go":           {"scheduler/mesos", "executor", "dev/mesos", "bench/scale"},
		"github.com/go-zookeeper/zk":          {"scheduler/zookeeper", "dev/mesos"},
		"go.etcd.io/bbolt":                    {"scheduler/store", "dev/mesos"},
		"github.com/danielgtaylor/huma":       {"api"},
		"github.com/aws/aws-sdk-go-v2":        {"storage/s3", "dev/s3"},
		"github.com/colinmarc/hdfs":           {"storage/hdfs"},
		"github.com/jcmturner/gokrb5":         {"storage/hdfs"},
		"github.com/prometheus/client_golang": {"scheduler/metrics", "api", "cmd"},
	}
	for _, p := range packages(t) {
		for _, path := range p.Imports {
			for library, rooms := range only {
				if within(path, library) && !slices.ContainsFunc(rooms, func(r string) bool { return within(p.room(), r) }) {
					t.Errorf("%s imports %s, which belongs in %v", p.room(), path, rooms)
				}
			}
		}
	}
}

func TestCoreIsPure(t *testing.T) {
	forbidden := map[string][]string{
		"scheduler":         {"net", "net/http", "os", "os/exec", "math/rand", "math/rand/v2", "crypto/rand", "sync", "log", "context"},
		"scheduler/rollout": {"net", "net/http", "os", "os/exec", "math/rand", "math/rand/v2", "crypto/rand", "sync", "log", "log/slog", "context"},
		"jobs":              {"net", "net/http", "os", "os/exec", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "context"},
		"jobs/aggregate":    {"net", "net/http", "os", "os/exec", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "context"},
	}
	clock := regexp.MustCompile(`\btime\.(Now|Since|Until|Sleep|After|NewTimer|NewTicker|Tick)\(|\bgo func\b|^\s*go \w+\(`)
	for _, p := range packages(t) {
		for _, bad := range forbidden[p.room()] {
			if slices.Contains(p.Imports, bad) {
				t.Errorf("%s is pure and imports %s", p.room(), bad)
			}
		}
		if forbidden[p.room()] == nil {
			continue
		}
		for _, name := range p.GoFiles {
			eachLine(t, filepath.Join(p.Dir, name), func(n int, line string) {
				if clock.MatchString(line) {
					t.Errorf("%s/%s:%d: clock or goroutine in a pure package: %s", p.room(), name, n, strings.TrimSpace(line))
				}
			})
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue
		}
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.room())
		}
		if _, err := os.Stat(filepath.Join(p.Dir, "doc.go")); err != nil {
			t.Errorf("%s has no doc.go", p.room())
		}
		for _, name := range []string{"util", "utils", "common", "helpers", "types", "manager", "misc"} {
			if filepath.Base(p.Dir) == name {
				t.Errorf("%s: %q says nothing", p.room(), name)
			}
		}
	}
}

func TestFilesStaySmall(t *testing.T) {
	const limit = 800 // lines; the aim is 600
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			lines := 0
			eachLine(t, filepath.Join(p.Dir, name), func(int, string) { lines++ })
			if lines > limit && !strings.HasSuffix(name, ".pb.go") {
				t.Errorf("%s/%s has %d lines; a file is about one thing", p.room(), name, lines)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	known := strings.Fields("scheduler executor jobs api proto cmd storage dev docs deploy examples bench " +
		"go.mod go.sum Dockerfile README.md CONTRIBUTING.md Makefile CHANGELOG.md LICENSE .ci .gitignore .dockerignore")
	out, err := exec.Command("git", "-C", top(t), "ls-files").Output()
	if err != nil {
		t.Skip("not a git checkout") // a source archive has no file list to compare
	}
	for _, file := range strings.Fields(string(out)) {
		if first, _, _ := strings.Cut(file, "/"); !slices.Contains(known, first) {
			t.Errorf("%s does not belong at the top level", first)
		}
	}
}

// floor returns the number of a room's floor, 0 being the highest. Unknown rooms fail the test.
func floor(t *testing.T, room string) int {
	t.Helper()
	best, length := -1, -1
	for i, line := range floors {
		for _, name := range strings.Fields(line) {
			if within(room, name) && len(name) > length {
				best, length = i, len(name)
			}
		}
	}
	if best < 0 {
		t.Fatalf("%s is in no room that the house knows", room)
	}
	return best
}

// within says whether path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

var listed []pkg

func packages(t *testing.T) []pkg {
	t.Helper()
	if listed != nil {
		return listed
	}
	cmd := exec.Command("go", "list", "-e", "-tags=endtoend", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,GoFiles,CgoFiles", "./...")
	cmd.Dir = top(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		listed = append(listed, p)
	}
	if len(listed) < 10 {
		t.Fatalf("found %d packages only", len(listed))
	}
	return listed
}

func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func eachLine(t *testing.T, file string, f func(n int, line string)) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 1<<20)
	for n := 1; scan.Scan(); n++ {
		f(n, scan.Text())
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
}
