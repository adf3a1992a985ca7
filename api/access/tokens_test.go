package access

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

var (
	sumA = strings.Repeat("a", 64)
	sumB = strings.Repeat("0b", 32)
)

func TestParse(t *testing.T) {
	want := []Token{
		{Name: "ci", SHA256: sumA, Roles: []Role{Submitter, Deployer}, Jobs: []string{"flights-*", "x"}, MesosRoles: []string{"data/batch"}, Expires: time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)},
		{Name: "alice@example.com", SHA256: sumB, Roles: []Role{Admin}, Expires: time.Date(2027, 6, 30, 10, 0, 0, 0, time.UTC)},
	}
	for name, text := range map[string]string{
		"YAML": `# who may do what
tokens:
  - name: ci
    sha256: ` + strings.ToUpper(sumA) + `
    roles: [submitter, deployer]
    jobs: ["flights-*", x]
    mesos_roles:
      - data/batch
    expires: 2027-06-30
  - {name: alice@example.com, sha256: "` + sumB + `", roles: [admin], expires: "2027-06-30T12:00:00+02:00"}
`,
		"JSON with tabs": "{\n\t\"tokens\": [\n\t\t{\"name\": \"ci\", \"sha256\": \"" + sumA + "\", \"roles\": [\"submitter\", \"deployer\"],\n\t\t\"jobs\": [\"flights-*\", \"x\"], \"mesos_roles\": [\"data\\/batch\"], \"expires\": \"2027-06-30\"},\n" +
			"\t\t{\"name\": \"alice\\u0040example.com\", \"sha256\": \"" + sumB + "\", \"roles\": [\"admin\"], \"expires\": \"2027-06-30T10:00:00Z\"}\n\t]\n}\n",
	} {
		got, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got, err := Parse([]byte("tokens: []")); err != nil || len(got) != 0 {
		t.Errorf("nobody: got %v, %v", got, err)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	entry := func(more string) string {
		return "tokens:\n  - {name: ci, sha256: " + sumA + ", roles: [submitter]}\n  - {" + more + "}\n"
	}
	good := "name: b, sha256: " + sumB + ", roles: [viewer]"
	for name, test := range map[string]struct{ text, want string }{
		"nothing":               {"", "the file is empty"},
		"comments only":         {"# none\n", "the file is empty"},
		"null":                  {"null", "the file: want fields (tokens)"},
		"a list":                {"- a\n", "the file: want fields (tokens)"},
		"no tokens":             {"{}", `the file: it has no tokens: want a list under "tokens"`},
		"another key":           {"token: []\n", `the file: unknown field "token"; did you mean "tokens"?`},
		"tokens twice":          {"tokens: []\ntokens: []\n", `the file: the field "tokens" is there twice (line 2)`},
		"no list":               {"tokens: {}\n", "tokens: want a list"},
		"two documents":         {"tokens: []\n---\ntokens: []\n", "the file has more than one document"},
		"half a file":           {"tokens:\n  - {name: ci, sha", "yaml: line"},
		"half a JSON file":      {`{"tokens": [`, "yaml: line"},
		"an alias":              {"tokens:\n  - &a {" + good + "}\n  - *a\n", "tokens[1]: want fields"},
		"a text":                {"tokens: [ci]\n", "tokens[0]: want fields (name, sha256, roles, jobs, mesos_roles, expires)"},
		"unknown field":         {entry(good + ", role: [viewer]"), `tokens[1] (b): unknown field "role"; did you mean "roles"?`},
		"unknown field, far":    {entry(good + ", colour: red"), `tokens[1] (b): unknown field "colour"; there are name, sha256`},
		"no name":               {entry("sha256: " + sumB + ", roles: [viewer]"), `tokens[1]: the field "name" is missing`},
		"name of two words":     {entry("name: a b, sha256: " + sumB + ", roles: [viewer]"), "tokens[1].name: want 1 to 63"},
		"name of a null":        {entry("name: null, sha256: " + sumB + ", roles: [viewer]"), "tokens[1] (null).name: want a text"},
		"taken name":            {entry("name: token, sha256: " + sumB + ", roles: [viewer]"), `tokens[1].name: "token" is the name of somebody else`},
		"name twice":            {entry("name: ci, sha256: " + sumB + ", roles: [viewer]"), `tokens[1].name: "ci" is the name of tokens[0], too`},
		"hash twice":            {entry("name: b, sha256: " + strings.ToUpper(sumA) + ", roles: [viewer]"), "tokens[1].sha256: it is that of tokens[0], too"},
		"no hash":               {entry("name: b, roles: [viewer]"), `tokens[1] (b): the field "sha256" is missing`},
		"the secret itself":     {entry("name: b, sha256: tidemill_HUSH, roles: [viewer]"), "tokens[1] (b).sha256: want the 64 hex digits"},
		"no roles":              {entry("name: b, sha256: " + sumB), `tokens[1] (b): the field "roles" is missing`},
		"empty roles":           {entry("name: b, sha256: " + sumB + ", roles: []"), "tokens[1] (b).roles: the list is empty"},
		"roles as a text":       {entry("name: b, sha256: " + sumB + ", roles: viewer"), "tokens[1] (b).roles: want a list"},
		"unknown role":          {entry("name: b, sha256: " + sumB + ", roles: [viewer, deploy]"), `tokens[1] (b).roles[1]: unknown role "deploy"; did you mean "deployer"?`},
		"unknown role, far":     {entry("name: b, sha256: " + sumB + ", roles: [root]"), `unknown role "root"; there are viewer, submitter, deployer, admin`},
		"jobs of a deployer":    {entry("name: b, sha256: " + sumB + ", roles: [deployer], jobs: [a]"), "tokens[1] (b).jobs: it limits submitters only"},
		"jobs of an admin":      {entry("name: b, sha256: " + sumB + ", roles: [submitter, admin], jobs: [a]"), "tokens[1] (b).jobs: it limits submitters only"},
		"no jobs":               {entry("name: b, sha256: " + sumB + ", roles: [submitter], jobs: []"), "tokens[1] (b).jobs: the list is empty; leave the field out if all are meant"},
		"jobs of nothing":       {entry("name: b, sha256: " + sumB + ", roles: [submitter], jobs: ['']"), "tokens[1] (b).jobs[0]: it is empty"},
		"expires some time":     {entry(good + ", expires: tomorrow"), "tokens[1] (b).expires: want a day such as"},
		"expires on no day":     {entry(good + ", expires: 2027-02-30"), "tokens[1] (b).expires: want a day such as"},
		"mesos roles of a text": {entry("name: b, sha256: " + sumB + ", roles: [submitter], mesos_roles: data"), "tokens[1] (b).mesos_roles: want a list"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			for _, hidden := range []string{sumA, sumB, "HUSH"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("the error shows %s: %v", hidden, err)
				}
			}
		})
	}
}

