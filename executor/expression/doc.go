// Package expression decides whether a piece of SQL in a spec is one scalar expression that may run over user data: no
// subquery, no window or aggregate function, no second statement, nothing that reads files or settings, and nothing
// whose value differs from task to task, because results must be repeatable.
//
// The engine parses, and what it parsed is walked against a list of what is allowed; whatever is not on the list is
// refused. Columns and types are not known here: the plan stage binds expressions against the input's columns.
//
// Both the check stage and the plan stage call it. A text that passed stays one expression wherever it stands in
// parentheses, followed by a line break: see [Expression.SQL].
package expression
