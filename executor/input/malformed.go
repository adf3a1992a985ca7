package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MalformedJSON says what is wrong with a line that is not one JSON object.
func MalformedJSON(line []byte) string {
	value := jsontext.Value(bytes.TrimSpace(line))
	if len(value) > 0 && value[0] != '{' {
		return "it is not a JSON object"
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(value))
	_, err := decoder.ReadValue()
	if err == nil {
		if _, err = decoder.ReadToken(); err == io.EOF {
			return ""
		}
		return "it has more than one JSON object"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "the JSON object is cut short"
	}
	var wrong *jsontext.SyntacticError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("malformed JSON at byte %d: %v", wrong.ByteOffset+1, wrong.Err)
	}
	return fmt.Sprintf("malformed JSON: %v", err)
}

// MemberBefore is the name of the object's member whose value begins right behind text, as it is written. It looks only
// at the end of text, so that it may take a part of a string for a member.
func MemberBefore(text []byte) (name []byte, ok bool) {
	text, ok = bytes.CutSuffix(bytes.TrimRight(text, " \t"), []byte{':'})
	if !ok {
		return nil, false
	}
	text, ok = bytes.CutSuffix(bytes.TrimRight(text, " \t"), []byte{'"'})
	if !ok {
		return nil, false
	}
	for begin := len(text) - 1; begin >= 0; begin-- {
		if text[begin] == '"' && (begin == 0 || text[begin-1] != '\\') {
			return text[begin+1:], true
		}
		if text[begin] == '\n' {
			return nil, false
		}
	}
	return nil, false
}
