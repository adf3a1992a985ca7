package jobs

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Suggest returns the known name that was probably meant by one that is not known, or "".
func Suggest(name string, known []string) string { return suggest(name, known) }

// suggest returns the known name that was probably meant, or "".
func suggest(name string, known []string) string {
	const longest = 64 // bounds the work; no known name is longer
	if len(name) > longest {
		return ""
	}
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	best, distance := "", 1+max(1, utf8.RuneCountInString(name)/3)
	for _, k := range known {
		if more := utf8.RuneCountInString(k) - utf8.RuneCountInString(name); more >= distance || -more >= distance {
			continue
		}
		if d := editDistance(plain(name), plain(k)); d < distance {
			best, distance = k, d
		}
	}
	if best != "" || len(name) < 3 {
		return best
	}
	for _, k := range known { // an abbreviation, such as mem
		if strings.HasPrefix(plain(k), plain(name)) {
			return k
		}
	}
	return ""
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that make a into b.
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := range s {
		row[0] = i + 1
		for j := range t {
			cost := 1
			if s[i] == t[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}

// quoteAll lists names for people.
func quoteAll(names []string) string { return joinQuoted(names, ", ") }

// orList joins alternatives for people.
func orList(names []string) string { return joinQuoted(names, " or ") }

func joinQuoted(names []string, separator string) string {
	quoted := make([]string, 0, len(names))
	for _, name := range names {
		quoted = append(quoted, strconv.Quote(name))
	}
	return strings.Join(quoted, separator)
}