func TestParseTellsAll(t *testing.T) {
	var b strings.Builder
	b.WriteString("tokens:\n")
	for i := range 30 {
		fmt.Fprintf(&b, "  - name: n%d\n", i)
	}
	_, err := Parse([]byte(b.String()))
	if err == nil || strings.Count(err.Error(), "\n") != maxProblems || !strings.Contains(err.Error(), "and 50 more") {
		t.Errorf("got %v", err)
	}
}

func TestAdd(t *testing.T) {
	added := Token{Name: "ci", SHA256: sumB, Roles: []Role{Submitter}, Jobs: []string{"flights-*"}, Expires: time.Date(2027, 6, 30, 12, 0, 0, 0, time.UTC)}
	for name, test := range map[string]struct{ file, keeps string }{
		"none":        {"", ""},
		"empty list":  {"tokens: []\n", ""},
		"one of YAML": {"# who may do what\ntokens:\n  - name: a # of Alice\n    sha256: " + sumA + "\n    roles: [admin]\n", "# of Alice"},
		"one of JSON": {`{"tokens": [{"name": "a", "sha256": "` + sumA + `", "roles": ["admin"]}]}`, `"name": "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := Parse([]byte(test.file))
			if err != nil && test.file != "" {
				t.Fatal(err)
			}
			longer, err := Add([]byte(test.file), added)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(longer)
			if diff := cmp.Diff(append(before, added), got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s\n%s", err, diff, longer)
			}
			if !strings.Contains(string(longer), test.keeps) || json.Valid([]byte(test.file)) != json.Valid(longer) {
				t.Errorf("got %s", longer)
			}
			if _, err := Add(longer, added); err == nil || !strings.Contains(err.Error(), "is the name of") {
				t.Errorf("a second time: got %v", err)
			}
		})
	}
	if _, err := Add([]byte("tokens: {}"), added); err == nil {
		t.Error("a bad file: got no error")
	}
}

// What is taken is whole: names and hashes are there once, roles are known, and it can be written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("tokens:\n  - name: ci\n    sha256: " + sumA + "\n    roles: [submitter]\n    jobs: [a*]\n    expires: 2027-06-30\n"))
	f.Add([]byte(`{"tokens": [{"name": "ci", "sha256": "` + sumB + `", "roles": ["admin"]}]}`))
	f.Add([]byte("tokens:\n  - &a {name: ci}\n  - *a\n  - <<: *a\n"))
	f.Add([]byte("tokens: []\n---\n"))
	f.Add([]byte("? [a]\n: !!binary x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tokens, err := Parse(data)
		if err != nil {
			if tokens != nil {
				t.Errorf("got %v beside %v", tokens, err)
			}
			return
		}
		names, sums := map[string]bool{}, map[[32]byte]bool{}
		for _, token := range tokens {
			actor := &Actor{Name: token.Name, Roles: token.Roles, Jobs: token.Jobs, MesosRoles: token.MesosRoles}
			if CheckName(token.Name) != nil || names[token.Name] || sums[token.sum()] || !actor.Has(Viewer) {
				t.Errorf("got %+v", token)
			}
			names[token.Name], sums[token.sum()] = true, true
		}
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
			text, err := marshal(map[string]any{"tokens": tokens})
			if err != nil {
				t.Fatal(err)
			}
			if tokens == nil {
				continue
			}
			again, err := Parse(text)
			if diff := cmp.Diff(tokens, again); err != nil || diff != "" {
				t.Errorf("%v: %s\n%s", err, diff, text)
			}
		}
	})
}
