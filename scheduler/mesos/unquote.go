package mesos

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

var errNotString = errors.New("data is not a JSON string")

// unquote returns the bytes of a JSON string. Agents put a file's bytes into one as they are, valid UTF-8 or not, also
// when a page ends within a character. encoding/json would replace such bytes, and the next offset would be wrong.
func unquote(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return nil, errNotString
	}
	raw = raw[1 : len(raw)-1]
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		if i+1 >= len(raw) {
			return nil, errNotString
		}
		switch c := raw[i+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case '"', '\\', '/':
			out = append(out, c)
		case 'u':
			r, size, err := escaped(raw[i:])
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
			i += size
			continue
		default:
			return nil, errNotString
		}
		i += 2
	}
	return out, nil
}

// escaped decodes the \uXXXX at the beginning of raw, with its second half if it is one of a pair.
func escaped(raw []byte) (r rune, size int, err error) {
	unit := func(b []byte) (rune, error) {
		if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
			return 0, errNotString
		}
		n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
		return rune(n), err
	}
	if r, err = unit(raw); err != nil {
		return 0, 0, errNotString
	}
	if utf16.IsSurrogate(r) {
		if low, err := unit(raw[6:]); err == nil {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12, nil
			}
		}
	}
	return r, 6, nil
}
