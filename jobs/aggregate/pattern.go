package aggregate

import "strings"

// Prefix is the beginning that the URIs of all objects of the input have in common: what to list.
func (in *Input) Prefix() string {
	if i := strings.IndexAny(in.URI, "*?"); i >= 0 {
		return in.URI[:i]
	}
	return in.URI
}

// Matches says whether the object at uri, in the form of jobs.NormalURI, belongs to the input: it lies below the
// prefix, is the object, or fits the pattern. Names that are hidden by custom (_… and .…) are the plan stage's affair.
func (in *Input) Matches(uri string) bool {
	switch {
	case strings.ContainsAny(in.URI, "*?"):
		return match(in.URI, uri)
	case strings.HasSuffix(in.URI, "/"):
		return strings.HasPrefix(uri, in.URI)
	default:
		return uri == in.URI
	}
}

// Reaches says whether an object below prefix, which ends in a slash, could belong to the input.
func (in *Input) Reaches(prefix string) bool {
	if !strings.ContainsAny(in.URI, "*?") {
		return strings.HasSuffix(in.URI, "/") && strings.HasPrefix(prefix, in.URI) || strings.HasPrefix(in.URI, prefix)
	}
	want, have := strings.Split(in.URI, "/"), strings.Split(strings.TrimSuffix(prefix, "/"), "/")
	if len(want) <= len(have) {
		return false
	}
	for i := range have {
		if !match(want[i], have[i]) {
			return false
		}
	}
	return true
}

// match says whether text fits pattern, in which * stands for any characters but a slash and ? for one.
// It takes time proportional to the product of the lengths at most.
func match(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	star, mark := -1, 0 // the last * seen, and where in t it is tried to end
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == t[j] || p[i] == '?' && t[j] != '/'):
			i, j = i+1, j+1
		case star >= 0 && t[mark] != '/':
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
