package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
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

func (h *Handler) executorRoutes(described huma.API) {
	const tag = "executors"
	h.uploadRoute(described)
	huma.Register(described, operation("list-executors", http.MethodGet, "/v1/executors", tag, "List executor versions, newest first"), h.listExecutors)
	huma.Register(described, operation("get-executor", http.MethodGet, "/v1/executors/{version}", tag, "Read an executor version and what runs on it", http.StatusNotFound), h.getExecutor)
	huma.Register(described, operation("delete-executor", http.MethodDelete, "/v1/executors/{version}", tag, "Remove an executor version that nothing uses", http.StatusNotFound, http.StatusConflict), h.deleteExecutor)
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
