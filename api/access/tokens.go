package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"gopkg.in/yaml.v3"

	"github.com/tidemill/tidemill/jobs"
)

// Token is an entry of the tokens file.
type Token struct {
	Name       string    // of the actor: 1 to 63 of A-Z a-z 0-9 . _ - @; not "token" and not "anonymous"
	SHA256     string    // of the secret, 64 hex digits
	Roles      []Role    // at least one
	Jobs       []string  // that a submitter may submit: names, or patterns with *; empty: all
	MesosRoles []string  // that the specs of a submitter may have; empty: all
	Expires    time.Time // zero: never
}

func (t Token) sum() (sum [sha256.Size]byte) {
	raw, _ := hex.DecodeString(t.SHA256) // Parse has seen to it
	copy(sum[:], raw)
	return sum
}

// prefix tells people, and programs that look for secrets where none belong, what a token is.
const prefix = "tidemill_"

// NewSecret makes the secret of a new token, of 130 random bits, and its SHA-256 as the file has it.
func NewSecret() (secret, sum string) {
	secret = prefix + rand.Text()
	raw := sha256.Sum256([]byte(secret))
	return secret, hex.EncodeToString(raw[:])
}

// maxProblems is how many problems of a file are told at once.
const maxProblems = 10

// Parse reads a tokens file, YAML or JSON:
//
//	tokens:
//	  - name: ci
//	    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//	    roles: [submitter, deployer]   # viewer, submitter, deployer, admin
//	    jobs: ["flights-*"]            # of a submitter: only these jobs; all if missing
//	    mesos_roles: [data/batch]      # of a submitter: only specs with these roles; all if missing
//	    expires: 2027-06-30            # or 2027-06-30T12:00:00Z; never if missing
//
// The error names each entry and field that is wrong, and shows no hash.
func Parse(data []byte) ([]Token, error) {
	root, err := document(data)
	if err != nil {
		return nil, err
	}
	p := &parser{}
	fields := p.mapping("the file", root, []string{"tokens"})
	list := fields["tokens"]
	if list == nil && len(p.problems) == 0 {
		p.wrong("the file", "it has no tokens: want a list under \"tokens\"")
	}
	var all []Token
	if list != nil {
		for i, node := range p.sequence("tokens", list) {
			all = append(all, p.token(fmt.Sprintf("tokens[%d]", i), node))
		}
	}
	p.unique(all)
	if len(p.problems) > maxProblems {
		p.problems = append(p.problems[:maxProblems], fmt.Errorf("and %d more", len(p.problems)-maxProblems))
	}
	if len(p.problems) > 0 {
		return nil, errors.Join(p.problems...)
	}
	return all, nil
}

// document is the one YAML document of a file. JSON is YAML but for what may stand between its marks.
func document(data []byte) (*yaml.Node, error) {
	if plain := jsontext.Value(bytes.Clone(data)); plain.Format() == nil {
		data = plain
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one document")
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("the file is empty")
	}
	return doc.Content[0], nil
}

// parser gathers what is wrong.
type parser struct{ problems []error }

