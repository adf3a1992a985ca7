package api

import (
	"context"
	"net/http"
	"sort"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type channelOutput struct{ Body wire.Channel }

type setChannelInput struct {
	Name string `path:"name" maxLength:"200" doc:"The channel" example:"stable"`
	Body wire.SetChannel
}

func (h *Handler) channelRoutes(described huma.API) {
	const tag = "executors"
	huma.Register(described, operation("list-channels", http.MethodGet, "/v1/channels", tag, "List channels, by name"), h.listChannels)
	huma.Register(described, operation("set-channel", http.MethodPut, "/v1/channels/{name}", tag, "Point a channel at an executor version, at once",
		http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity), h.setChannel)
}

func (h *Handler) listChannels(_ context.Context, in *listInput) (*listOutput[wire.Channel], error) {
	view := h.cfg.Scheduler.View()
	all := make([]*proto.Channel, 0, len(view.Channels))
	for _, channel := range view.Channels {
		all = append(all, channel)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return page("channels", all, in.Page, func(c *proto.Channel) string { return c.Name }, showChannel)
}

func (h *Handler) setChannel(ctx context.Context, in *setChannelInput) (*channelOutput, error) {
	if err := jobs.CheckName(in.Name); err != nil {
		return nil, invalidParameter("name", err.Error())
	}
	channel, err := command[*proto.Channel](ctx, h, scheduler.SetChannel{Name: in.Name, Version: in.Body.Version})
	if err != nil {
		return nil, err
	}
	return &channelOutput{Body: showChannel(channel)}, nil
}
