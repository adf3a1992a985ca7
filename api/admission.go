package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// duty is what the middleware has to see to for an operation.
type duty struct {
	id      string // of the operation; empty: it is not described
	role    access.Role
	audited bool // it changes something, or gives everything away
	limited bool // it is a submission
}

// roleExtension names the role in the description of an operation.
const roleExtension = "x-tidemill-role"

// roleOf is the role that an operation needs. It goes by what the operation is about, so that none is without.
func roleOf(id, method, tag string) access.Role {
	switch {
	case id == "healthz" || id == "readyz":
		return access.Anybody
	case id == exportOperation:
		return access.Admin
	case method == http.MethodGet:
		return access.Viewer
	case tag == "jobs" || tag == "runs":
		return access.Submitter
	case tag == "executors":
		return access.Deployer
	}
	return access.Admin
}

// dutyOf reads an operation's duty from its description.
func dutyOf(op *huma.Operation) duty {
	role := access.Role(fmt.Sprint(op.Extensions[roleExtension]))
	limited := op.OperationID == "post-job" || op.OperationID == "put-job" || op.OperationID == "start-run"
	return duty{id: op.OperationID, role: role, audited: op.Method != http.MethodGet || role == access.Admin, limited: limited}
}

// dutyAt is that of a route. What is not described is read by viewers, or by anybody: artefacts, whose path is their
// capability, and the page's own files, which hold no data.
func (h *Handler) dutyAt(route string) duty {
	if d, described := h.duties[route]; described {
		return d
	}
	if route == artifactRoute || route == "GET /{$}" || strings.HasPrefix(route, "GET /assets/") {
		return duty{role: access.Anybody}
	}
	return duty{role: access.Viewer}
}

// admit says who sends a request, and refuses those that must not be answered. The actor may be known beside an error.
func (h *Handler) admit(r *http.Request, d duty) (*access.Actor, error) {
	if err := h.crossOrigin.Check(r); err != nil {
		return nil, problem(http.StatusForbidden, "a page of another origin may not change anything here")
	}
	if d.role == access.Anybody {
		return nil, nil
	}
	// Without a token only loopback is served; a name that merely resolves to it is a page that rebinds its name.
	if !h.cfg.Access.Needed() && !loopbackName(r.Host) {
		return nil, problem(http.StatusForbidden, fmt.Sprintf("without a token only requests to a loopback address are answered, not to %q", r.Host))
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	who, err := h.cfg.Access.Identify(strings.TrimSpace(token))
	if err != nil {
		return nil, unauthorized(scheme != "", err)
	}
	if !who.Has(d.role) {
		return who, problem(http.StatusForbidden, fmt.Sprintf("this needs the role %s; the token %q has %s", d.role, who.Name, joined(who.Roles)))
	}
	return who, nil
}

func joined(roles []access.Role) string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return strings.Join(names, " and ")
}

// unauthorized tells somebody who sent no token to send one, and others what is wrong with theirs.
func unauthorized(sent bool, err error) error {
	challenge, detail := `Bearer realm="tidemill"`, "a bearer token is needed: send Authorization: Bearer …"
	if sent {
		challenge, detail = challenge+`, error="invalid_token"`, access.ErrUnknown.Error()
	}
	if errors.As(err, new(*access.ExpiredError)) {
		challenge, detail = challenge+`, error_description="expired"`, err.Error()
	}
	return huma.ErrorWithHeaders(problem(http.StatusUnauthorized, detail), http.Header{"Www-Authenticate": {challenge}})
}

// loopbackName says whether a Host header names this machine's loopback.
func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// permitSpec refuses a submission to an actor who may not submit that job in that Mesos role, or may not change the job
// that there is.
func (h *Handler) permitSpec(ctx context.Context, spec *jobs.Spec) error {
	if err := h.permit(ctx, spec.Name, spec.Role); err != nil {
		return err
	}
	return h.permitJob(ctx, spec.Name)
}

// permitJob refuses to do anything to a job that is none of the actor's. To one that is not there nothing can be done.
func (h *Handler) permitJob(ctx context.Context, name string) error {
	job := h.cfg.Scheduler.View().Jobs[name]
	if job == nil || len(job.Revisions) == 0 || !limited(ctx) {
		return nil
	}
	return h.permit(ctx, name, mesosRole(job.Revisions[len(job.Revisions)-1]))
}

// permitRun refuses to do anything to a run of a job that is none of the actor's. One that is not known here has ended.
func (h *Handler) permitRun(ctx context.Context, id string) error {
	run := h.cfg.Scheduler.View().Runs[id]
	if run == nil || !limited(ctx) {
		return nil
	}
	return h.permit(ctx, run.Run.Job, mesosRole(run.Revision))
}

// limited says whether the sender may do something to some jobs only.
func limited(ctx context.Context) bool {
	who := sender(ctx)
	return who != nil && len(who.Jobs)+len(who.MesosRoles) > 0
}

// permit asks whether the sender may do something to a job in that Mesos role; empty: the first one that is configured.
func (h *Handler) permit(ctx context.Context, job, role string) error {
	if !limited(ctx) {
		return nil
	}
	if role == "" {
		role = h.cfg.MesosRole
	}
	if err := sender(ctx).Permit(job, role); err != nil {
		return problem(http.StatusForbidden, err.Error())
	}
	return nil
}

// mesosRole is what a stored spec says of its role. It was good when it was stored.
func mesosRole(revision *proto.Revision) string {
	var spec struct {
		Role string `json:"role"`
	}
	if err := jsonv2.Unmarshal(revision.GetSpec(), &spec); err != nil {
		return ""
	}
	return spec.Role
}
