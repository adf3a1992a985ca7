package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/wire"
)

func TestTokenIsNeeded(t *testing.T) {
	s := serve(t, withToken)
	const good = "Bearer s3cret"
	for _, call := range []string{
		"GET /v1/info", "GET /v1/jobs", "POST /v1/jobs", "GET /v1/runs", "GET /metrics", "GET /openapi.json", "GET /v1/none", "PATCH /v1/jobs", "GET /none",
		"PUT /v1/executors/1.5.0/linux-amd64", "GET /v1/runs/none/events",
	} {
		method, path, _ := strings.Cut(call, " ")
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret"} {
			a := s.do(method, path, "", "Authorization", header)
			got := want[wire.Error](t, a, http.StatusUnauthorized)
			challenge := a.header.Get("WWW-Authenticate")
			if !strings.HasPrefix(challenge, "Bearer ") || strings.Contains(challenge, "invalid_token") != (header != "") {
				t.Errorf("%s with %q: challenge %q", call, header, challenge)
			}
			if strings.Contains(string(a.body), "s3cret") {
				t.Errorf("%s with %q: the answer has the token: %s", call, header, got.Detail)
			}
		}
		if a := s.do(method, path, "", "Authorization", good); a.status == http.StatusUnauthorized {
			t.Errorf("%s with the token: got %d", call, a.status)
		}
	}
	want[wire.Info](t, s.do("GET", "/v1/info", "", "Authorization", "bearer  s3cret "), 200)
	for _, path := range []string{"/healthz", "/readyz", "/", "/assets/main.js"} {
		if a := s.get(path); a.status != 200 {
			t.Errorf("%s without a token: got %d", path, a.status)
		}
	}
	// The path of an artefact is its own key.
	if a := s.get("/artifacts/" + strings.Repeat("0", 64) + "/tidemill-executor"); a.status != http.StatusNotFound {
		t.Errorf("artefact without a token: got %d", a.status)
	}
	if printed := fmt.Sprintf("%v %+v", s.logged, s.handler); strings.Contains(printed, "s3cret") {
		t.Error("the token can be printed")
	}
}

func TestOnlyLoopbackWithoutAToken(t *testing.T) {
	tests := map[string]int{
		"localhost": 200, "localhost:8080": 200, "LOCALHOST": 200, "127.0.0.1:8080": 200, "127.9.9.9": 200, "[::1]:8080": 200, "[::1]": 200,
		"example.com": 403, "localhost.example.com": 403, "10.0.0.1:80": 403, "127.0.0.1.example.com:8080": 403,
	}
	open, guarded := serve(t), serve(t, withToken)
	for host, status := range tests {
		if got := withHost(t, open, host, ""); got != status {
			t.Errorf("host %q without a token: got %d, want %d", host, got, status)
		}
		if got := withHost(t, guarded, host, "Bearer s3cret"); got != 200 {
			t.Errorf("host %q with a token: got %d", host, got)
		}
	}
}

func withHost(t *testing.T, s *service, host, authorization string) int {
	t.Helper()
	request, err := http.NewRequest("GET", s.server.URL+"/v1/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	request.Header.Set("Authorization", authorization)
	response, err := s.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// A page of another origin may not change anything, whatever it can make a browser send.
func TestOtherOriginsAreRefused(t *testing.T) {
	s := serve(t)
	for _, headers := range [][]string{
		{"Origin", "http://evil.example.com"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "null"},
	} {
		want[wire.Error](t, s.do("POST", "/v1/jobs", specOf("flights"), headers...), http.StatusForbidden)
		want[wire.Error](t, s.do("DELETE", "/v1/jobs/flights", "", headers...), http.StatusForbidden)
	}
	if len(s.scheduler.View().Jobs) > 0 {
		t.Error("a job was stored")
	}
	for _, headers := range [][]string{nil, {"Sec-Fetch-Site", "same-origin"}, {"Origin", s.server.URL}} {
		if a := s.do("POST", "/v1/jobs", specOf("flights"), headers...); a.status > 201 {
			t.Errorf("%v: got %d %s", headers, a.status, a.body)
		}
	}
}

func TestRequestsAreObserved(t *testing.T) {
	var seen []string
	s := serve(t, func(cfg *api.Config) {
		cfg.Observe = func(method, route string, status int, _ time.Duration) {
			seen = append(seen, fmt.Sprint(method, " ", route, " ", status))
		}
	})
	s.get("/v1/runs/none")
	s.get("/healthz")
	s.do("PATCH", "/v1/jobs", "")
	s.get("/none/of/these")
	s.do("HEAD", "/v1/jobs", "")
	wanted := []string{"GET GET /openapi.json 200", "GET GET /v1/runs/{id} 404", "GET GET /healthz 200", "PATCH  405", "GET  404", "HEAD GET /v1/jobs 200"}
	if fmt.Sprint(seen) != fmt.Sprint(wanted) {
		t.Errorf("got %q, want %q", seen, wanted)
	}
}

// Whatever is sent, the answer is JSON, is described, and is no fault of the service.
func FuzzRequests(f *testing.F) {
	s := serve(f)
	for _, body := range []string{specOf("flights"), `{}`, `[`, `{"name": 1}`, `{"params": {"a": "b"}}`, "\xff", strings.Repeat("[", 2000), `{"version": "1.4.0"}`} {
		for call := range fuzzedCalls {
			f.Add(call, body, "flights", "application/json")
		}
	}
	f.Add(0, "{}", "../../etc", "text/html; charset=utf-8")
	f.Fuzz(func(t *testing.T, call int, body, name, contentType string) {
		method, path, _ := strings.Cut(fuzzedCalls[abs(call)%len(fuzzedCalls)], " ")
		request := httptest.NewRequest(method, "http://localhost/", strings.NewReader(body))
		request.URL.Path = strings.ReplaceAll(path, "*", name)
		request.Header.Set("Content-Type", contentType)
		recorder := httptest.NewRecorder()
		s.handler.ServeHTTP(recorder, request)
		if recorder.Code >= 500 {
			t.Errorf("%s %q: got %d %s", method, request.URL, recorder.Code, recorder.Body)
		}
		if recorder.Code >= 400 {
			s.described.validate(t, request.URL.String(), "/components/schemas/Error", recorder.Body.Bytes())
		}
	})
}

var fuzzedCalls = []string{
	"POST /v1/jobs", "PUT /v1/jobs/*", "GET /v1/jobs/*", "POST /v1/jobs/*/runs", "GET /v1/runs/*", "POST /v1/runs/*/cancel",
	"GET /v1/tasks/*/logs", "PUT /v1/executors/1.5.0/*", "PUT /v1/channels/*", "DELETE /v1/executors/*", "GET /v1/*",
}

func abs(n int) int { return max(n, -(n + 1)) }
