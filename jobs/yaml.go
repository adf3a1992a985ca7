package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// FromYAML turns a spec written in YAML into JSON for [Decode]. Numbers and texts keep their exact spelling, fields
// their order. It takes the part of YAML that JSON can say: one document, no anchors, aliases, merges or tags of one's
// own. Problems name the line; the JSON is nil if there are any.
func FromYAML(data []byte) ([]byte, []Problem) {
	y := &yamlReader{problems: &problemList{}}
	y.document(data)
	if all := y.problems.all(); len(all) > 0 {
		return nil, all
	}
	return y.out.Bytes(), nil
}

// yamlReader writes the JSON of YAML nodes.
type yamlReader struct {
	out      bytes.Buffer
	problems *problemList
}

func (y *yamlReader) document(data []byte) {
	if len(data) > MaxBytes {
		y.problems.add("", "the spec has %d bytes; at most %d are allowed", len(data), MaxBytes)
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0:
		y.problems.add("", "the spec is empty")
		return
	case err != nil:
		y.syntax(err)
		return
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		y.problems.add("", "line %d: there is a second document; a spec is one", second.Line)
		return
	case !errors.Is(err, io.EOF):
		y.syntax(err)
		return
	}
	y.value(document.Content[0], "", 1)
}

func (y *yamlReader) syntax(err error) {
	y.problems.add("", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
}

// value writes n; depth is how deep it lies if it is a mapping or sequence.
func (y *yamlReader) value(n *yaml.Node, pointer string, depth int) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		y.problems.add(pointer, "line %d: anchors and aliases are not allowed in a spec", n.Line)
	case n.Kind == yaml.ScalarNode:
		y.scalar(n, pointer)
	case depth > maxDepth:
		y.problems.add(pointer, "line %d: mappings and sequences are nested more than %d deep", n.Line, maxDepth)
	case n.Kind == yaml.MappingNode && n.ShortTag() == "!!map":
		y.mapping(n, pointer, depth)
	case n.Kind == yaml.SequenceNode && n.ShortTag() == "!!seq":
		y.out.WriteByte('[')
		for i, element := range n.Content {
			if i > 0 {
				y.out.WriteByte(',')
			}
			y.value(element, JoinPointer(pointer, strconv.Itoa(i)), depth+1)
		}
		y.out.WriteByte(']')
	default:
		y.tag(n, pointer)
	}
}

func (y *yamlReader) mapping(n *yaml.Node, pointer string, depth int) {
	seen := map[string]int{}
	y.out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if i > 0 {
			y.out.WriteByte(',')
		}
		name, ok := y.key(key, pointer)
		if !ok {
			continue
		}
		at := JoinPointer(pointer, name)
		if first, repeated := seen[name]; repeated {
			y.problems.add(at, "line %d: field %q is given more than once, first in line %d", key.Line, name, first)
		}
		seen[name] = key.Line
		y.text(name)
		y.out.WriteByte(':')
		y.value(value, at, depth+1)
	}
	y.out.WriteByte('}')
}

// key is the name of a field.
func (y *yamlReader) key(n *yaml.Node, pointer string) (name string, ok bool) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		y.problems.add(pointer, "line %d: anchors and aliases are not allowed in a spec", n.Line)
	case n.Kind != yaml.ScalarNode:
		y.problems.add(pointer, "line %d: the name of a field must be a text", n.Line)
	case n.ShortTag() == "!!merge":
		y.problems.add(pointer, "line %d: merges (<<) are not allowed in a spec", n.Line)
	case len(n.Value) > maxFieldLen:
		y.problems.add(pointer, "line %d: the name of a field has %d bytes; at most %d are allowed", n.Line, len(n.Value), maxFieldLen)
	default:
		return n.Value, true
	}
	return "", false
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (y *yamlReader) scalar(n *yaml.Node, pointer string) {
	if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str" {
		y.tag(n, pointer)
		return
	}
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		y.text(n.Value)
	case "!!null":
		y.out.WriteString("null")
	case "!!bool":
		y.out.WriteString(strings.ToLower(n.Value))
	case "!!int", "!!float":
		if !jsonNumber.MatchString(n.Value) {
			y.problems.add(pointer, "line %d: write the number %s in plain decimal, or in quotes if it is a text", n.Line, excerpt(n.Value))
			return
		}
		y.out.WriteString(n.Value)
	default:
		y.tag(n, pointer)
	}
}

func (y *yamlReader) tag(n *yaml.Node, pointer string) {
	y.problems.add(pointer, "line %d: the tag %s is not allowed in a spec", n.Line, excerpt(n.Tag))
}

// text writes a JSON string. YAML's texts are valid UTF-8 already.
func (y *yamlReader) text(s string) {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic("encode a string: " + err.Error()) // cannot happen: every string has a JSON form
	}
	y.out.Write(quoted)
}
