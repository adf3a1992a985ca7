package wire

import (
	"fmt"
	"strings"
)

// Error is an answer that refuses, as RFC 9457 has it.
type Error struct {
	Type   string    `json:"type" doc:"Says what kind of problem it is; about:blank: the status says all" default:"about:blank"`
	Title  string    `json:"title" doc:"The status in words"`
	Status int       `json:"status" doc:"The HTTP status"`
	Detail string    `json:"detail" doc:"What went wrong this time, in a sentence"`
	Errors []Problem `json:"errors,omitempty" doc:"Each thing that is wrong, and where"`
}

// Error is one line with the first located problem.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	if len(e.Errors) > 0 {
		p := e.Errors[0]
		where := p.Pointer
		if p.Parameter != "" {
			where = p.Parameter
		}
		if where == "" {
			fmt.Fprintf(&b, ": %s", p.Detail)
		} else {
			fmt.Fprintf(&b, ": %s: %s", where, p.Detail)
		}
	}
	return b.String()
}

// GetStatus is the HTTP status.
func (e *Error) GetStatus() int { return e.Status }

// ContentType is that of problems, whatever was negotiated.
func (e *Error) ContentType(string) string { return "application/problem+json" }
