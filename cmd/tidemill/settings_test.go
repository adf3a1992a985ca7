package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/tidemill/tidemill/cmd/internal/service"
	"github.com/tidemill/tidemill/storage"
)

const reference = "tidemill.yaml"

// compare looks at what the configuration says, not at what the process puts beside it.
var compare = cmp.Options{
	cmpopts.IgnoreFields(service.Config{}, "Logger", "Ready", "Info"),
	cmp.Transformer("reveal", func(s storage.Secret) string { return s.Reveal() }),
}

func flagSet(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

// clean removes every TIDEMILL_* variable for the time of a test.
func clean(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "TIDEMILL_") {
			t.Setenv(name, "")
		}
	}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemill.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReferenceFileHoldsTheDefaults(t *testing.T) {
	clean(t)
	got, err := readConfig(flagSet(t), reference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(service.Defaults(), got, compare); diff != "" {
		t.Errorf("%s differs from the defaults (-defaults +file):\n%s", reference, diff)
	}
	nothing, err := readConfig(flagSet(t), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(service.Defaults(), nothing, compare); diff != "" {
		t.Errorf("without a file:\n%s", diff)
	}
}

// Every key stands in the reference file, each with a comment above it.
func TestReferenceFileDocumentsEveryKey(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	section, commented := "", false
	entry := regexp.MustCompile(`^( *)([a-z-]+):(.*)$`)
	for _, line := range strings.Split(string(text), "\n") {
		match := entry.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "#"):
			commented = true
		case match == nil:
			commented = false
		case match[3] == "":
			section = match[2] + "."
		default:
			if match[1] == "" {
				section = ""
			}
			// What belongs to the comment above another key of the same sentence counts as documented, too.
			if !commented && match[2] != "memory" {
				t.Errorf("%s%s has no comment", section, match[2])
			}
			documented = append(documented, section+match[2])
			commented = false
		}
	}
	var known []string
	for _, s := range settings {
		known = append(known, s.key)
	}
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("keys (-known +documented):\n%s", diff)
	}
}

// Every field that a file could set is reached by exactly one key.
func TestEveryFieldHasAKey(t *testing.T) {
	var c service.Config
	reached := map[uintptr]string{}
	for _, s := range settings {
		address := reflect.ValueOf(s.field(&c)).Pointer()
		if other := reached[address]; other != "" {
			t.Errorf("%s and %s set the same field", s.key, other)
		}
		reached[address] = s.key
	}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			name := path + v.Type().Field(i).Name
			switch field := v.Field(i); {
			case field.Type() == reflect.TypeFor[storage.Secret](), name == "Logger", name == "Ready", name == "Info":
			case field.Kind() == reflect.Struct:
				walk(field, name+".")
			case reached[field.Addr().Pointer()] == "":
				t.Errorf("no key sets %s", name)
			}
		}
	}
	walk(reflect.ValueOf(&c).Elem(), "")
}

func TestLaterSourcesWin(t *testing.T) {
	clean(t)
	file := writeFile(t, "mesos:\n  master: http://file:5050\n  roles: file\n  name: file\nexecutor:\n  memory: 128MiB\n  cpus: 0.5\nscheduling:\n  keep-runs: 7\nlog:\n  level: debug\n")
	t.Setenv("TIDEMILL_MESOS_ROLES", "environment, b/c")
	t.Setenv("TIDEMILL_MESOS_NAME", "environment")
	t.Setenv("TIDEMILL_SCHEDULING_STALL_AFTER", "45s")
	got, err := readConfig(flagSet(t, "--mesos-name=flag", "--executor-linger=1m30s"), file)
	if err != nil {
		t.Fatal(err)
	}
	want := service.Defaults()
	want.Mesos.Master, want.Mesos.Roles, want.Mesos.Name = "http://file:5050", []string{"environment", "b/c"}, "flag"
	want.Executor.Memory, want.Executor.CPUs, want.Executor.Linger = 128<<20, 0.5, 90*time.Second
	want.Scheduling.KeepRuns, want.Scheduling.StallAfter = 7, 45*time.Second
	want.LogLevel = slog.LevelDebug
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadConfiguration(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"unknown key":            {"mesos:\n  mastr: http://a:1\n", `unknown key "mesos.mastr"; did you mean "mesos.master"?`},
		"unknown section":        {"kubernetes:\n  pods: 3\n", `unknown key "kubernetes.pods"`},
		"a token in the file":    {"token: hush\n", `unknown key "token"`},
		"key twice":              {"listen: a\nlisten: b\n", "already"},
		"not YAML":               {"listen: [\n", "read configuration"},
		"a list":                 {"listen: [a, b]\n", "--listen: want a text or a number"},
		"neither true nor false": {"scheduling:\n  second-attempts: maybe\n", `--scheduling-second-attempts: "maybe" is neither true nor false`},
		"duration without unit":  {"executor:\n  linger: 30\n", "--executor-linger"},
		"size without unit":      {"executor:\n  memory: lots\n", "--executor-memory"},
		"not a number":           {"executor:\n  cpus: many\n", `--executor-cpus: "many" is not a number`},
		"not a whole number":     {"scheduling:\n  keep-runs: 1.5\n", "--scheduling-keep-runs"},
		"level":                  {"log:\n  level: loud\n", `"loud" is not debug, info, warn or error`},
		"not valid":              {"listen: 0.0.0.0:80\n", "a token is needed"},
		"a section without keys": {"mesos: http://a:1\n", `unknown key "mesos"`},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			_, err := readConfig(flagSet(t), writeFile(t, test.file))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
	if _, err := readConfig(flagSet(t), filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a file that is not there: got no error")
	}
}

func TestServeHelp(t *testing.T) {
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"serve", "--help"}, nil, &out, &errs); code != exitOK {
		t.Fatalf("code: got %d: %s", code, errs.String())
	}
	for _, s := range settings {
		if !strings.Contains(out.String(), "--"+s.flag()+" ") {
			t.Errorf("--%s is not in the help", s.flag())
		}
	}
	for _, want := range []string{"TIDEMILL_TOKEN", "TIDEMILL_MESOS_MASTER", "SIGTERM", `(default "127.0.0.1:8080")`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in the help", want)
		}
	}
}

func TestWrongUse(t *testing.T) {
	clean(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no such command":    {[]string{"serv"}, `there is no command "serv"; did you mean "serve"?`},
		"no such flag":       {[]string{"serve", "--nope"}, "unknown flag: --nope"},
		"an argument":        {[]string{"serve", "now"}, "now"},
		"a bad value":        {[]string{"serve", "--mesos-master", "zk://hush@a/mesos"}, "--mesos-master"},
		"beyond loopback":    {[]string{"serve", "--listen", ":8080"}, "a token is needed"},
		"no such token file": {[]string{"serve", "--token-file", "/does/not/exist"}, "--token-file"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := execute(t.Context(), test.args, nil, &out, &errs); code != exitUsage {
				t.Errorf("code: got %d, want %d", code, exitUsage)
			}
			if !strings.Contains(errs.String(), test.want) || out.Len() > 0 {
				t.Errorf("got %q and %q, want %q", errs.String(), out.String(), test.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"--version"}, nil, &out, &errs); code != exitOK || !strings.HasPrefix(out.String(), "tidemill ") {
		t.Errorf("got %d, %q, %q", code, out.String(), errs.String())
	}
}
