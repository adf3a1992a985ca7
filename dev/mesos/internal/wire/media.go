package wire

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/gogo/protobuf/proto"
)

// Media is one of the two content types of the v1 API.
type Media string

// The content types that Mesos speaks.
const (
	JSON     Media = "application/json"
	Protobuf Media = "application/x-protobuf"
)

// maxBody bounds what a call may bring; Mesos' own limit for one message is the
// protobuf library's 64 MB.
const maxBody = 64 << 20

// Refusal is an answer other than success, in Mesos' own words.
type Refusal struct {
	Status  int
	Message string
	Header  http.Header
}

func (r *Refusal) Error() string { return r.Message }

// Refuse makes a Refusal.
func Refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Message: fmt.Sprintf(format, args...)}
}

// Write answers with the refusal as plain text, as Mesos does.
func (r *Refusal) Write(w http.ResponseWriter) {
	for key, values := range r.Header {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(r.Status)
	io.WriteString(w, r.Message) //nolint:errcheck // the peer may be gone; there is nobody to tell
}

// Marshal encodes a message in the given content type.
func Marshal(m proto.Message, media Media) ([]byte, error) {
	if media == Protobuf {
		return proto.Marshal(m)
	}
	return MarshalJSON(m), nil
}

// UnmarshalProtobuf decodes a message; whatever the generated code does with bad
// input, it comes back as an error.
func UnmarshalProtobuf(body []byte, m proto.Message) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("decode protobuf: %v", cause)
		}
	}()
	return proto.Unmarshal(body, m)
}

// ReadCall reads the body of a POST into m, judging method and content type as
// Mesos does. Its error is always a *Refusal, ready to be written.
func ReadCall(r *http.Request, m proto.Message) (Media, *Refusal) {
	if r.Method != http.MethodPost {
		refusal := Refuse(http.StatusMethodNotAllowed,
			"405 Method Not Allowed. Expecting one of { 'POST' }, but received '%s'.", r.Method)
		refusal.Header = http.Header{"Allow": {"POST"}}
		return "", refusal
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" {
		return "", Refuse(http.StatusBadRequest, "Expecting 'Content-Type' to be present")
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if media := Media(mediaType); err != nil || media != JSON && media != Protobuf {
		return "", Refuse(http.StatusUnsupportedMediaType,
			"Expecting 'Content-Type' of %s or %s", JSON, Protobuf)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return "", Refuse(http.StatusBadRequest, "Failed to read body: %v", err)
	}
	if Media(mediaType) == Protobuf {
		if err := UnmarshalProtobuf(body, m); err != nil {
			return "", Refuse(http.StatusBadRequest, "Failed to parse body into Call protobuf")
		}
		return Protobuf, nil
	}
	if err := UnmarshalJSON(body, m); err != nil {
		var syntax *SyntaxError
		if errors.As(err, &syntax) {
			return "", Refuse(http.StatusBadRequest, "Failed to parse body into JSON: %v", err)
		}
		return "", Refuse(http.StatusBadRequest, "Failed to convert JSON into Call protobuf: %v", err)
	}
	return JSON, nil
}

// Accepted picks the content type of an answer: JSON unless only protobuf is
// accepted, as Mesos prefers.
func Accepted(r *http.Request) (Media, *Refusal) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if accept == "" {
		return JSON, nil
	}
	protobuf := false
	for _, part := range strings.Split(accept, ",") {
		mediaType, _, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		switch mediaType {
		case "*/*", "application/*", string(JSON):
			return JSON, nil
		case string(Protobuf):
			protobuf = true
		}
	}
	if protobuf {
		return Protobuf, nil
	}
	return "", Refuse(http.StatusNotAcceptable, "Expecting 'Accept' to allow %s or %s", JSON, Protobuf)
}
