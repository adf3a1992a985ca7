package describe

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/proto"
)

const goodObject = `{"os":"linux","arch":"amd64","protocol":{"min":1,"max":2},"kinds":["load","aggregate"],"features":["b","a.x"]}`

func goodBlock() string { return BlockMarker + goodObject + ";" }

func goodStamp() string { return VersionMarker + "1.5.0;" }

func goodDescription() proto.Description {
	return proto.Description{
		Version: "1.5.0", OS: "linux", Arch: "amd64", ProtocolMin: 1, ProtocolMax: 2,
		Kinds: []string{"aggregate", "load"}, Features: []string{"a.x", "b"},
	}
}

func readString(s string) (proto.Description, error) {
	return Read(strings.NewReader(s), int64(len(s)))
}

func TestReadFindsDescription(t *testing.T) {
	junk := strings.Repeat("tidemill-executor-\x00", 100)
	for name, file := range map[string]string{
		"block first":       "\x7fELF" + goodBlock() + junk + goodStamp(),
		"version first":     goodStamp() + junk + goodBlock() + junk,
		"nothing else":      goodBlock() + goodStamp(),
		"twice the same":    goodBlock() + junk + goodStamp() + goodBlock() + goodStamp(),
		"marker cut before": BlockMarker[:len(BlockMarker)-1] + goodBlock() + VersionMarker[:5] + goodStamp(),
		"a field of later":  strings.Replace(goodBlock(), `{"os"`, `{"later":[1],"os"`, 1) + goodStamp(),
	} {
		got, err := readString(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(goodDescription(), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"empty":               {"", "no tidemill executor"},
		"another program":     {"\x7fELF hello", "no tidemill executor"},
		"no version":          {goodBlock(), "has no version stamped"},
		"empty version":       {goodBlock() + VersionMarker + ";", "it is empty"},
		"version too long":    {goodBlock() + VersionMarker + strings.Repeat("1", 65) + ";", "no semicolon"},
		"version cut":         {goodBlock() + VersionMarker + "1.5", "no semicolon"},
		"version with slash":  {goodBlock() + VersionMarker + "1/5;", `character '/'`},
		"versions differ":     {goodBlock() + goodStamp() + VersionMarker + "1.5.1;", "differ"},
		"blocks differ":       {goodBlock() + goodStamp() + strings.Replace(goodBlock(), "load", "lode", 1), "differ"},
		"block cut":           {goodStamp() + goodBlock()[:60], "unexpected EOF"},
		"block not JSON":      {goodStamp() + BlockMarker + "%s", "invalid character"},
		"wrong type":          {goodStamp() + BlockMarker + `{"os":1}`, "os"},
		"no platform":         {goodStamp() + BlockMarker + `{"protocol":{"min":1,"max":1}};`, "want names"},
		"protocol backwards":  {goodStamp() + strings.Replace(goodBlock(), `"min":1`, `"min":3`, 1), "range"},
		"protocol from 0":     {goodStamp() + strings.Replace(goodBlock(), `"min":1`, `"min":0`, 1), "range"},
		"bad kind":            {goodStamp() + strings.Replace(goodBlock(), "load", "LOAD", 1), `"LOAD"`},
		"endless block":       {goodStamp() + BlockMarker + `{"os":"` + strings.Repeat("x", 1<<20), "unexpected EOF"},
		"markers all over":    {strings.Repeat(goodBlock(), 1000) + goodStamp(), "more than 16"},
		"deeply nested block": {goodStamp() + BlockMarker + strings.Repeat("[", 1<<20), "max depth"},
	} {
		got, err := readString(test.file)
		if err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %q, want %q in it", name, err, test.want)
		}
	}
}

func TestReadSaysWhenFileIsShorterThanSaid(t *testing.T) {
	_, err := Read(strings.NewReader("short"), 100)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an unexpected EOF", err)
	}
}

// Wherever the strings lie with respect to the pieces in which the file is read, they are found.
func TestReadFindsAcrossPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gap := func(label string) string {
			n := rapid.IntRange(-60, 60).Draw(t, label) + rapid.IntRange(0, 2).Draw(t, label+" pieces")*searchChunk
			return strings.Repeat("-", max(0, n))
		}
		got, err := readString(gap("front") + goodBlock() + gap("middle") + goodStamp() + gap("end"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(goodDescription(), got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestCheckVersion(t *testing.T) {
	for _, good := range []string{"1", "1.5.0", "1.5.0-rc.1+build_7", "dev", "9f3c2ab", strings.Repeat("a", 64)} {
		if err := CheckVersion(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".1", "-1", "+1", "_1", "1 0", "1/0", "1:0", "ü", "1\x00", "1\n", strings.Repeat("a", 65)} {
		if CheckVersion(bad) == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

func TestJSONHasAllFields(t *testing.T) {
	got := string(JSON(goodDescription()))
	want := `{"version":"1.5.0","os":"linux","arch":"amd64","protocol":{"min":1,"max":2},"kinds":["aggregate","load"],"features":["a.x","b"]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(JSON(proto.Description{})); !strings.Contains(got, `"kinds":[],"features":[]`) {
		t.Errorf("without kinds: got %s, want empty lists", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(goodBlock() + goodStamp()))
	f.Add([]byte(goodStamp() + BlockMarker + "{}"))
	f.Add([]byte(VersionMarker + VersionMarker))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if err := CheckVersion(d.Version); err != nil {
			t.Error(err)
		}
		// What was read can be shown and read again.
		var shown map[string]any
		if err := json.Unmarshal(JSON(d), &shown); err != nil {
			t.Error(err)
		}
		again, err := readString(BlockMarker + string(JSON(d)) + ";" + VersionMarker + d.Version + ";")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Error(diff)
		}
	})
}
