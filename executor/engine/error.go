package engine

import (
	"context"
	"errors"
	"regexp"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"
)

// Reason is what kind of thing went wrong.
type Reason int

// Reasons that callers treat differently.
const (
	Other      Reason = iota
	Binding           // an unknown column or function, or types that do not fit
	Syntax            // not SQL
	Data              // a value that cannot be converted or computed with
	Memory            // more memory or spill space than the session may use
	Cancelled         // interrupted
	Unexpected        // a fault of the engine's own
)

// Error is what the engine said.
type Error struct {
	Reason  Reason
	Message string // one or two lines, lower case or a quotation
	Raw     string // all of what it said, for the log; may hold paths and data
}

func (e *Error) Error() string { return e.Message }

var reasons = map[duckdb.ErrorType]Reason{
	duckdb.ErrorTypeBinder:         Binding,
	duckdb.ErrorTypeCatalog:        Binding,
	duckdb.ErrorTypeParser:         Syntax,
	duckdb.ErrorTypeSyntax:         Syntax,
	duckdb.ErrorTypeConversion:     Data,
	duckdb.ErrorTypeInvalidInput:   Data,
	duckdb.ErrorTypeOutOfRange:     Data,
	duckdb.ErrorTypeDivideByZero:   Data,
	duckdb.ErrorTypeMismatchType:   Data,
	duckdb.ErrorTypeOutOfMemory:    Memory,
	duckdb.ErrorTypeInterrupt:      Cancelled,
	duckdb.ErrorTypeInternal:       Unexpected,
	duckdb.ErrorTypeFatal:          Unexpected,
	duckdb.ErrorTypeNullPointer:    Unexpected,
	duckdb.ErrorTypeObjectSize:     Data,
	duckdb.ErrorTypeDecimal:        Data,
	duckdb.ErrorTypeNotImplemented: Binding,
}

// because is clean, except that a context that ended is the reason for everything.
func because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return clean(err)
}

func clean(err error) error {
	if err == nil {
		return nil
	}
	var said *duckdb.Error
	if !errors.As(err, &said) {
		return err
	}
	return &Error{Reason: reasons[said.Type], Message: tidy(said.Msg), Raw: said.Msg}
}

var (
	prefix = regexp.MustCompile(`^(?:[A-Z][A-Za-z]*(?: [A-Za-z]+){0,3} Error: )+`)
	// advice is where the engine begins to say what else one could try, or shows where in our SQL it was.
	advice = regexp.MustCompile(`(?s)\n\s*(?:LINE \d+:|Possible (?:[fF]ixes|[sS]olutions?)|Try setting |Candidate bindings:|Candidate functions:|Column .* is being converted|This type was|Hint:|HINT:|This limit was set by|\* ).*$`)
	spaces = regexp.MustCompile(`\s+`)
)

// tidy keeps of a message what says what is wrong.
func tidy(message string) string {
	message = prefix.ReplaceAllString(strings.TrimSpace(message), "")
	message = advice.ReplaceAllString(message, "")
	message = strings.TrimSuffix(strings.TrimSpace(spaces.ReplaceAllString(message, " ")), ".")
	const most = 400
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	return strings.ToValidUTF8(message, "�")
}
