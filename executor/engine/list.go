package engine

import (
	"fmt"
	"strings"
)

// List is a comma-separated list of SQL.
type List []string

// Add appends an item, formatted as by fmt.Sprintf.
func (l *List) Add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func (l List) String() string { return strings.Join(l, ", ") }

// Numbered is prefix0, prefix1, …: n names.
func Numbered(prefix string, n int) List {
	l := make(List, n)
	for i := range l {
		l[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return l
}
