package scheduler

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

var rewrite = flag.Bool("rewrite", false, "record the outputs of the scripts under testdata anew")

// TestScripts runs the scripts under testdata. A script is a list of blocks: a command line, perhaps lines of input, a
// line "----", and what came out of it, up to an empty line. What the commands are is said at (*script).run.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find scripts: %v, %d found", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newScript(t)
			var out strings.Builder
			for _, b := range parseScript(string(data)) {
				got := b.comment
				if b.command != "" {
					result := s.run(b)
					got += b.command + "\n" + b.input + "----\n" + result
					if result != b.want && !*rewrite {
						t.Errorf("%s:%d: %s\ngot:\n%swant:\n%s", file, b.line, b.command, result, b.want)
					}
				}
				out.WriteString(got + "\n")
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type block struct {
	line                 int
	comment              string // lines before the command, each with its line break
	command, input, want string
}

func parseScript(text string) []block {
	var all []block
	var b block
	state := 0 // 0 before the command, 1 input, 2 output
	for i, line := range strings.Split(text, "\n") {
		switch {
		case state == 0 && line == "":
			if b.comment != "" {
				all = append(all, b)
				b = block{}
			}
		case state == 0 && strings.HasPrefix(line, "#"):
			b.comment += line + "\n"
		case state == 0:
			b.line, b.command = i+1, line
			state = 1
		case state == 1 && line == "----":
			state = 2
		case state == 1 && line == "":
			all = append(all, b) // no output recorded yet
			b, state = block{}, 0
		case state == 1:
			b.input += line + "\n"
		case line == "":
			all = append(all, b)
			b, state = block{}, 0
		default:
			b.want += line + "\n"
		}
	}
	if b.command != "" || b.comment != "" {
		all = append(all, b)
	}
	return all
}

// script is a Core with a store, a clock and short names for what has long ones.
type script struct {
	t       *testing.T
	cfg     Config
	core    *Core
	store   map[Key][]byte
	now     time.Time
	steps   uint64
	offers  int
	ticket  uint64
	aliases []string // long, short, long, short …
	accept  *Accept  // the last one
	decline *Decline // the last one
	last    Actions
	between func() // after each step; nil: nothing
}

func testConfig() Config {
	cfg := Defaults()
	cfg.Kinds = jobs.Kinds{workKind{"work"}, workKind{"other"}, flowKind{workKind{"flow"}}, wideKind{workKind{"wide"}}, readKind{}}
	cfg.ArtifactURL = "http://artifacts"
	cfg.ExecutorInfo = func(p ExecutorPlan) []byte {
		return fmt.Appendf(nil, "%s %s cpus=%v mem=%d role=%s", p.ID, p.URL, p.CPUs, p.Memory, p.Role)
	}
	return cfg
}

func newScript(t *testing.T) *script {
	s := &script{t: t, cfg: testConfig(), store: map[Key][]byte{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s.restart()
	return s
}

func records(store map[Key][]byte) []Record {
	var all []Record
	for key, value := range store {
		all = append(all, Record{key, value})
	}
	return all
}

func (s *script) restart() {
	core, err := New(s.cfg, records(s.store))
	if err != nil {
		s.t.Fatalf("restart: %v", err)
	}
	s.core = core
}

// alias gives a run's or a check's long ID a short name: r1, r2, …, c1, c2, …
func (s *script) alias(prefix, long string) {
	if slices.Contains(s.aliases, long) {
		return
	}
	n := 1
	for i := 1; i < len(s.aliases); i += 2 {
		if strings.HasPrefix(s.aliases[i], prefix) {
			n++
		}
	}
	s.aliases = append(s.aliases, long, prefix+strconv.Itoa(n))
}

func (s *script) short(text string) string { return strings.NewReplacer(s.aliases...).Replace(text) }

// long undoes short for an ID.
func (s *script) long(id string) string {
	for i := 0; i < len(s.aliases); i += 2 {
		if rest, ok := strings.CutPrefix(id, s.aliases[i+1]); ok && (rest == "" || rest[0] == '.' || rest[0] == '_') {
			return s.aliases[i] + rest
		}
	}
	return id
}

// expand undoes short for IDs of runs in a text: @r1, …
func (s *script) expand(text string) string {
	var names []string
	for i := 0; i < len(s.aliases); i += 2 {
		names = append(names, `"@`+s.aliases[i+1]+`"`, `"`+s.aliases[i]+`"`)
	}
	return strings.NewReplacer(names...).Replace(text)
}

// args are the words of a command line: those with "=" by name, the others by position.
type args struct {
	words []string
	named map[string]string
}

func parseArgs(line string) (name string, a args) {
	fields := strings.Fields(line)
	a.named = map[string]string{}
	for _, field := range fields[1:] {
		if key, value, ok := strings.Cut(field, "="); ok {
			a.named[key] = strings.ReplaceAll(value, "_", " ")
			continue
		}
		a.words = append(a.words, field)
	}
	return fields[0], a
}

func (a args) word(i int) string {
	if i < len(a.words) {
		return a.words[i]
	}
	return ""
}

// run does one command:
//
//	set FIELD VALUE                    changes the configuration and starts anew (before anything else)
//	register VERSION [kinds=a,b] [arch=] [sha=] [min= max=]
//	archive RUN …
//	unregister VERSION
//	channel NAME VERSION [steps=10,50 [interval=] [runs=] [duration=] [jobs=a,b]] [by=] [allow-incompatible] [again]
//	delete-channel NAME [by=] · steer pause|resume|promote|abort CHANNEL [number=] [reason=] [by=]
//	runs JOB N [fail=N]                starts N runs of a job with one task each, and ends them; the first of those on
//	                                   the newest version fail. It shows how many went to which version
//	check-spec · put-job [create] [name=]        the spec is the input; "@r1" in it is the ID of run r1
//	start JOB [key=] [p.NAME=VALUE] · cancel RUN · delete-job NAME · move RUN VERSION [by=]
//	subscribe [framework=] · disconnect
//	framework-updated info= [refused=] · forget-framework
//	offers                             one a line: AGENT cpus= mem= disk= [executors=none|ID,…] [role=] [maintenance=DURATION [lasts=DURATION]] [ATTRIBUTE=VALUE]
//	inverse                            one a line: AGENT ID starts=DURATION [lasts=DURATION]
//	rescind-inverse ID
//	update TASK STATE [reason=] [source=] [message=] [output=] [handed-over=] [failure=CLASS:KIND:MESSAGE:POINTER] [dir=] [problem=PTR:TEXT] [committed=URI] [plain]
//	                                   plain: without a uuid
//	message EXECUTOR TASK=FRACTION …   (peak.TASK=SIZE, bytes.TASK=SIZE)
//	failure [executor=] [agent=] · rescind OFFER · call-failed accept|revive|… status=
//	sleep DURATION                     like tick, but the core is not called meanwhile
//	clock-back DURATION
//	keep-alive DURATION EXECUTOR TASK …    like tick, with a message of each executor every second
//	tick DURATION · restart · step-down
//	quietly COMMAND …                  without showing what comes of it
//	setup [SPEC FIELDS]                version, channel, job "flights", subscription and a run of it, shown only when wrong
//	view [RUN|roles|jobs|versions|queue|checks|agents|rollouts] · stored [KIND] · counts METRIC
func (s *script) run(b block) string {
	name, a := parseArgs(b.command)
	switch name {
	case "set":
		s.set(a)
		return ""
	case "restart":
		s.restart()
		return ""
	case "tick":
		d, err := time.ParseDuration(a.word(0))
		if err != nil {
			s.t.Fatalf("line %d: %v", b.line, err)
		}
		return s.tick(d)
	case "keep-alive":
		d, err := time.ParseDuration(a.word(0))
		if err != nil {
			s.t.Fatalf("line %d: %v", b.line, err)
		}
		return s.keepAlive(d, a.words[1:])
	case "quietly":
		b.command = strings.TrimPrefix(b.command, "quietly ")
		s.run(b)
		return ""
	case "setup":
		s.setup(b.input)
		return ""
	case "sleep", "clock-back":
		d, err := time.ParseDuration(a.word(0))
		if err != nil {
			s.t.Fatalf("line %d: %v", b.line, err)
		}
		if name == "clock-back" {
			d = -d
		}
		s.now = s.now.Add(d)
		return s.step(Tick{})
	case "runs":
		return s.runs(a)
	case "view":
		return s.view(a.word(0))
	case "stored":
		return s.stored(a.word(0))
	case "counts":
		return s.counts()
	case "notes":
		return s.notes()
	}
	event := s.event(name, a, b.input)
	if event == nil {
		s.t.Fatalf("line %d: unknown command %q", b.line, name)
	}
	return s.step(event)
}

func (s *script) set(a args) {
	value := a.word(1)
	d, _ := time.ParseDuration(value)
	n, _ := strconv.Atoi(value)
	switch a.word(0) {
	case "free-retries":
		s.cfg.FreeRetries = n
	case "roles":
		s.cfg.Roles = strings.Split(value, ",")
	case "second-attempts":
		s.cfg.SecondAttempts = value == "true"
	case "linger":
		s.cfg.Linger = d
	case "keep-versions":
		s.cfg.KeepVersions = n
	case "keep-versions-for":
		s.cfg.KeepVersionsFor = d
	default:
		s.t.Fatalf("set %q is not known", a.word(0))
	}
	s.restart()
}

// tick lets time pass, with a Tick every second as the core is promised.
func (s *script) tick(d time.Duration) string {
	var out strings.Builder
	for d > 0 {
		part := min(d, time.Second)
		s.now = s.now.Add(part - stepTime)
		d -= part
		if result := s.step(Tick{}); result != nothing {
			out.WriteString(result)
		}
	}
	if out.Len() == 0 {
		return nothing
	}
	return out.String()
}

// keepAlive lets time pass while executors report. reporting are executors, each followed by a task on it.
func (s *script) keepAlive(d time.Duration, reporting []string) string {
	var out strings.Builder
	for ; d > 0; d -= time.Second {
		spent := time.Duration(len(reporting)/2) * stepTime
		for i := 0; i+1 < len(reporting); i += 2 {
			if result := s.step(s.parseMessage(args{words: reporting[i : i+1], named: map[string]string{reporting[i+1]: "0.5"}})); result != nothing {
				out.WriteString(result)
			}
		}
		if result := s.tick(min(d, time.Second) - spent); result != nothing {
			out.WriteString(result)
		}
	}
	if out.Len() == 0 {
		return nothing
	}
	return out.String()
}

// stepTime passes with each step of a script.
const stepTime = 100 * time.Millisecond

const nothing = "nothing\n"

// setup makes what most scripts begin with. input are fields of the spec.
func (s *script) setup(input string) {
	if input == "" {
		input = `"work": {"stages": [1]}`
	}
	for _, b := range []block{
		{command: "register 1.5.0"},
		{command: "channel stable 1.5.0"},
		{command: "put-job create", input: `{"name": "flights", "kind": "work", ` + input + `}`},
		{command: "subscribe"},
		{command: "start flights"},
	} {
		if out := s.run(b); strings.Contains(out, "reply invalid") {
			s.t.Fatalf("setup: %s: %s", b.command, out)
		}
	}
}

func (s *script) step(event Event) string {
	s.steps++
	s.now = s.now.Add(stepTime)
	acts := s.core.Step(Input{Now: s.now, Random: s.steps * 0x9e3779b97f4a7c15, Event: event})
	for _, change := range acts.Store {
		if change.Value == nil {
			delete(s.store, change.Key)
			continue
		}
		s.store[change.Key] = change.Value
		s.nameNew(change.Key, change.Value)
	}
	s.last = acts
	if s.between != nil {
		defer s.between()
	}
	var out strings.Builder
	for _, change := range acts.Store {
		if change.Key.Kind == KindUse && change.Value != nil {
			continue // with each start and end of a run; "view versions" shows them
		}
		fmt.Fprintf(&out, "store %s\n", s.describeChange(change))
	}
	for _, call := range acts.Calls {
		if accept, ok := call.(Accept); ok {
			s.accept = &accept
			s.mustBeStored(&accept)
		}
		if decline, ok := call.(Decline); ok {
			s.decline = &decline
		}
		fmt.Fprintf(&out, "call %s\n", describeCall(call))
	}
	for _, reply := range acts.Replies {
		fmt.Fprintf(&out, "reply %s\n", describeReply(reply))
	}
	if out.Len() == 0 {
		return nothing
	}
	return s.short(out.String())
}

func (s *script) nameNew(key Key, value []byte) {
	switch key.Kind {
	case KindRun:
		s.alias("r", key.ID)
	case KindTask:
		if run, stage, _, err := jobs.ParseTaskID(key.ID); err == nil && stage == jobs.StageCheck {
			s.alias("c", run)
		}
	}
}

// mustBeStored holds each launch to its record.
func (s *script) mustBeStored(accept *Accept) {
	for _, launch := range accept.Launches {
		id, n, err := jobs.ParseMesosTaskID(launch.MesosID)
		rec := &proto.Task{}
		if err != nil || proto.Decode(s.store[Key{KindTask, id}], rec) != nil || len(rec.Attempts) < int(n) {
			s.t.Errorf("launch of %s is not stored", launch.MesosID)
		}
	}
}

func (s *script) counts() string {
	var out strings.Builder
	for _, c := range s.last.Counts {
		fmt.Fprintf(&out, "%s %v %v\n", strings.TrimPrefix(c.Metric, "tidemill_"), c.Labels, c.Value)
	}
	return s.short(out.String())
}

func (s *script) notes() string {
	var out strings.Builder
	for _, n := range s.last.Notes {
		fmt.Fprintf(&out, "%s %s", n.Level, n.Text)
		for _, attr := range n.Attrs {
			if attr.Value.Kind() != slog.KindString || attr.Value.String() != "" {
				fmt.Fprintf(&out, " %s", attr)
			}
		}
		out.WriteByte('\n')
	}
	return s.short(out.String())
}
