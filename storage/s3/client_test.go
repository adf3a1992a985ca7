package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/tidemill/tidemill/storage"
)

func TestConfigValidate(t *testing.T) {
	secret := storage.NewSecret("hunter2")
	tests := []struct {
		name   string
		config Config
		want   string // in the error; empty: none
	}{
		{"AWS", Config{}, ""},
		{"endpoint", Config{Endpoint: "http://127.0.0.1:9000"}, ""},
		{"endpoint with slash", Config{Endpoint: "https://s3.example.com/"}, ""},
		{"all", Config{Endpoint: "https://s3.example.com", Region: "r", AccessKey: "a", SecretKey: secret, SessionToken: secret, PathStyle: true}, ""},
		{"no scheme", Config{Endpoint: "127.0.0.1:9000"}, "endpoint"},
		{"wrong scheme", Config{Endpoint: "s3://127.0.0.1"}, "endpoint"},
		{"no host", Config{Endpoint: "http://"}, "endpoint"},
		{"path", Config{Endpoint: "http://x/bucket"}, "endpoint"},
		{"query", Config{Endpoint: "http://x?a=b"}, "endpoint"},
		{"password", Config{Endpoint: "http://u:hunter2@x"}, "endpoint"},
		{"no secret", Config{AccessKey: "a"}, "both"},
		{"no access key", Config{SecretKey: secret}, "both"},
		{"token alone", Config{SessionToken: secret}, "token"},
	}
	for _, tt := range tests {
		err := tt.config.Validate()
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got error %v, want ErrInvalid with %q and no secret", tt.name, err, tt.want)
		}
		if _, err := NewClient(t.Context(), tt.config); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%s: new client: got error %v, want ErrInvalid", tt.name, err)
		}
	}
}

func TestCodesHaveKinds(t *testing.T) {
	tests := []struct {
		code   string
		status int
		want   error
	}{
		{"NoSuchKey", 404, storage.ErrNotFound},
		{"NotFound", 404, storage.ErrNotFound},
		{"NoSuchBucket", 404, storage.ErrNoBucket},
		{"PreconditionFailed", 412, storage.ErrCondition},
		{"AccessDenied", 403, storage.ErrDenied},
		{"AccessDenied", 0, storage.ErrDenied},
		{"SignatureDoesNotMatch", 403, storage.ErrDenied},
		{"InvalidAccessKeyId", 403, storage.ErrDenied},
		{"XAdminUserNotFound", 404, storage.ErrDenied},
		{"ExpiredToken", 400, storage.ErrDenied},
		{"SlowDown", 503, storage.ErrUnavailable},
		{"SlowDown", 0, storage.ErrUnavailable},
		{"InternalError", 500, storage.ErrUnavailable},
		{"InternalError", 0, storage.ErrUnavailable},
		{"RequestTimeout", 400, storage.ErrUnavailable},
		{"ConditionalRequestConflict", 409, storage.ErrUnavailable},
		{"TooManyRequests", 429, storage.ErrUnavailable},
		{"NoSuchUpload", 404, storage.ErrUnavailable},
		{"InvalidRange", 416, storage.ErrInvalid},
		{"InvalidArgument", 400, storage.ErrInvalid},
		{"PermanentRedirect", 301, storage.ErrInvalid},
		{"MalformedXML", 0, storage.ErrInvalid},
		{"Unheard", 418, storage.ErrInvalid},
		{"Unheard", 599, storage.ErrUnavailable},
	}
	for _, tt := range tests {
		if got := codeKind(tt.code, tt.status); got != tt.want {
			t.Errorf("%s %d: got %v, want %v", tt.code, tt.status, got, tt.want)
		}
	}
}

func TestFailureTexts(t *testing.T) {
	api := &smithy.GenericAPIError{Code: "SlowDown", Message: "Please reduce your request rate."}
	err := failure(t.Context(), "get", "s3://b/k", fmt.Errorf("operation error S3: GetObject, %w", api))
	if got, want := err.Error(), "get s3://b/k: storage unavailable: SlowDown: Please reduce your request rate."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, api) {
		t.Errorf("got %v, want one that is both its kind and its cause", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = failure(ctx, "get", "s3://b/k", api)
	if !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got %v, want context.Canceled alone", err)
	}
}

func TestMessagesNameTheURIAndNoKeys(t *testing.T) {
	wrong := serverConfig(server.URL())
	wrong.SecretKey = storage.NewSecret("hunter2")
	unknown := serverConfig(server.URL())
	unknown.AccessKey = "nobody-knows"
	bucket := newBucket(t)
	for name, config := range map[string]Config{"wrong secret": wrong, "unknown access key": unknown} {
		s := connect(t, config).Bucket(bucket)
		_, _, err := s.Get(t.Context(), "dir/k", storage.Range{})
		if !errors.Is(err, storage.ErrDenied) || !strings.Contains(err.Error(), "s3://"+bucket+"/dir/k") {
			t.Errorf("%s: got error %v, want ErrDenied with the URI", name, err)
			continue
		}
		withoutKeys(t, err.Error())
		for _, key := range []string{"hunter2", "nobody-knows"} {
			if strings.Contains(err.Error(), key) {
				t.Errorf("%s: shown: %v", name, err)
			}
		}
	}
}
