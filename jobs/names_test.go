package jobs_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
)

var (
	jobNames = rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,62}`)
	versions = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9.+-]{0,62}`)
	stages   = rapid.StringMatching(`[a-z]{1,12}`)
	times    = rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 250_000_000_000).Draw(t, "seconds"), 0)
	})
)

func TestNames(t *testing.T) {
	run := jobs.RunID("flights-by-carrier", time.Date(2026, 11, 23, 18, 0, 0, 5, time.FixedZone("east", 2*3600)), 0x123456789abcdef0)
	for _, test := range []struct{ got, want string }{
		{run, "flights-by-carrier-20261123160000-ci2fm6"},
		{jobs.TaskID(run, "map", 3), run + ".map.3"},
		{jobs.MesosTaskID(run+".map.3", 1), run + ".map.3.1"},
		{jobs.ExecutorID(run, "1.5.0", 2), run + "_1.5.0_2"},
		{jobs.ExecutorID(jobs.ChecksOwner("1.5.0"), "1.5.0", 1), "checks-1.5.0_1.5.0_1"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

// valid says what Mesos wants of an ID, and object stores of one segment of a key.
func valid(id string) bool {
	bad := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsPrint(r) || strings.ContainsRune(`/\ `, r)
	}
	return id != "" && len(id) < 200 && id != "." && id != ".." && !strings.ContainsFunc(id, bad)
}

// Every name is valid and gives back what it was made of: so two different things never have one name.
func TestNamesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		job, created := jobNames.Draw(t, "job"), times.Draw(t, "created")
		run := jobs.RunID(job, created, rapid.Uint64().Draw(t, "random"))
		stage, index := stages.Draw(t, "stage"), rapid.IntRange(0, 1_000_000).Draw(t, "index")
		attempt := rapid.Uint32Min(1).Draw(t, "attempt")
		version, n := versions.Draw(t, "version"), rapid.IntRange(0, 1_000_000).Draw(t, "n")
		owner := rapid.SampledFrom([]string{run, jobs.ChecksOwner(version)}).Draw(t, "owner")

		task := jobs.TaskID(run, stage, index)
		mesos := jobs.MesosTaskID(task, attempt)
		executor := jobs.ExecutorID(owner, version, n)
		for _, id := range []string{run, task, mesos, executor} {
			if !valid(id) {
				t.Fatalf("%q is not a valid ID", id)
			}
		}
		if j, c, err := jobs.ParseRunID(run); err != nil || j != job || !c.Equal(created) {
			t.Fatalf("parse %q: got %q, %s, %v", run, j, c, err)
		}
		if r, s, i, err := jobs.ParseTaskID(task); err != nil || r != run || s != stage || i != index {
			t.Fatalf("parse %q: got %q, %q, %d, %v", task, r, s, i, err)
		}
		if ta, a, err := jobs.ParseMesosTaskID(mesos); err != nil || ta != task || a != attempt {
			t.Fatalf("parse %q: got %q, %d, %v", mesos, ta, a, err)
		}
		if o, v, i, err := jobs.ParseExecutorID(executor); err != nil || o != owner || v != version || i != n {
			t.Fatalf("parse %q: got %q, %q, %d, %v", executor, o, v, i, err)
		}
	})
}

// Runs of two jobs, of two seconds, or with two random numbers that differ in their first 30 bits, have two IDs.
func TestRunIDsDiffer(t *testing.T) {
	type origin struct {
		job    string
		second int64
		random uint64
	}
	origins := rapid.Custom(func(t *rapid.T) origin {
		return origin{
			job:    rapid.SampledFrom([]string{"a", "a-20261123160000-aaaaaa", "a-2", "b"}).Draw(t, "job"),
			second: rapid.Int64Range(1_790_000_000, 1_790_000_002).Draw(t, "second"),
			random: rapid.Uint64Range(0, 2).Draw(t, "random") << 34,
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := origins.Draw(t, "a"), origins.Draw(t, "b")
		x := jobs.RunID(a.job, time.Unix(a.second, 0), a.random)
		y := jobs.RunID(b.job, time.Unix(b.second, 0), b.random)
		if (a == b) != (x == y) {
			t.Fatalf("%+v and %+v have the IDs %q and %q", a, b, x, y)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	for _, id := range []string{
		"", "job", "job-20261123160000", "20261123160000-ci2fm6", "-20261123160000-ci2fm6", "job-20261123160000-ci2fm", "job-20261123160000-ci2fm67",
		"job-20261123160000-CI2FM6", "job-20261123160000-ci2f/6", "job-20261323160000-ci2fm6", "job-2026112316000-ci2fm6", "job-20261123160000.5-ci2fm6",
	} {
		if job, created, err := jobs.ParseRunID(id); err == nil {
			t.Errorf("parse run ID %q: got %q, %s", id, job, created)
		}
	}
	for _, id := range []string{"", ".", "..", "run.map", "run.map.", "run.map.x", "run.map.-1", "run.map.01", "run.map.+1", "run..1", ".map.1", "run.map.4294967296"} {
		if run, stage, index, err := jobs.ParseTaskID(id); err == nil {
			t.Errorf("parse task ID %q: got %q, %q, %d", id, run, stage, index)
		}
		if task, attempt, err := jobs.ParseMesosTaskID(id); err == nil {
			t.Errorf("parse Mesos task ID %q: got %q, %d", id, task, attempt)
		}
	}
	for _, id := range []string{"run.map.1", "run.map.1.0", "run.map.1.", "run.map.1.01", "a.1.2"} {
		if task, attempt, err := jobs.ParseMesosTaskID(id); err == nil {
			t.Errorf("parse Mesos task ID %q: got %q, %d", id, task, attempt)
		}
	}
	for _, id := range []string{"", "_", "__", "run_1.0", "run_1.0_", "run_1.0_x", "run__1", "_1.0_1", "run_1.0_01"} {
		if owner, version, n, err := jobs.ParseExecutorID(id); err == nil {
			t.Errorf("parse executor ID %q: got %q, %q, %d", id, owner, version, n)
		}
	}
}

func TestCheckNameAndVersion(t *testing.T) {
	for _, test := range []struct {
		text          string
		name, version bool
	}{
		{"a", true, true},
		{"0", true, true},
		{"flights-by.carrier", true, true},
		{"a_b", true, false},
		{"1.5.0+build", false, true},
		{"V1", false, true},
		{"", false, false},
		{"-a", false, false},
		{".", false, false},
		{"a/b", false, false},
		{"a b", false, false},
		{"ä", false, false},
		{"a\n", false, false},
		{strings.Repeat("a", 63), true, true},
		{strings.Repeat("a", 64), false, false},
	} {
		if err := jobs.CheckName(test.text); (err == nil) != test.name {
			t.Errorf("check name %q: got %v, want ok %t", test.text, err, test.name)
		}
		if err := jobs.CheckVersion(test.text); (err == nil) != test.version {
			t.Errorf("check version %q: got %v, want ok %t", test.text, err, test.version)
		}
	}
}
