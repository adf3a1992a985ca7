package connections

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func writeFile(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "connections.json")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

func uri(t *testing.T, text string) storage.URI {
	t.Helper()
	u, err := storage.ParseURI(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestOpen(t *testing.T) {
	lake := t.TempDir()
	set, err := Load(writeFile(t, 0o600, fmt.Sprintf(`{"connections": {
		"s3":      {"type": "s3", "endpoint": "http://127.0.0.1:9000", "region": "us-east-1", "access_key": "a", "secret_key": "s3cr3t", "session_token": "", "path_style": true},
		"lake":    {"type": "file", "root": %q},
		"machine": {"type": "file", "root": "/"},
		"hadoop":  {"type": "hdfs", "name_nodes": ["nn1", "nn2:9000"], "nameservice": "prod", "user": "tidemill"}
	}}`, lake)))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if got, want := set.Names(), []string{"hadoop", "lake", "machine", "s3"}; !slices.Equal(got, want) {
		t.Errorf("got names %q, want %q", got, want)
	}
	for name, text := range map[string]string{"s3": "s3://flights/2013/", "hadoop": "hdfs://prod/flights/"} {
		if _, err := set.Open(t.Context(), name, uri(t, text)); err != nil {
			t.Error(err)
		}
	}

	// The key of a URI is its key in the store, whatever the root is.
	object := uri(t, "file://"+lake+"/flights/01.csv")
	for i, name := range []string{"lake", "machine"} {
		s, err := set.Open(t.Context(), name, object)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := storage.WriteAll(t.Context(), s, object.Key, []byte("x"), storage.Always); err != nil {
				t.Fatal(err)
			}
		}
		for obj, err := range s.List(t.Context(), uri(t, "file://"+lake+"/flights/").Key, "") {
			if err != nil || obj.Key != object.Key {
				t.Errorf("%s: got %+v, %v, want key %q", name, obj, err, object.Key)
			}
		}
		if got, _, err := storage.ReadAll(t.Context(), s, object.Key, 10); err != nil || string(got) != "x" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(lake, "flights/01.csv")); err != nil || string(got) != "x" {
		t.Errorf("got file %q, %v", got, err)
	}

	tests := []struct{ name, uri, want string }{
		{"s4", "s3://flights/x", `connection "s4" is unknown, known are hadoop, lake, machine, s3`},
		{"", "s3://flights/x", `connection "" is unknown`},
		{"s3", "file:///srv/lake/x", `connection "s3"`},
		{"lake", "s3://flights/x", `type file`},
		{"hadoop", "s3://flights/x", `type hdfs`},
		{"hadoop", "hdfs://test/x", `it reaches hdfs://prod, not hdfs://test`},
		{"lake", "file:///etc/passwd", lake},
		{"lake", "file://" + lake + "-other/x", lake},
	}
	for _, tt := range tests {
		_, err := set.Open(t.Context(), tt.name, uri(t, tt.uri))
		if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %q: got error %v, want ErrInvalid with %q", tt.uri, tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("shown: %v", err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		for _, v := range []any{set, *set, set.connections["s3"]} {
			if shown := fmt.Sprintf(verb, v); strings.Contains(shown, "s3cr3t") {
				t.Errorf("shown: %s", shown)
			}
		}
	}
}

