package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"

	"github.com/tidemill/tidemill/api/wire"
)

// Executors yields executor versions, newest first. An error ends the sequence.
func (c *Client) Executors(ctx context.Context) iter.Seq2[wire.Executor, error] {
	return list[wire.Executor](ctx, c, get("v1", "executors"))
}

// Executor reads an executor version and what runs on it.
func (c *Client) Executor(ctx context.Context, version string) (executor wire.Executor, err error) {
	_, err = c.do(ctx, get("v1", "executors", version), &executor)
	return executor, err
}

// DeleteExecutor removes an executor version that nothing uses.
func (c *Client) DeleteExecutor(ctx context.Context, version string) (executor wire.Executor, err error) {
	_, err = c.do(ctx, call{method: http.MethodDelete, path: []string{"v1", "executors", version}}, &executor)
	return executor, err
}

// Channels yields channels, by name. An error ends the sequence.
func (c *Client) Channels(ctx context.Context) iter.Seq2[wire.Channel, error] {
	return list[wire.Channel](ctx, c, get("v1", "channels"))
}

// Channel reads a channel with its newest rollout and what it pointed at.
func (c *Client) Channel(ctx context.Context, name string) (channel wire.Channel, err error) {
	_, err = c.do(ctx, get("v1", "channels", name), &channel)
	return channel, err
}

// SetChannel points a channel at a version, at once or by a rollout. What is so already stays so.
func (c *Client) SetChannel(ctx context.Context, name string, target wire.SetChannel) (channel wire.Channel, err error) {
	body, err := json.Marshal(target)
	if err != nil {
		return channel, fmt.Errorf("encode channel: %w", err)
	}
	_, err = c.do(ctx, call{method: http.MethodPut, path: []string{"v1", "channels", name}, body: body, repeat: true}, &channel)
	return channel, err
}

// DeleteChannel removes a channel that no job follows.
func (c *Client) DeleteChannel(ctx context.Context, name string) (channel wire.Channel, err error) {
	_, err = c.do(ctx, call{method: http.MethodDelete, path: []string{"v1", "channels", name}}, &channel)
	return channel, err
}

// Rollouts yields a channel's rollouts, newest first. An error ends the sequence.
func (c *Client) Rollouts(ctx context.Context, channel string) iter.Seq2[wire.Rollout, error] {
	return list[wire.Rollout](ctx, c, get("v1", "channels", channel, "rollouts"))
}

// SteerRollout does something to a channel's newest rollout: pause, resume, promote or abort. What is so already stays so.
// With its number given it is sure to be that one, also when the call is repeated because no answer came.
func (c *Client) SteerRollout(ctx context.Context, channel, action string, steer wire.SteerRollout) (rollout wire.Rollout, err error) {
	body, err := json.Marshal(steer)
	if err != nil {
		return rollout, fmt.Errorf("encode steering of a rollout: %w", err)
	}
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "channels", channel, "rollout", action}, body: body, repeat: true}, &rollout)
	return rollout, err
}
