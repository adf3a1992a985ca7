package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

const (
	uploadPath  = "/v1/executors/{version}/{platform}"
	uploadRoute = "PUT " + uploadPath
)

// maxRunning is how many runs GET of one version names.
const maxRunning = 100

type versionPath struct {
	Version string `path:"version" maxLength:"200" doc:"The executor version" example:"1.4.0"`
}

type executorOutput struct {
	Status   int
	Location string `header:"Location" doc:"Of the version, when the file is new"`
	Body     wire.Executor
}

type uploadInput struct {
	Version  string `path:"version" maxLength:"200" doc:"The executor version" example:"1.4.0"`
	Platform string `path:"platform" maxLength:"200" doc:"Operating system and architecture" example:"linux-amd64"`
	Checksum string `header:"X-Checksum-Sha256" doc:"SHA-256 of the body, in hex"`

	body io.Reader // as it comes: huma would read all of it into memory
}

// Resolve keeps the body's stream. It finds nothing wrong.
func (in *uploadInput) Resolve(ctx huma.Context) []error {
	r, w := humago.Unwrap(ctx)
	in.body = &uploadBody{body: r.Body, control: http.NewResponseController(w)}
	return nil
}

func (h *Handler) executorRoutes(described huma.API) {
	const tag = "executors"
	upload := operation("put-executor", http.MethodPut, uploadPath, tag, "Register an executor version",
		http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
	upload.Description = "The body is the executor's file. 201 for a new one, 200 for the same bytes again, 409 for other bytes under that version and platform."
	upload.DefaultStatus = http.StatusCreated
	upload.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}}
	huma.Register(described, upload, h.upload)
	huma.Register(described, operation("list-executors", http.MethodGet, "/v1/executors", tag, "List executor versions, newest first"), h.listExecutors)
	huma.Register(described, operation("get-executor", http.MethodGet, "/v1/executors/{version}", tag, "Read an executor version and what runs on it", http.StatusNotFound), h.getExecutor)
	huma.Register(described, operation("delete-executor", http.MethodDelete, "/v1/executors/{version}", tag, "Remove an executor version that nothing uses", http.StatusNotFound, http.StatusConflict), h.deleteExecutor)
}

func (h *Handler) upload(ctx context.Context, in *uploadInput) (_ *executorOutput, err error) {
	defer func() {
		if err != nil {
			drain(in.body)
		}
	}()
	os, arch, sum, err := in.names()
	if err != nil {
		return nil, err
	}
	if version := h.cfg.Scheduler.View().Versions[in.Version]; version != nil {
		for _, a := range version.Version.Artifacts {
			if a.OS == os && a.Arch == arch && a.SHA256 != sum {
				return nil, problem(http.StatusConflict, fmt.Sprintf("executor version %s for %s has other bytes (SHA-256 %s); a version never changes", in.Version, in.Platform, a.SHA256))
			}
		}
	}
	artifact, err := h.cfg.Artifacts.Put(ctx, in.Version, os, arch, sum, in.body)
	if err != nil {
		return nil, h.refusal(ctx, err)
	}
	result, err := command[scheduler.RegisterVersionResult](ctx, h, scheduler.RegisterVersion{Artifact: artifact})
	if err != nil {
		// Without a clear refusal the version may still be registered, and needs its file.
		if answer := (*wire.Error)(nil); errors.As(err, &answer) && answer.Status < http.StatusInternalServerError {
			h.collect(ctx, sum)
		}
		return nil, err
	}
	out := &executorOutput{Status: http.StatusOK, Body: h.presentVersion(result.Version)}
	if result.Created {
		out.Status = http.StatusCreated
		out.Location = "/v1/executors/" + url.PathEscape(in.Version)
	}
	return out, nil
}

// names checks what the path and the headers say.
func (in *uploadInput) names() (os, arch, sum string, err error) {
	if err := jobs.CheckVersion(in.Version); err != nil {
		return "", "", "", invalidParameter("version", err.Error())
	}
	os, arch, _ = strings.Cut(in.Platform, "-")
	if !isPlatformName(os) || !isPlatformName(arch) {
		return "", "", "", invalidParameter("platform", fmt.Sprintf("want <os>-<arch> such as linux-amd64, got %q", in.Platform))
	}
	if in.Checksum == "" {
		return "", "", "", problem(http.StatusBadRequest, "a parameter is missing",
			wire.Problem{Parameter: "X-Checksum-Sha256", Detail: "the header is missing: send the SHA-256 of the body in hex"})
	}
	sum = strings.ToLower(in.Checksum)
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
		return "", "", "", invalidParameter("X-Checksum-Sha256", "want 64 hex digits")
	}
	return os, arch, sum, nil
}

// isPlatformName says whether s can be Go's name of an operating system or architecture.
func isPlatformName(s string) bool {
	return s != "" && len(s) <= 16 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// collect removes a file that no version has any more. A failure costs only space.
func (h *Handler) collect(ctx context.Context, sum string) {
	for _, version := range h.cfg.Scheduler.View().Versions {
		for _, a := range version.Version.Artifacts {
			if a.SHA256 == sum {
				return
			}
		}
	}
	if err := h.cfg.Artifacts.Delete(ctx, sum); err != nil {
		h.cfg.Logger.WarnContext(ctx, "remove artefact", "sha256", sum, "error", err)
	}
}

func (h *Handler) presentVersion(version *proto.ExecutorVersion) wire.Executor {
	if view := h.cfg.Scheduler.View().Versions[version.Version]; view != nil {
		return showVersion(view)
	}
	return showVersion(&scheduler.VersionView{Version: version})
}

func (h *Handler) listExecutors(_ context.Context, in *listInput) (*listOutput[wire.Executor], error) {
	view := h.cfg.Scheduler.View()
	all := make([]*scheduler.VersionView, 0, len(view.Versions))
	for _, version := range view.Versions {
		all = append(all, version)
	}
	key := func(v *scheduler.VersionView) string { return newestFirst(v.Version.Registered, v.Version.Version) }
	sort.Slice(all, func(i, j int) bool { return key(all[i]) < key(all[j]) })
	return page("executors", all, in.Page, key, showVersion)
}

func (h *Handler) getExecutor(_ context.Context, in *versionPath) (*executorOutput, error) {
	view := h.cfg.Scheduler.View()
	version := view.Versions[in.Version]
	if version == nil {
		return nil, missing("executor version", in.Version, maps.Keys(view.Versions))
	}
	var running []string
	for id, run := range view.Runs {
		if run.Run.ExecutorVersion == in.Version && !jobs.Terminal(run.Run.State) {
			running = append(running, id)
		}
	}
	slices.SortFunc(running, func(a, b string) int { return strings.Compare(runKey(view.Runs[a]), runKey(view.Runs[b])) })
	out := &executorOutput{Status: http.StatusOK, Body: showVersion(version)}
	out.Body.Running = running[:min(len(running), maxRunning)]
	return out, nil
}

func (h *Handler) deleteExecutor(ctx context.Context, in *versionPath) (*executorOutput, error) {
	version, err := command[*proto.ExecutorVersion](ctx, h, scheduler.DeleteVersion{Version: in.Version, By: actor(ctx)})
	if err != nil {
		return nil, err
	}
	for _, a := range version.Artifacts {
		h.collect(ctx, a.SHA256)
	}
	return &executorOutput{Status: http.StatusOK, Body: showVersion(&scheduler.VersionView{Version: version})}, nil
}
