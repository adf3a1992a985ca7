package storage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/storage"
)

func TestSecretNeverShows(t *testing.T) {
	const value = "hunter2"
	type holder struct {
		Public storage.Secret
		hidden storage.Secret
		in     map[string]storage.Secret
		behind *storage.Secret
	}
	s := storage.NewSecret(value)
	h := holder{Public: s, hidden: s, in: map[string]storage.Secret{"k": s}, behind: &s}
	var shown []string
	for _, v := range []any{s, &s, h, &h, []storage.Secret{s}, struct{ error }{fmt.Errorf("%v", s)}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "%08.3f", "%w"} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, string(encoded))
	}
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(handler).Info("opened", "secret", s, "holder", h, "pointer", &h)
	}
	for _, text := range append(shown, logged.String()) {
		if strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) {
			t.Errorf("shown: %s", text)
		}
	}
	if got := s.Reveal(); got != value {
		t.Errorf("got %q, want %q", got, value)
	}
	if s.Empty() || !storage.NewSecret("").Empty() || !(storage.Secret{}).Empty() {
		t.Error("got Empty wrong")
	}
}

func TestSecretFromJSON(t *testing.T) {
	var s storage.Secret
	if err := json.Unmarshal([]byte(`"hunter2"`), &s); err != nil || s.Reveal() != "hunter2" {
		t.Errorf("got %q, %v", s.Reveal(), err)
	}
	for _, wrong := range []string{`4242`, `{"hunter2":1}`, `["hunter2"]`, `true`} {
		err := json.Unmarshal([]byte(wrong), &s)
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "4242") {
			t.Errorf("%s: got error %v, want one without the value", wrong, err)
		}
	}
}