func TestOpenBelow(t *testing.T) {
	set, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	root := t.TempDir()
	for _, text := range []string{"file://" + root, "file://" + root + "/"} {
		s, err := set.OpenBelow(t.Context(), "no such connection", uri(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := storage.WriteAll(t.Context(), s, "archive/x", []byte("x"), storage.Always); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(root, "archive/x")); err != nil || string(got) != "x" {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	if _, err := set.OpenBelow(t.Context(), "lake", uri(t, "s3://bucket/x")); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("unknown connection: got %v, want ErrInvalid", err)
	}
}

func TestDefaultChain(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": "",
		// Should the test ever get past the missing keys, it must not leave the machine.
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	for name, path := range map[string]string{
		"no path":  "",
		"no file":  filepath.Join(t.TempDir(), "none.json"),
		"no entry": writeFile(t, 0o600, `{"connections": {"lake": {"type": "file", "root": "/srv"}}}`),
		"empty":    writeFile(t, 0o400, `{}`),
		"no keys":  writeFile(t, 0o600, `{"connections": {"s3": {"type": "s3"}}}`),
	} {
		set, err := Load(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s, err := set.Open(t.Context(), DefaultName, uri(t, "s3://flights/x"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// The chain is used, and finds nothing here.
		if _, err := s.Stat(t.Context(), "x"); !errors.Is(err, storage.ErrDenied) || !strings.Contains(err.Error(), "find keys") {
			t.Errorf("%s: got error %v, want ErrDenied that says where keys are looked for", name, err)
		}
		set.Close()
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	set, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Open(t.Context(), DefaultName, uri(t, "s3://flights/x")); !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("no region: got error %v, want ErrInvalid that says where to set it", err)
	}
}

func TestLoadRefusesModes(t *testing.T) {
	const text = `{"connections": {}}`
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644, 0o610, 0o622, 0o777} {
		_, err := Load(writeFile(t, mode, text))
		if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf("%04o", mode)) || !strings.Contains(err.Error(), "0600") {
			t.Errorf("mode %o: got error %v, want ErrInvalid that names both modes", mode, err)
		}
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("got no error for a folder")
	}
	if _, err := Load(writeFile(t, 0o600, strings.Repeat(" ", maxFile)+text)); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("too large: got error %v, want ErrInvalid", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const secret = "hunter2-hunter2"
	tests := map[string]struct{ text, want string }{
		"no JSON":            {`connections: {}`, "line 1"},
		"cut short":          {"{\"connections\":\n{", "line 2"},
		"two values":         {`{"connections": {}} {}`, "not JSON"},
		"not an object":      {`[]`, "must be an object"},
		"null":               {`{"connections": {"s3": null}}`, `"type" is missing`},
		"unknown section":    {`{"conections": {}}`, `"conections" is unknown`},
		"list":               {`{"connections": []}`, `"connections" must be an object`},
		"name":               {`{"connections": {"S 3": {"type": "s3"}}}`, `connection "S 3": a name is`},
		"duplicate name":     {`{"connections": {"s3": {"type": "s3"}, "s3": {"type": "s3"}}}`, `"connections/s3" appears twice`},
		"duplicate field":    {`{"connections": {"s3": {"type": "s3", "secret_key": "` + secret + `", "secret_key": "` + secret + `"}}}`, `secret_key" appears twice`},
		"entry is a string":  {`{"connections": {"s3": "` + secret + `"}}`, `connection "s3": `},
		"no type":            {`{"connections": {"s3": {"endpoint": "http://x"}}}`, `connection "s3": invalid request: field "type" is missing, known types are file, hdfs, s3`},
		"unknown type":       {`{"connections": {"k": {"type": "kafka"}}}`, `connection "k": invalid request: type "kafka" is unknown, known are file, hdfs, s3`},
		"type of type":       {`{"connections": {"k": {"type": 3}}}`, `"type" must be a string`},
		"unknown field":      {`{"connections": {"s3": {"type": "s3", "secretkey": "` + secret + `"}}}`, `connection "s3": invalid request: field "secretkey" is unknown`},
		"field of another":   {`{"connections": {"s3": {"type": "s3", "root": "/srv"}}}`, `connection "s3": invalid request: field "root" is unknown`},
		"field's case":       {`{"connections": {"s3": {"type": "s3", "Region": "x"}}}`, `field "Region" is unknown`},
		"wrong type":         {`{"connections": {"s3": {"type": "s3", "path_style": "` + secret + `"}}}`, `connection "s3": invalid request: field "path_style" must be true or false`},
		"secret is a number": {`{"connections": {"s3": {"type": "s3", "access_key": "a", "secret_key": 1234567}}}`, `field "secret_key" must be`},
		"key is a number":    {`{"connections": {"s3": {"type": "s3", "access_key": 1234567}}}`, `field "access_key" must be a string`},
		"half a pair":        {`{"connections": {"s3": {"type": "s3", "secret_key": "` + secret + `"}}}`, `connection "s3": check keys`},
		"token alone":        {`{"connections": {"s3": {"type": "s3", "session_token": "` + secret + `"}}}`, `connection "s3": check keys`},
		"endpoint":           {`{"connections": {"s3": {"type": "s3", "endpoint": "user:` + secret + `@127.0.0.1:9000"}}}`, `connection "s3": check endpoint`},
		"endpoint password":  {`{"connections": {"s3": {"type": "s3", "endpoint": "http://user:` + secret + `@127.0.0.1"}}}`, `connection "s3": check endpoint`},
		"endpoint with path": {`{"connections": {"s3": {"type": "s3", "endpoint": "http://127.0.0.1/bucket"}}}`, `connection "s3": check endpoint`},
		"no root":            {`{"connections": {"lake": {"type": "file"}}}`, `connection "lake": invalid request: field "root"`},
		"relative root":      {`{"connections": {"lake": {"type": "file", "root": "srv"}}}`, `field "root" must be an absolute path`},
		"no name nodes":      {`{"connections": {"h": {"type": "hdfs"}}}`, `connection "h": invalid request: field "name_nodes": give the name nodes`},
		"name node's URI":    {`{"connections": {"h": {"type": "hdfs", "name_nodes": ["hdfs://nn1"]}}}`, `field "name_nodes"`},
		"nameservice's port": {`{"connections": {"h": {"type": "hdfs", "name_nodes": ["nn1"], "nameservice": "prod:8020"}}}`, `field "nameservice"`},
		"relative conf":      {`{"connections": {"h": {"type": "hdfs", "hadoop_conf": "conf"}}}`, `field "hadoop_conf": it must be an absolute path`},
		"principal":          {`{"connections": {"h": {"type": "hdfs", "name_nodes": ["nn1"], "kerberos": {"principal": "alice", "keytab_file": "/k"}}}}`, `field "kerberos/principal"`},
		"no principal":       {`{"connections": {"h": {"type": "hdfs", "name_nodes": ["nn1"], "kerberos": {}}}}`, `field "kerberos/principal"`},
		"relative keytab":    {`{"connections": {"h": {"type": "hdfs", "name_nodes": ["nn1"], "kerberos": {"principal": "a@B", "keytab_file": "k"}}}}`, `field "kerberos/keytab_file"`},
		"user and Kerberos":  {`{"connections": {"h": {"type": "hdfs", "name_nodes": ["nn1"], "user": "a", "kerberos": {"principal": "a@B", "keytab_file": "/k"}}}}`, `field "user"`},
		"protection":         {`{"connections": {"h": {"type": "hdfs", "name_nodes": ["nn1"], "protection": "integrity"}}}`, `field "protection": it is authentication or privacy`},
		"bad UTF-8":          {"{\"connections\": {\"s3\": {\"type\": \"s3\", \"region\": \"\xff\"}}}", "not JSON"},
	}
	for name, tt := range tests {
		_, err := parse([]byte(tt.text))
		if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want ErrInvalid with %q", name, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "1234567")) {
			t.Errorf("%s: shown: %v", name, err)
		}
	}
}

// A file is understood or refused; what is refused is not quoted, and what is
// understood opens.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"connections": {"s3": {"type": "s3", "endpoint": "http://127.0.0.1:9000", "access_key": "a", "secret_key": "hunter2"}}}`))
	f.Add([]byte(`{"connections": {"lake": {"type": "file", "root": "/srv/lake"}}}`))
	f.Add([]byte(`{"connections": {"s3": {"type": "s3", "secret_key": {"hunter2": 1}}}}`))
	f.Add([]byte(`{"connections": {"s3": {"type": "s3", "secret_key": "hunter2`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parse(data)
		if err != nil {
			if !errors.Is(err, storage.ErrInvalid) || len(err.Error()) > 1000+len(data)*6 {
				t.Errorf("got error %v, want a short ErrInvalid", err)
			}
			return
		}
		defer set.Close()
		for _, name := range slices.Collect(maps.Keys(set.connections)) {
			if !validName.MatchString(name) {
				t.Errorf("got name %q", name)
			}
		}
		if _, ok := set.connections[DefaultName]; !ok {
			t.Error("got no default connection")
		}
	})
}
