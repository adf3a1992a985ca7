package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// Upload is an executor's file for one platform.
type Upload struct {
	Version  string                  // that the file says of itself
	Platform string                  // such as linux-amd64
	File     io.ReadSeeker           // read twice: for its SHA-256, then to send it
	Sign     func(sum string) []byte // gives the Ed25519 signature for a SHA-256 in hex; nil: none is sent
}

// Register uploads an executor's file. created is false if the same bytes were registered before. What broke off is not
// sent again: the caller may do so, for a repeat changes nothing.
func (c *Client) Register(ctx context.Context, upload Upload) (executor wire.Executor, created bool, err error) {
	sum := sha256.New()
	_, err = upload.File.Seek(0, io.SeekStart)
	size := int64(0)
	if err == nil {
		size, err = io.Copy(sum, upload.File)
	}
	if err == nil {
		_, err = upload.File.Seek(0, io.SeekStart)
	}
	if err != nil {
		return executor, false, fmt.Errorf("read executor: %w", err)
	}
	call := call{method: http.MethodPut, path: []string{"v1", "executors", upload.Version, upload.Platform}}
	request, err := c.request(ctx, call)
	if err != nil {
		return executor, false, err
	}
	request.Body = io.NopCloser(io.LimitReader(upload.File, size))
	request.ContentLength = size
	request.Header.Set("Content-Type", "application/octet-stream")
	text := hex.EncodeToString(sum.Sum(nil))
	request.Header.Set("X-Checksum-Sha256", text)
	request.Header.Set("Expect", "100-continue") // what is refused by its headers is not sent
	if upload.Sign != nil {
		request.Header.Set("X-Signature-Ed25519", base64.StdEncoding.EncodeToString(upload.Sign(text)))
	}
	response, err := c.http.Do(request)
	if err != nil {
		return executor, false, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	if response.StatusCode >= 300 {
		return executor, false, refusal(response)
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&executor)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return executor, false, fmt.Errorf("read answer: %w", err)
	}
	return executor, response.StatusCode == http.StatusCreated, nil
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
func (c *Client) SteerRollout(ctx context.Context, channel, action string, steer wire.SteerRollout) (rollout wire.Rollout, err error) {
	body, err := json.Marshal(steer)
	if err != nil {
		return rollout, fmt.Errorf("encode steering of a rollout: %w", err)
	}
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "channels", channel, "rollout", action}, body: body, repeat: true}, &rollout)
	return rollout, err
}
