package aggregate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

// engineFailure gives an engine's error its class. What is wrong with data or expressions no retry can mend.
func engineFailure(doing string, err error) error {
	var said *engine.Error
	if !errors.As(err, &said) {
		return err
	}
	failure := task.Final("", "%s: %s", doing, said.Message)
	switch said.Reason {
	case engine.Memory:
		failure.Class, failure.Kind = proto.CLASS_PASSING, "out_of_memory"
		failure.Pointer = "/resources/memory"
		failure.Message = fmt.Sprintf("%s: the engine needs more memory or disk than the task has (%s)", doing, said.Message)
	case engine.Unexpected, engine.Other, engine.Cancelled:
		failure.Class, failure.Kind = proto.CLASS_PASSING, "internal"
	}
	failure.Err = err
	return failure
}

var (
	notConverted = regexp.MustCompile(`(?s)Error when converting column "(.*?)"\. Could not convert string "(.*?)" to '`)
	columnCount  = regexp.MustCompile(`Expected Number of Columns: (\d+) Found: (\d+)`)
	jsonValue    = regexp.MustCompile(`JSON transform error in file .*?, in line \d+: (.*)$`)
	malformed    = regexp.MustCompile(`^Malformed JSON|JSON transform error`)
)

// locating bounds the search for a bad row.
const locating = 10 * time.Minute

// failure says where in a split the row is that the engine complains of.
func (s *textSource) failure(ctx context.Context, err error, split input.Split) error {
	var said *engine.Error
	if !errors.As(err, &said) || said.Reason != engine.Data {
		return engineFailure("compute", err)
	}
	suspect, fallback, ok := s.suspect(said)
	if !ok {
		return engineFailure("compute", err)
	}
	ctx, cancel := context.WithTimeout(ctx, locating)
	defer cancel()
	where, detail, locateErr := s.rows.Locate(ctx, split, suspect)
	if where == "" {
		if locateErr != nil {
			s.Log.Warn("cannot find the row that the engine refused", "error", locateErr)
		}
		where, detail = s.section.Input.URI, fallback
	}
	failure := task.Final("", "%s: %s", where, detail)
	failure.Err = err
	return failure
}

// suspect knows a bad row again by what the engine says of it.
func (s *textSource) suspect(said *engine.Error) (suspect input.Suspect, fallback string, ok bool) {
	if parts := strings.SplitN(said.Raw, bad, 3); len(parts) == 3 {
		return s.suspectValue(parts[1], parts[2])
	}
	if m := notConverted.FindStringSubmatch(said.Raw); m != nil {
		return s.suspectValue(m[1], m[2])
	}
	message := said.Message
	if !s.rows.Dialect.CSV {
		return suspectJSON(message)
	}
	if m := columnCount.FindStringSubmatch(message); m != nil {
		want, err := strconv.Atoi(m[1])
		suspect.Fields = func(fields []string, _ bool) string {
			if len(fields) == want {
				return ""
			}
			return fmt.Sprintf("the row has %d columns, want %d", len(fields), want)
		}
		return suspect, fmt.Sprintf("a row has %s columns, want %s", m[2], m[1]), err == nil
	}
	if strings.Contains(message, "unterminated quote") {
		suspect.Fields = func(_ []string, trail bool) string {
			if trail {
				return "there is text behind a closing quote"
			}
			return ""
		}
		return suspect, "a quoted field is not closed", true
	}
	if strings.Contains(message, "Invalid unicode") || strings.Contains(message, "not utf-8") {
		suspect.Fields = func(fields []string, _ bool) string {
			for i, field := range fields {
				if strings.ToValidUTF8(field, "") != field && i < len(s.columns) {
					return fmt.Sprintf("column %q is not UTF-8", s.columns[i].Name)
				}
			}
			return ""
		}
		return suspect, "a row is not UTF-8", true
	}
	return suspect, "", false // a function may have said the like of JSON
}

func suspectJSON(message string) (suspect input.Suspect, fallback string, ok bool) {
	if !malformed.MatchString(message) {
		return suspect, "", false
	}
	if m := jsonValue.FindStringSubmatch(message); m != nil {
		message = m[1]
	}
	return input.Suspect{Line: input.MalformedJSON}, message, true
}

func (s *textSource) suspectValue(name, value string) (input.Suspect, string, bool) {
	i := find(s.columns, name)
	if i < 0 {
		return input.Suspect{}, "", false
	}
	detail := s.notOfType(s.columns[i], value)
	same := func(found string) bool {
		return found == value || len([]rune(value)) >= 200 && strings.HasPrefix(found, value)
	}
	return input.Suspect{
		Fields: func(fields []string, _ bool) string {
			if i < len(fields) && same(fields[i]) {
				return detail
			}
			return ""
		},
		Line: func(line []byte) string {
			if same(member(line, name)) {
				return detail
			}
			return ""
		},
	}, detail, true
}

// notOfType says of a value that it does not fit its column.
func (t *stage) notOfType(c column, value string) string {
	const most = 60
	if runes := []rune(value); len(runes) > most {
		value = string(runes[:most]) + "…"
	}
	detail := fmt.Sprintf("column %q: %q is not %s", c.Name, value, c.Type)
	if !t.declared(c.Name) {
		detail += ", the type of the values that were looked at; declare another one in /aggregate/input/columns if it is wrong"
	}
	return detail
}

// declared says whether the spec has a type for the column.
func (t *stage) declared(name string) bool {
	for _, c := range t.section.Input.Columns {
		if strings.EqualFold(c.Name, name) {
			return true
		}
	}
	return false
}

// member is the value of an object's member as the engine reads it as text; "" if there is none.
func member(line []byte, name string) string {
	decoder := jsontext.NewDecoder(strings.NewReader(string(line)))
	if token, err := decoder.ReadToken(); err != nil || token.Kind() != '{' {
		return ""
	}
	for decoder.PeekKind() == '"' {
		key, err := decoder.ReadToken()
		if err != nil {
			return ""
		}
		found := strings.EqualFold(key.String(), name)
		value, err := decoder.ReadValue()
		if err != nil {
			return ""
		}
		if !found {
			continue
		}
		if text, err := jsontext.AppendUnquote(nil, value); err == nil {
			return string(text)
		}
		return string(value)
	}
	return ""
}
