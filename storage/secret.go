package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret holds a key, token or password so that printing, logging or encoding
// it, or a struct around it, never shows it. It holds a pointer because fmt
// cannot call methods of values in unexported fields: it then prints an
// address.
type Secret struct{ value *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{value: &s} }

// Reveal returns the secret itself, for the client that needs it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is nothing to hide.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String is redacted.
func (s Secret) String() string { return redacted }

// GoString is redacted.
func (s Secret) GoString() string { return redacted }

// Format is redacted for every verb, the wrong ones too.
func (s Secret) Format(f fmt.State, _ rune) {
	if _, err := io.WriteString(f, redacted); err != nil {
		return // fmt has no way to report it
	}
}

// LogValue is redacted.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is redacted.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is redacted.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// UnmarshalJSON takes a JSON string. Its error does not quote the input.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var value string
	if json.Unmarshal(data, &value) != nil {
		return errors.New("read secret: want a string")
	}
	*s = NewSecret(value)
	return nil
}
