package jobs

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// textFormat is a form of text that a field's tag "format" names.
type textFormat struct {
	pattern string // a regular expression that every text of this form matches, for the schema
	// check returns the text in its normal form, or what is wrong with it.
	check func(string) (normal, detail string)
}

// formats are all forms. "size" and "duration" are numbers in Go and read by ParseSize and ParseDuration.
var formats = map[string]textFormat{
	"name":               {namePattern, same(nameProblem)},
	"version":            {versionPattern, same(versionProblem)},
	"role":               {rolePattern, same(roleProblem)},
	"uri":                {uriPattern, NormalURI},
	"prefix":             {uriPattern, normalPrefix},
	"character":          {characterPattern, same(characterProblem)},
	"optional character": {characterPattern + "|^$", same(optionalCharacterProblem)},
	"sql":                {`\S`, same(sqlProblem)},
	"size":               {sizePattern, nil},
	"duration":           {durationPattern, nil},
}

const (
	namePattern      = `^[a-z0-9][a-z0-9._-]{0,62}$`
	versionPattern   = `^[A-Za-z0-9][A-Za-z0-9.+-]{0,62}$`
	characterPattern = `^[\x20-\x7e\t]$`
	sizePattern      = `^[0-9]+(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`
	durationPattern  = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
)

// same makes a check that leaves the text as it is.
func same(problem func(string) string) func(string) (string, string) {
	return func(s string) (string, string) { return s, problem(s) }
}

// CheckName returns an error if s cannot be the name of a job, channel or connection: 1 to 63 of a-z 0-9 - _ .,
// beginning with a letter or digit.
func CheckName(s string) error { return problemError(nameProblem(s)) }

// CheckVersion returns an error if s cannot be an executor version: 1 to 63 of A-Z a-z 0-9 . - +, beginning with a
// letter or digit.
func CheckVersion(s string) error { return problemError(versionProblem(s)) }

func problemError(detail string) error {
	if detail == "" {
		return nil
	}
	return errors.New(detail)
}

func nameProblem(s string) string {
	return wordProblem("name", s, "-_.", "a-z 0-9 - _ .", false)
}

func versionProblem(s string) string {
	return wordProblem("version", s, ".-+", "A-Z a-z 0-9 . - +", true)
}

// wordProblem says what is wrong with a short word of letters, digits and marks.
func wordProblem(what, s, marks, allowed string, capitals bool) string {
	const most = 63
	alphanumeric := func(r rune) bool {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || capitals && 'A' <= r && r <= 'Z'
	}
	if s == "" {
		return "the " + what + " is empty; it has 1 to 63 of " + allowed
	}
	for i, r := range s {
		switch {
		case i == 0 && !alphanumeric(r) && strings.ContainsRune(marks, r):
			return fmt.Sprintf("the %s begins with %q; it must begin with a letter or digit", what, r)
		case !alphanumeric(r) && !strings.ContainsRune(marks, r):
			return fmt.Sprintf("the %s has %q, which is not allowed; it has 1 to 63 of %s", what, r, allowed)
		}
	}
	if len(s) > most {
		return fmt.Sprintf("the %s has %d characters; at most %d are allowed", what, len(s), most)
	}
	return ""
}

func characterProblem(s string) string {
	if len(s) == 1 && (s == "\t" || ' ' <= s[0] && s[0] <= '~') {
		return ""
	}
	return "want one ASCII character, got " + excerpt(s)
}

func optionalCharacterProblem(s string) string {
	if s == "" || characterProblem(s) == "" {
		return ""
	}
	return "want one ASCII character, or an empty text for none, got " + excerpt(s)
}

func sqlProblem(s string) string {
	if strings.TrimSpace(s) == "" {
		return "the expression is empty"
	}
	return ""
}

// units of sizes, largest first within binary and decimal, as ParseSize reads them.
var units = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

var sizeShape = regexp.MustCompile(`^([0-9]+)(\.[0-9]+)?\s*([A-Za-z]*)$`)

// ParseSize reads a size such as "512MiB" or "10MB" as bytes. detail says what is wrong with it.
func ParseSize(s string) (bytes int64, detail string) {
	parts := sizeShape.FindStringSubmatch(s)
	if parts == nil {
		return 0, "want a size such as \"512MiB\" or \"10MB\", got " + excerpt(s)
	}
	number, fraction, unit := parts[1], parts[2], parts[3]
	if fraction != "" {
		return 0, "want a whole number before the unit, such as \"1536MiB\", got " + excerpt(s)
	}
	i := slices.IndexFunc(units, func(u struct {
		name string
		size int64
	}) bool {
		return u.name == unit
	})
	switch {
	case unit == "":
		return 0, "want a unit after the number, such as \"512MiB\", got " + excerpt(s)
	case i < 0:
		return 0, "unknown unit " + excerpt(unit) + "; units are B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"
	case s != number+unit:
		return 0, "write the size without spaces, such as \"512MiB\", got " + excerpt(s)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/units[i].size {
		return 0, "the size is too large"
	}
	return n * units[i].size, ""
}

// FormatSize is the shortest text that ParseSize reads as that many bytes.
func FormatSize(bytes int64) string {
	best := ""
	for _, u := range units {
		if bytes%u.size != 0 {
			continue
		}
		if text := strconv.FormatInt(bytes/u.size, 10) + u.name; best == "" || len(text) < len(best) {
			best = text
		}
	}
	return best
}

var durationShape = regexp.MustCompile(durationPattern)

// ParseDuration reads a duration such as "90s", "2h" or "1h30m". detail says what is wrong with it.
func ParseDuration(s string) (d time.Duration, detail string) {
	d, err := time.ParseDuration(s)
	switch {
	case durationShape.MatchString(s) && err != nil:
		return 0, "the duration is too long"
	case durationShape.MatchString(s):
		return d, ""
	case strings.HasPrefix(s, "-"):
		return 0, "want a duration of zero or more, got " + excerpt(s)
	case strings.HasSuffix(s, "d") || strings.HasSuffix(s, "w"):
		return 0, "want a duration such as \"90s\" or \"2h\", got " + excerpt(s) + "; the largest unit is the hour: a day is \"24h\""
	default:
		return 0, "want a duration such as \"90s\" or \"2h\", got " + excerpt(s) + "; units are ms, s, m, h"
	}
}

// FormatDuration is a text that ParseDuration reads as d: Go's own without units that are zero at the end.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
