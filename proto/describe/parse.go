package describe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/proto"
)

// The markers are put together when the program runs: a binary that only reads descriptions must not look as if it had one.
var (
	// BlockMarker stands before the JSON object of the block. A semicolon stands behind the object.
	BlockMarker = strings.Join([]string{"tidemill", "executor", "description:"}, "-")
	// VersionMarker stands before the version, a semicolon behind it.
	VersionMarker = strings.Join([]string{"tidemill", "executor", "version:"}, "-")
)

const (
	maxVersion = 64       // bytes
	maxBlock   = 16 << 10 // bytes of the JSON object
	maxNames   = 1000     // kinds, or features
)

// block is the JSON of the block, and of --describe. Unknown fields are those of later executors and are left out.
type block struct {
	Version  string   `json:"version,omitempty"`
	OS       string   `json:"os"`
	Arch     string   `json:"arch"`
	Protocol protocol `json:"protocol"`
	Kinds    []string `json:"kinds"`
	Features []string `json:"features"`
}

type protocol struct {
	Min uint32 `json:"min"`
	Max uint32 `json:"max"`
}

// CheckVersion refuses what is no name of an executor version: 1 to 64 of 0-9 A-Z a-z . + _ -, beginning with a
// letter or digit. Semantic versions and commit IDs are such names.
func CheckVersion(version string) error {
	switch {
	case version == "":
		return fmt.Errorf("check version: it is empty")
	case len(version) > maxVersion:
		return fmt.Errorf("check version %q: it has %d characters, at most %d are allowed",
			version[:maxVersion]+"…", len(version), maxVersion)
	}
	for i, c := range []byte(version) {
		if !alphanumeric(c) && (i == 0 || strings.IndexByte(".+_-", c) < 0) {
			return fmt.Errorf("check version %q: it has the character %q at %d: letters, digits and (not in front) . + _ - are allowed",
				version, rune(c), i)
		}
	}
	return nil
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// Parse puts a description together from the two marked strings, each with its marker. Kinds and features come sorted.
func Parse(marked, stamp string) (proto.Description, error) {
	d, err := parseBlock(marked)
	if err != nil {
		return proto.Description{}, err
	}
	if d.Version, err = parseVersion(stamp); err != nil {
		return proto.Description{}, err
	}
	return d, nil
}

// parseVersion reads a stamp from its marker on; what follows the semicolon is not looked at.
func parseVersion(stamp string) (string, error) {
	rest, ok := strings.CutPrefix(stamp, VersionMarker)
	if !ok {
		return "", errNoVersion
	}
	version, _, ok := strings.Cut(rest[:min(len(rest), maxVersion+1)], ";")
	if !ok {
		return "", fmt.Errorf("read executor version: no semicolon within %d characters", maxVersion)
	}
	return version, CheckVersion(version)
}

// parseBlock reads a block from its marker on; what follows the object is not looked at.
func parseBlock(marked string) (proto.Description, error) {
	rest, ok := strings.CutPrefix(marked, BlockMarker)
	if !ok {
		return proto.Description{}, errNoBlock
	}
	var b block
	if err := json.NewDecoder(strings.NewReader(rest[:min(len(rest), maxBlock)])).Decode(&b); err != nil {
		return proto.Description{}, fmt.Errorf("read executor description: %w", err)
	}
	if err := b.check(); err != nil {
		return proto.Description{}, fmt.Errorf("read executor description: %w", err)
	}
	return proto.Description{
		OS: b.OS, Arch: b.Arch,
		ProtocolMin: b.Protocol.Min, ProtocolMax: b.Protocol.Max,
		Kinds: distinct(b.Kinds), Features: distinct(b.Features),
	}, nil
}

// distinct sorts names; a list of none is nil, whether it was there or not.
func distinct(names []string) []string {
	slices.Sort(names)
	return append([]string(nil), slices.Compact(names)...)
}

func (b *block) check() error {
	switch {
	case !plainName(b.OS) || !plainName(b.Arch):
		return fmt.Errorf("os %q, arch %q: want names such as linux and amd64", b.OS, b.Arch)
	case b.Protocol.Min < 1 || b.Protocol.Max < b.Protocol.Min:
		return fmt.Errorf("protocol %d to %d: want a range from 1 on", b.Protocol.Min, b.Protocol.Max)
	case len(b.Kinds) > maxNames || len(b.Features) > maxNames:
		return fmt.Errorf("more than %d kinds or features", maxNames)
	}
	for _, name := range slices.Concat(b.Kinds, b.Features) {
		if !plainName(name) {
			return fmt.Errorf("kind or feature %q: want a-z 0-9 . _ -", name)
		}
	}
	return nil
}

// plainName is true of 1 to 64 lower-case letters, digits, dots, underscores and hyphens, beginning with a letter or digit.
func plainName(s string) bool {
	return CheckVersion(s) == nil && strings.ToLower(s) == s && !strings.Contains(s, "+")
}

// JSON is d as `tidemill-executor --describe` prints it, in one line without an end.
func JSON(d proto.Description) []byte {
	data, err := json.Marshal(block{
		Version: d.Version, OS: d.OS, Arch: d.Arch,
		Protocol: protocol{Min: d.ProtocolMin, Max: d.ProtocolMax},
		Kinds:    append([]string{}, d.Kinds...), Features: append([]string{}, d.Features...),
	})
	if err != nil {
		panic(err) // strings and numbers can always be written
	}
	return data
}
