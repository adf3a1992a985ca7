package connections

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemill/tidemill/storage"
)

// maxFile bounds what is read, in bytes.
const maxFile = 1 << 20

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// kinds makes a connection out of its entry, by the entry's type. The decoder
// refuses fields that the kind does not have.
var kinds = map[string]func(entry jsontext.Value) (connection, error){
	"s3":   newS3,
	"file": newFile,
	"hdfs": newHDFS,
}

// Load reads the connections file. An empty path, or no file there, gives the
// default connection alone. A file that group or others can access, or with
// anything in it that is not understood, is an error that matches
// storage.ErrInvalid; one that cannot be read is not.
func Load(path string) (*Set, error) {
	if path == "" {
		return parse(nil)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return parse(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("read connections: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read connections: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read connections %q: %w: mode %04o lets group or others access its keys, make it 0600",
			path, storage.ErrInvalid, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read connections: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read connections %q: %w: it is larger than %d bytes", path, storage.ErrInvalid, maxFile)
	}
	set, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read connections %q: %w", path, err)
	}
	return set, nil
}

// parse builds the set out of the text of a file; nil is no file.
func parse(data []byte) (*Set, error) {
	var file struct {
		Connections map[string]jsontext.Value `json:"connections"`
	}
	if data != nil {
		if err := decode(data, &file); err != nil {
			return nil, err
		}
	}
	set := &Set{connections: map[string]connection{}}
	for name, entry := range file.Connections {
		if !validName.MatchString(name) {
			return nil, fmt.Errorf("%w: connection %q: a name is 1 to 63 of a-z 0-9 - _ . and begins with a letter or digit", storage.ErrInvalid, name)
		}
		c, err := newConnection(entry)
		if err != nil {
			return nil, fmt.Errorf("connection %q: %w", name, err)
		}
		set.connections[name] = c
	}
	if _, ok := set.connections[DefaultName]; !ok {
		set.connections[DefaultName] = &s3Connection{}
	}
	return set, nil
}

func newConnection(entry jsontext.Value) (connection, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(entry, &head); err != nil {
		return nil, decodeError(entry, err)
	}
	kind, ok := kinds[head.Type]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
		if head.Type == "" {
			return nil, fmt.Errorf("%w: field \"type\" is missing, known types are %s", storage.ErrInvalid, known)
		}
		return nil, fmt.Errorf("%w: type %q is unknown, known are %s", storage.ErrInvalid, head.Type, known)
	}
	return kind(entry)
}

func decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into, json.RejectUnknownMembers(true)); err != nil {
		return decodeError(data, err)
	}
	return nil
}

// decodeError says where and what, and leaves out the text of the input that
// the decoder's own errors quote: it may be a key.
func decodeError(data []byte, err error) error {
	if bad, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fmt.Errorf("%w: %s appears twice", storage.ErrInvalid, field(bad.JSONPointer))
		}
		line := 1 + bytes.Count(data[:min(int(bad.ByteOffset), len(data))], []byte("\n"))
		return fmt.Errorf("%w: not JSON at line %d, byte %d", storage.ErrInvalid, line, bad.ByteOffset)
	}
	bad, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return fmt.Errorf("%w: not understood", storage.ErrInvalid)
	}
	if errors.Is(err, json.ErrUnknownName) {
		return fmt.Errorf("%w: %s is unknown", storage.ErrInvalid, field(bad.JSONPointer))
	}
	want := "another type"
	if bad.GoType != nil {
		want = wanted(bad.GoType.Kind().String())
	}
	return fmt.Errorf("%w: %s must be %s", storage.ErrInvalid, field(bad.JSONPointer), want)
}

func field(pointer jsontext.Pointer) string {
	if pointer == "" {
		return "the value"
	}
	return fmt.Sprintf("field %q", strings.TrimPrefix(string(pointer), "/"))
}

func wanted(goKind string) string {
	switch goKind {
	case "bool":
		return "true or false"
	case "map":
		return "an object"
	case "struct", "ptr":
		return "an object or, for a secret, a string"
	}
	return "a " + goKind
}
