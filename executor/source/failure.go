package source

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
)

// notOfType says of a value that it does not fit its column.
func (t *Source) notOfType(c Column, value string) string {
	const most = 60
	if runes := []rune(value); len(runes) > most {
		value = string(runes[:most]) + "…"
	}
	detail := fmt.Sprintf("column %q: %q is not %s", c.Name, value, c.Type)
	if !t.declared(c.Name) {
		detail += ", the type of the values that were looked at; declare another one in " + t.at("columns") + " if it is wrong"
	}
	return detail
}

// declared says whether the spec has a type for the column.
func (t *Source) declared(name string) bool {
	for _, c := range t.Input.Columns {
		if strings.EqualFold(c.Name, name) {
			return true
		}
	}
	return false
}

// closing closes c and keeps its error if there is no other.
func closing(c interface{ Close() error }, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}

func isDecimal(kind string) bool {
	_, is := engine.IsDecimal(kind)
	return is
}
