package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type listRolloutsInput struct {
	Name string `path:"name" maxLength:"200" doc:"The channel" example:"stable"`
	Page
}

type steerInput struct {
	Name   string `path:"name" maxLength:"200" doc:"The channel" example:"stable"`
	Action string `path:"action" enum:"pause,resume,promote,abort" doc:"What to do: pause keeps the share as it is; promote points the channel at the new version, now; abort starts no further runs on the new version. Runs that are under way finish on their version"`
	Body   *wire.SteerRollout
}

type rolloutOutput struct{ Body wire.Rollout }

func (h *Handler) rolloutRoutes(described huma.API) {
	const tag = "executors"
	huma.Register(described, operation("list-rollouts", http.MethodGet, "/v1/channels/{name}/rollouts", tag, "List a channel's latest rollouts, newest first", http.StatusNotFound), h.listRollouts)
	steer := operation("steer-rollout", http.MethodPost, "/v1/channels/{name}/rollout/{action}", tag, "Pause, resume, promote or abort a channel's newest rollout",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	steer.Description = "What is so already is no error and changes nothing. 409: it has ended otherwise, or is not the one that the body names."
	steer.DefaultStatus = http.StatusOK
	huma.Register(described, steer, h.steerRollout)
}

func (h *Handler) listRollouts(_ context.Context, in *listRolloutsInput) (*listOutput[wire.Rollout], error) {
	view := h.cfg.Scheduler.View()
	if _, err := channel(view, in.Name); err != nil {
		return nil, err
	}
	var all []*proto.Rollout
	newest := view.Rollouts[in.Name]
	if newest != nil {
		all = append(append(all, newest.Rollout), newest.Earlier...)
	}
	newestFirst := func(r *proto.Rollout) string { return fmt.Sprintf("%010d", math.MaxUint32-r.Number) }
	return page("rollouts", all, in.Page, newestFirst, func(r *proto.Rollout) wire.Rollout {
		out := showRollout(r)
		if r == newest.Rollout {
			out = showNewest(newest)
		}
		out.Events = showEvents(r)
		return out
	})
}

func (h *Handler) steerRollout(ctx context.Context, in *steerInput) (*rolloutOutput, error) {
	steer := scheduler.SteerRollout{Channel: in.Name, Action: scheduler.RolloutAction(in.Action), By: actor(ctx)}
	if in.Body != nil {
		steer.Number, steer.Reason = in.Body.Rollout, in.Body.Reason
	}
	// Terminals and CI logs take control characters, and what begins a line, for commands.
	if strings.ContainsFunc(steer.Reason, unicode.IsControl) {
		return nil, problem(http.StatusUnprocessableEntity, "the reason is not valid",
			wire.Problem{Pointer: "/reason", Detail: "it has a line feed or another control character; want one line of text"})
	}
	r, err := command[*proto.Rollout](ctx, h, steer)
	if err != nil {
		return nil, err
	}
	if newest := h.cfg.Scheduler.View().Rollouts[in.Name]; newest != nil && newest.Rollout.Number == r.Number {
		return &rolloutOutput{Body: showWholeRollout(newest)}, nil
	}
	return &rolloutOutput{Body: showWholeRollout(&scheduler.RolloutView{Rollout: r})}, nil
}
