package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sort"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type channelPath struct {
	Name string `path:"name" maxLength:"200" doc:"The channel" example:"stable"`
}

type channelOutput struct{ Body wire.Channel }

type setChannelInput struct {
	Name string `path:"name" maxLength:"200" doc:"The channel" example:"stable"`
	Body wire.SetChannel
}

func (h *Handler) channelRoutes(described huma.API) {
	const tag = "executors"
	huma.Register(described, operation("list-channels", http.MethodGet, "/v1/channels", tag, "List channels with their newest rollouts, by name"), h.listChannels)
	huma.Register(described, operation("get-channel", http.MethodGet, "/v1/channels/{name}", tag, "Read a channel, its moves and its newest rollout", http.StatusNotFound), h.getChannel)
	set := operation("set-channel", http.MethodPut, "/v1/channels/{name}", tag, "Point a channel at an executor version, at once or by a rollout",
		http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	set.Description = "With a rollout, the channel still points at the old version; a growing share of the runs is started on the new one, until it is promoted or taken back. " +
		"A new channel is moved at once. A repeat changes nothing. 409: another rollout runs or is paused; jobs that follow the channel need what the version does not have (each is one of errors), " +
		"unless allow_incompatible is set; or the last rollout has taken this version back, unless again is set."
	set.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Examples: map[string]*huma.Example{
		"at once":  {Value: wire.SetChannel{Version: "1.5.0"}},
		"by steps": {Value: wire.SetChannel{Version: "1.5.0", Rollout: &wire.RolloutPlan{Steps: []int{10, 50, 100}, Interval: "30m", MinRuns: 20, MaxFailureRatio: 1.5, Jobs: []string{"flights-*"}}}},
	}}}}
	huma.Register(described, set, h.setChannel)
	huma.Register(described, operation("delete-channel", http.MethodDelete, "/v1/channels/{name}", tag, "Remove a channel that no job follows",
		http.StatusNotFound, http.StatusConflict), h.deleteChannel)
}

func (h *Handler) listChannels(_ context.Context, in *listInput) (*listOutput[wire.Channel], error) {
	view := h.cfg.Scheduler.View()
	all := slices.Collect(maps.Values(view.Channels))
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return page("channels", all, in.Page, func(c *proto.Channel) string { return c.Name },
		func(c *proto.Channel) wire.Channel { return showChannel(view, c) })
}

// channel finds a channel in a view.
func channel(view *scheduler.View, name string) (*proto.Channel, error) {
	c := view.Channels[name]
	if c == nil {
		return nil, missing("channel", name, maps.Keys(view.Channels))
	}
	return c, nil
}

func (h *Handler) getChannel(_ context.Context, in *channelPath) (*channelOutput, error) {
	view := h.cfg.Scheduler.View()
	c, err := channel(view, in.Name)
	if err != nil {
		return nil, err
	}
	return &channelOutput{Body: showWholeChannel(view, c)}, nil
}

func (h *Handler) setChannel(ctx context.Context, in *setChannelInput) (*channelOutput, error) {
	if err := jobs.CheckName(in.Name); err != nil {
		return nil, invalidParameter("name", err.Error())
	}
	set := scheduler.SetChannel{
		Name: in.Name, Version: in.Body.Version, AllowIncompatible: in.Body.AllowIncompatible, Again: in.Body.Again, By: actor(ctx),
	}
	if in.Body.Rollout != nil {
		plan, problems := readPlan(in.Body.Rollout)
		if len(problems) > 0 {
			return nil, problem(http.StatusUnprocessableEntity, "the rollout's plan is not valid", below("/rollout", problems)...)
		}
		set.Rollout = plan
	}
	c, err := command[*proto.Channel](ctx, h, set)
	if err != nil {
		return nil, err
	}
	view := h.cfg.Scheduler.View()
	if shown := view.Channels[in.Name]; shown != nil { // nobody has removed it since
		c = shown
	}
	return &channelOutput{Body: showWholeChannel(view, c)}, nil
}

// below moves problems' pointers below that one.
func below(pointer string, problems []wire.Problem) []wire.Problem {
	for i := range problems {
		problems[i].Pointer = pointer + problems[i].Pointer
	}
	return problems
}

func (h *Handler) deleteChannel(ctx context.Context, in *channelPath) (*channelOutput, error) {
	c, err := command[*proto.Channel](ctx, h, scheduler.DeleteChannel{Name: in.Name, By: actor(ctx)})
	if err != nil {
		return nil, err
	}
	return &channelOutput{Body: showWholeChannel(&scheduler.View{}, c)}, nil
}

// missing is the answer when nothing has that name.
func missing(what, name string, known func(yield func(string) bool)) error {
	detail := fmt.Sprintf("there is no %s %q", what, name)
	if meant := jobs.Suggest(name, slices.Sorted(known)); meant != "" {
		detail += fmt.Sprintf("; did you mean %q?", meant)
	}
	return problem(http.StatusNotFound, detail)
}
