package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a document. They are far above what a spec needs and keep a hostile one cheap.
const (
	MaxBytes    = 1 << 20 // of a spec as text
	maxDepth    = 64      // of objects and arrays inside one another
	maxFieldLen = 200     // bytes of a field's name
)

// node is one value of a document.
type node struct {
	kind     jsontext.Kind // one of { [ " 0 t f n
	text     string        // of a string, unquoted; of a number, as written
	children []child       // of an object or array, in the order of the document
}

// child is a value inside an object or array.
type child struct {
	name string // a field's name, or an index
	node *node
}

// find returns the value of a field, or nil.
func (n *node) find(name string) *node {
	if n == nil || n.kind != '{' {
		return nil
	}
	for _, c := range n.children {
		if c.name == name {
			return c.node
		}
	}
	return nil
}

// documentReader turns JSON text into nodes. It stops at the first problem of syntax and collects all repeated fields.
type documentReader struct {
	data     []byte
	tokens   *jsontext.Decoder
	problems *problemList
}

// readDocument reads exactly one JSON value. It returns nil when data is not JSON; problems then say why.
func readDocument(data []byte, problems *problemList) *node {
	if len(data) > MaxBytes {
		problems.add("", "the spec has %d bytes; at most %d are allowed", len(data), MaxBytes)
		return nil
	}
	r := &documentReader{
		data: data,
		// Repeated names are found here, so that all of them are reported.
		tokens:   jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true)),
		problems: problems,
	}
	root := r.value(1)
	if root == nil {
		return nil
	}
	switch _, err := r.tokens.ReadToken(); {
	case err == nil:
		// The decoder takes several values after one another; a spec is one.
		problems.add("", "line %d: there is more text after the end of the spec", line(data, r.tokens.InputOffset()))
		return nil
	case !errors.Is(err, io.EOF):
		problems.add("", "line %d: there is more text after the end of the spec", line(data, syntaxOffset(err, r.tokens)))
		return nil
	}
	return root
}

// value reads the next value; depth is how deep it lies if it is an object or array. It returns nil after a problem.
func (r *documentReader) value(depth int) *node {
	token, err := r.tokens.ReadToken()
	if err != nil {
		r.syntax(err)
		return nil
	}
	n := &node{kind: token.Kind()}
	switch n.kind {
	case '"', '0':
		n.text = token.String()
	case '{', '[':
		if depth > maxDepth {
			r.problems.add(string(r.tokens.StackPointer()), "line %d: objects and arrays are nested more than %d deep",
				line(r.data, r.tokens.InputOffset()), maxDepth)
			return nil
		}
		if !r.contents(n, depth) {
			return nil
		}
	}
	return n
}

// contents reads what n holds and its closing bracket.
func (r *documentReader) contents(n *node, depth int) bool {
	seen := map[string]bool{}
	for index := 0; ; index++ {
		if k := r.tokens.PeekKind(); k == '}' || k == ']' {
			if _, err := r.tokens.ReadToken(); err != nil {
				r.syntax(err)
				return false
			}
			return true
		}
		c := child{name: strconv.Itoa(index)}
		if n.kind == '{' {
			before := r.tokens.InputOffset()
			name, err := r.tokens.ReadToken()
			switch {
			case err != nil && bareName.Match(r.data[before:]):
				r.problems.add(string(r.tokens.StackPointer()), "line %d: the name of a field must be in double quotes", line(r.data, syntaxOffset(err, r.tokens)))
				return false
			case err != nil:
				r.syntax(err)
				return false
			}
			c.name = name.String()
			if len(c.name) > maxFieldLen {
				r.problems.add(parentPointer(string(r.tokens.StackPointer())), "line %d: the name of a field has %d bytes; at most %d are allowed",
					line(r.data, r.tokens.InputOffset()), len(c.name), maxFieldLen)
				return false
			}
		}
		repeated := n.kind == '{' && seen[c.name]
		if repeated && !r.problems.full() {
			r.problems.add(string(r.tokens.StackPointer()), "field %q is given more than once, again in line %d",
				c.name, line(r.data, r.tokens.InputOffset()))
		}
		if c.node = r.value(depth + 1); c.node == nil {
			return false
		}
		if n.kind == '{' {
			seen[c.name] = true
		}
		if !repeated {
			n.children = append(n.children, c)
		}
	}
}

// Slips that deserve a better text than the decoder's.
var (
	bareName      = regexp.MustCompile(`^[\s,]*['A-Za-z_]`)
	trailingComma = regexp.MustCompile(`^,\s*[\]}]`)
	comment       = regexp.MustCompile(`^(//|/\*|#)`)
)

// syntax reports an error of the tokens.
func (r *documentReader) syntax(err error) {
	if errors.Is(err, io.EOF) {
		r.problems.add("", "the spec is empty")
		return
	}
	pointer, text := "", err.Error()
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		pointer, text = string(e.JSONPointer), e.Err.Error()
	}
	for len(pointer) > maxDepth*maxFieldLen {
		pointer = parentPointer(pointer)
	}
	offset := syntaxOffset(err, r.tokens)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		text = "the text ends in the middle of the spec"
	case trailingComma.Match(r.data[offset:]):
		text = "a comma before the closing bracket"
	case comment.Match(r.data[offset:]):
		text = "JSON has no comments"
	}
	r.problems.add(pointer, "line %d, column %d: %s", line(r.data, offset), column(r.data, offset), text)
}

// syntaxOffset is where in the text an error lies; at most at its end.
func syntaxOffset(err error, tokens *jsontext.Decoder) int64 {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return e.ByteOffset
	}
	return tokens.InputOffset()
}

// line is the number, from 1, of the line that holds offset.
func line(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:offset], []byte{'\n'})
}

// column is the number, from 1 and in bytes, of offset in its line.
func column(data []byte, offset int64) int {
	before := data[:offset]
	return len(before) - bytes.LastIndexByte(before, '\n')
}

// parentPointer is the pointer without its last element.
func parentPointer(pointer string) string {
	return pointer[:max(0, strings.LastIndexByte(pointer, '/'))]
}

// maxProblems bounds the answer to a document in which everything is wrong.
const maxProblems = 100

// problemList collects problems.
type problemList struct {
	list []Problem
	more int // problems that found no room
}

func (p *problemList) add(pointer, format string, args ...any) {
	if p.full() {
		p.more++
		return
	}
	p.list = append(p.list, Problem{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// full says whether the list is as long as it gets: what is costly to describe need not be described any more.
func (p *problemList) full() bool { return len(p.list) == maxProblems }

// below says whether there is a problem at pointer or inside its value.
func (p *problemList) below(pointer string) bool {
	for _, problem := range p.list {
		if rest, ok := strings.CutPrefix(problem.Pointer, pointer); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return p.more > 0
}

// all are the problems, with a last one for those that found no room.
func (p *problemList) all() []Problem {
	if p.more > 0 {
		return append(p.list, Problem{Detail: fmt.Sprintf("%d more problems are not listed", p.more)})
	}
	return p.list
}
