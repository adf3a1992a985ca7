package aggregate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
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
