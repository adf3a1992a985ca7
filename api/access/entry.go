package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"gopkg.in/yaml.v3"
)

// entry is a token as the file has it.
type entry struct {
	Name       string   `yaml:"name" json:"name"`
	SHA256     string   `yaml:"sha256" json:"sha256"`
	Roles      []Role   `yaml:"roles,flow" json:"roles"`
	Jobs       []string `yaml:"jobs,flow,omitempty" json:"jobs,omitempty"`
	MesosRoles []string `yaml:"mesos_roles,flow,omitempty" json:"mesos_roles,omitempty"`
	Expires    string   `yaml:"expires,omitempty" json:"expires,omitempty"`
}

func (t Token) entry() entry {
	e := entry{Name: t.Name, SHA256: t.SHA256, Roles: t.Roles, Jobs: t.Jobs, MesosRoles: t.MesosRoles}
	if !t.Expires.IsZero() {
		e.Expires = t.Expires.UTC().Format(time.RFC3339)
	}
	return e
}

// MarshalJSON gives the entry as a tokens file has it.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.entry()) }

// MarshalYAML gives the entry as a tokens file has it.
func (t Token) MarshalYAML() (any, error) { return t.entry(), nil }

// Add gives a tokens file with one more token. An empty file is made a YAML one; YAML keeps its comments, JSON stays
// JSON. The error is that of Parse if the file, or the file with the token, is not good.
func Add(file []byte, t Token) ([]byte, error) {
	if len(bytes.TrimSpace(file)) == 0 {
		file = []byte("tokens: []\n")
	}
	if _, err := Parse(file); err != nil {
		return nil, err
	}
	add := addYAML
	if json.Valid(file) {
		add = addJSON
	}
	longer, err := add(file, t)
	if err != nil {
		return nil, fmt.Errorf("add token: %w", err)
	}
	_, err = Parse(longer)
	return longer, err
}

func addYAML(file []byte, t Token) ([]byte, error) {
	var doc, added yaml.Node
	if err := yaml.Unmarshal(file, &doc); err != nil {
		return nil, err
	}
	if err := added.Encode(t.entry()); err != nil {
		return nil, err
	}
	list := doc.Content[0].Content[1] // Parse has found one field, a list
	list.Style = 0
	list.Content = append(list.Content, &added)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&doc); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

func addJSON(file []byte, t Token) ([]byte, error) {
	var doc struct {
		Tokens []json.RawMessage `json:"tokens"`
	}
	if err := json.Unmarshal(file, &doc); err != nil {
		return nil, err
	}
	added, err := t.MarshalJSON()
	if err != nil {
		return nil, err
	}
	doc.Tokens = append(doc.Tokens, added)
	out, err := json.MarshalIndent(doc, "", "  ")
	return append(out, '\n'), err
}