func (p *parser) wrong(where, format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

// mapping gives the fields of a node. Unknown ones and repeated ones are wrong.
func (p *parser) mapping(where string, node *yaml.Node, known []string) map[string]*yaml.Node {
	fields := map[string]*yaml.Node{}
	if node.Kind != yaml.MappingNode {
		p.wrong(where, "want fields (%s)", strings.Join(known, ", "))
		return fields
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i].Value
		switch near := jobs.Suggest(name, known); {
		case slices.Contains(known, name) && fields[name] != nil:
			p.wrong(where, "the field %q is there twice (line %d)", name, node.Content[i].Line)
		case slices.Contains(known, name):
			fields[name] = node.Content[i+1]
		case near != "":
			p.wrong(where, "unknown field %.60q; did you mean %q?", name, near)
		default:
			p.wrong(where, "unknown field %.60q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return fields
}

func (p *parser) sequence(where string, node *yaml.Node) []*yaml.Node {
	if node.Kind != yaml.SequenceNode {
		p.wrong(where, "want a list")
		return nil
	}
	return node.Content
}

// text is a scalar as it is written.
func (p *parser) text(where string, node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
		p.wrong(where, "want a text")
		return ""
	}
	return node.Value
}

func (p *parser) texts(where string, node *yaml.Node) []string {
	items := p.sequence(where, node)
	if node.Kind == yaml.SequenceNode && len(items) == 0 {
		p.wrong(where, "the list is empty; leave the field out if all are meant")
	}
	var all []string
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", where, i)
		text := p.text(at, item)
		if text == "" && item.Kind == yaml.ScalarNode && item.Tag != "!!null" {
			p.wrong(at, "it is empty")
		}
		all = append(all, text)
	}
	return all
}

var tokenFields = []string{"name", "sha256", "roles", "jobs", "mesos_roles", "expires"}

// token reads one entry.
func (p *parser) token(where string, node *yaml.Node) (t Token) {
	if name := named(node); name != "" {
		where = fmt.Sprintf("%s (%s)", where, name)
	}
	fields := p.mapping(where, node, tokenFields)
	if node.Kind != yaml.MappingNode {
		return t
	}
	if name := fields["name"]; name == nil {
		p.wrong(where, "the field \"name\" is missing")
	} else if t.Name = p.text(where+".name", name); name.Kind == yaml.ScalarNode && name.Tag != "!!null" && CheckName(t.Name) != nil {
		p.wrong(where+".name", "%v", CheckName(t.Name))
	}
	if sum := fields["sha256"]; sum == nil {
		p.wrong(where, "the field \"sha256\" is missing")
	} else {
		t.SHA256 = strings.ToLower(p.text(where+".sha256", sum))
		if raw, err := hex.DecodeString(t.SHA256); err != nil || len(raw) != sha256.Size {
			p.wrong(where+".sha256", "want the 64 hex digits of the token's SHA-256; the token itself does not belong here")
		}
	}
	if roles := fields["roles"]; roles == nil {
		p.wrong(where, "the field \"roles\" is missing")
	} else {
		t.Roles = p.roles(where+".roles", roles)
	}
	t.Jobs = p.limit(where+".jobs", fields["jobs"], t.Roles)
	t.MesosRoles = p.limit(where+".mesos_roles", fields["mesos_roles"], t.Roles)
	if expires := fields["expires"]; expires != nil {
		var err error
		if t.Expires, err = ParseExpiry(p.text(where+".expires", expires)); err != nil {
			p.wrong(where+".expires", "%v", err)
		}
	}
	return t
}

// limit reads what a submitter is limited to. On others it would look like a limit and be none.
func (p *parser) limit(where string, node *yaml.Node, roles []Role) []string {
	if node == nil {
		return nil
	}
	if len(roles) > 0 && (!slices.Contains(roles, Submitter) || slices.Contains(roles, Admin)) {
		p.wrong(where, "it limits submitters only, and this token's roles are %v", roles)
	}
	return p.texts(where, node)
}

// named is the name of an entry, if it has a good one.
func named(node *yaml.Node) string {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if name := node.Content[i+1].Value; node.Content[i].Value == "name" && CheckName(name) == nil {
			return name
		}
	}
	return ""
}

func (p *parser) roles(where string, node *yaml.Node) []Role {
	known := make([]string, len(Roles))
	for i, role := range Roles {
		known[i] = string(role)
	}
	var roles []Role
	for i, name := range p.texts(where, node) {
		switch near := jobs.Suggest(name, known); {
		case slices.Contains(known, name):
			roles = append(roles, Role(name))
		case near != "":
			p.wrong(fmt.Sprintf("%s[%d]", where, i), "unknown role %.60q; did you mean %q?", name, near)
		default:
			p.wrong(fmt.Sprintf("%s[%d]", where, i), "unknown role %.60q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return roles
}

// unique finds names and hashes that two entries share: nobody would know who sent a request.
func (p *parser) unique(all []Token) {
	names, sums := map[string]int{}, map[string]int{}
	for i, t := range all {
		if first, taken := names[t.Name]; taken && t.Name != "" {
			p.wrong(fmt.Sprintf("tokens[%d].name", i), "%.60q is the name of tokens[%d], too", t.Name, first)
		} else {
			names[t.Name] = i
		}
		if first, taken := sums[t.SHA256]; taken && len(t.SHA256) == 2*sha256.Size {
			p.wrong(fmt.Sprintf("tokens[%d].sha256", i), "it is that of tokens[%d], too", first)
		} else {
			sums[t.SHA256] = i
		}
	}
}

// CheckName returns an error if s cannot be the name of a token.
func CheckName(s string) error {
	const most = 63
	marks := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-@", r))
	}
	switch {
	case s == "" || len(s) > most || strings.ContainsFunc(s, marks):
		return errors.New("want 1 to 63 of A-Z a-z 0-9 . _ - @")
	case s == "token" || s == anonymous.Name:
		return fmt.Errorf("%q is the name of somebody else: the token of the configuration, or all who need none", s)
	}
	return nil
}

// ParseExpiry reads a moment (RFC 3339) or a day, which ends the token as it begins, in UTC.
func ParseExpiry(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), nil
	}
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, errors.New("want a day such as 2027-06-30, or a moment such as 2027-06-30T12:00:00Z")
	}
	return at, nil
}
