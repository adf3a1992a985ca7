package expression

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/tidemill/tidemill/executor/engine"
)

// Type is the engine's name of a type that text names. The error is a [*Problem] if it names none.
func Type(ctx context.Context, s *engine.Session, text string) (kind string, err error) {
	cast := "CAST(NULL AS " + text + ")"
	if _, err := Parse(ctx, s, cast); err != nil {
		return "", err
	}
	document, err := serializeAny(ctx, s, before+cast+"\n)")
	if err != nil {
		return "", err
	}
	selected, ok := selection(document)
	if !ok {
		return "", problem("%q is not a type", text)
	}
	top, _ := selected[0].(map[string]any)
	if child := below(top, "child"); top["class"] != "CAST" || child["class"] != "CONSTANT" || top["alias"] != "" {
		return "", problem("%q is not a type", text)
	}
	err = s.Query(ctx, "DESCRIBE SELECT "+cast, func(row []driver.Value) error {
		var ok bool
		if kind, ok = row[1].(string); !ok {
			return fmt.Errorf("describe type: got %T", row[1])
		}
		return nil
	})
	var said *engine.Error
	if errors.As(err, &said) && (said.Reason == engine.Binding || said.Reason == engine.Syntax) {
		return "", problem("%q is not a type: %s", text, said.Message)
	}
	return kind, err
}
