package s3

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// recorder is an S3 that says yes to HEAD and remembers the last request.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	last http.Header
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		r.last = request.Header.Clone()
		r.mu.Unlock()
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", "0")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) header(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.Get(name)
}

// soon is an end of temporary keys.
func soon() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

func writeText(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve starts a server with one handler and gives its URL.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// metadata is the service of an instance with a role, which gives nothing without a session's token (IMDSv2).
func metadata(t *testing.T) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		const role = "/latest/meta-data/iam/security-credentials/"
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			fmt.Fprint(w, "the-session")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "the-session":
			http.Error(w, "no session", http.StatusUnauthorized)
		case strings.TrimSuffix(r.URL.Path, "/") == strings.TrimSuffix(role, "/"):
			fmt.Fprint(w, "worker")
		case r.URL.Path == role+"worker":
			answer := map[string]string{"Code": "Success", "AccessKeyId": "KEY-OF-INSTANCE", "SecretAccessKey": "s", "Token": "token-of-instance", "Expiration": soon()}
			_ = json.NewEncoder(w).Encode(answer) // the client may be gone
		default:
			http.NotFound(w, r)
		}
	})
}

// Every way to keys that the documentation names, against what answers there.
func TestWhereKeysComeFrom(t *testing.T) {
	container := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "the-task" {
			http.Error(w, "who are you", http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"AccessKeyId": "KEY-OF-TASK", "SecretAccessKey": "s", "Token": "token-of-task", "Expiration": soon()})
	})
	sts := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("WebIdentityToken") != "the-identity" || r.Form.Get("RoleArn") != "arn:aws:iam::1:role/worker" {
			http.Error(w, "wrong identity", http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
			`<AccessKeyId>KEY-OF-ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>token-of-role</SessionToken><Expiration>%s</Expiration>`+
			`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, soon())
	})
	file := writeText(t, "credentials", "[default]\naws_access_key_id = KEY-OF-FILE\naws_secret_access_key = s\n"+
		"[team]\naws_access_key_id = KEY-OF-TEAM\naws_secret_access_key = s\naws_session_token = token-of-team\n")
	tests := []struct {
		name        string
		config      Config
		environment map[string]string
		key, token  string
	}{
		{"connection", Config{AccessKey: "KEY-OF-CONNECTION", SecretKey: storage.NewSecret("s")}, map[string]string{"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}, "KEY-OF-CONNECTION", ""},
		{"environment", Config{}, map[string]string{"AWS_ACCESS_KEY_ID": "KEY-OF-ENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "token-of-env"}, "KEY-OF-ENV", "token-of-env"},
		{"file of the environment", Config{}, map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file}, "KEY-OF-FILE", ""},
		{"file of the connection", Config{CredentialsFile: file}, nil, "KEY-OF-FILE", ""},
		{"profile of the connection", Config{CredentialsFile: file, Profile: "team"}, nil, "KEY-OF-TEAM", "token-of-team"},
		{"instance's role", Config{}, map[string]string{"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata(t)}, "KEY-OF-INSTANCE", "token-of-instance"},
		{"container's role", Config{}, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": container, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "the-task"}, "KEY-OF-TASK", "token-of-task"},
		{"web identity", Config{}, map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::1:role/worker", "AWS_WEB_IDENTITY_TOKEN_FILE": writeText(t, "identity", "the-identity"),
			"AWS_ENDPOINT_URL_STS": sts, "AWS_REGION": "eu-west-1"}, "KEY-OF-ROLE", "token-of-role"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE"} {
				t.Setenv(name, "")
			}
			for name, value := range tt.environment {
				t.Setenv(name, value)
			}
			s3 := newRecorder(t)
			tt.config.Endpoint, tt.config.PathStyle = s3.URL, true
			if _, err := connect(t, tt.config).Bucket("bucket").Stat(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			if got := s3.header("Authorization"); !strings.Contains(got, "Credential="+tt.key+"/") {
				t.Errorf("got authorization %q, want one of %s", got, tt.key)
			}
			if got := s3.header("X-Amz-Security-Token"); got != tt.token {
				t.Errorf("got token %q, want %q", got, tt.token)
			}
		})
	}
}

func TestRequesterPays(t *testing.T) {
	for _, pays := range []bool{false, true} {
		s3 := newRecorder(t)
		s := connect(t, Config{Endpoint: s3.URL, AccessKey: "a", SecretKey: storage.NewSecret("s"), PathStyle: true, RequesterPays: pays}).Bucket("bucket")
		if _, err := s.Stat(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		got := s3.header("X-Amz-Request-Payer")
		signed := strings.Contains(s3.header("Authorization"), "x-amz-request-payer")
		if (got == "requester") != pays || signed != pays {
			t.Errorf("%t: got header %q, signed %t", pays, got, signed)
		}
	}
}
