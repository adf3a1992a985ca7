package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	api "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// Executors prove who they are with a JSON web token (RFC 7519) that the agent signs
// (HS256) and gives them in MESOS_EXECUTOR_AUTHENTICATION_TOKEN, as Mesos does with
// --authenticate_http_executors.

// executorClaims are what Mesos puts into an executor's token.
type executorClaims struct {
	Framework string `json:"fid"`
	Executor  string `json:"eid"`
	Container string `json:"cid"`
}

const tokenHeader = `{"alg":"HS256","typ":"JWT"}`

func (a *Agent) signature(signed string) []byte {
	mac := hmac.New(sha256.New, a.cfg.ExecutorKey)
	mac.Write([]byte(signed)) // it never fails
	return mac.Sum(nil)
}

func (e *executor) claims() executorClaims {
	return executorClaims{Framework: e.framework.id, Executor: e.id(), Container: e.container}
}

func (a *Agent) executorToken(e *executor) string {
	payload, err := json.Marshal(e.claims())
	if err != nil { // three strings have a JSON form
		panic(err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(tokenHeader)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(a.signature(signed))
}

// authenticateExecutor checks that the caller is the executor that it says.
func (a *Agent) authenticateExecutor(r *http.Request, call *api.Call) *wire.Refusal {
	if len(a.cfg.ExecutorKey) == 0 {
		return nil
	}
	claims, problem := a.readToken(r.Header.Get("Authorization"))
	if problem != "" {
		refusal := wire.Refuse(http.StatusUnauthorized, "%s", problem)
		refusal.Header = http.Header{"Www-Authenticate": {`Bearer realm="mesos-agent-executor"`}}
		return refusal
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.findExecutor(call.FrameworkID.Value, call.ExecutorID.Value)
	if e != nil && e.claims() != claims {
		return wire.Refuse(http.StatusForbidden, "403 Forbidden.")
	}
	return nil // a call for nobody is refused for that
}

func (a *Agent) readToken(authorization string) (claims executorClaims, problem string) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return claims, "Authorization header is missing or is no Bearer token"
	}
	at := strings.LastIndexByte(token, '.')
	if at < 0 {
		return claims, "Invalid JWT: Expected 3 components in token"
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil || !hmac.Equal(signature, a.signature(token[:at])) {
		return claims, "Invalid JWT: Token signature does not match"
	}
	_, encoded, _ := strings.Cut(token[:at], ".")
	payload, err := base64.RawURLEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		return claims, "Invalid JWT: Failed to parse payload"
	}
	return claims, ""
}
