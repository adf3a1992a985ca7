// Package house holds the repository to its own rules: which room may import which, that each package says what it is
// for, that files stay small, and what may lie at the top level. It has tests only.
package house
