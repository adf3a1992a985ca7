package api

import (
	"context"
	"log/slog"

	"github.com/tidemill/tidemill/api/access"
)

type (
	actorKey   struct{}
	requestKey struct{}
)

// withActor remembers who sends a request.
func withActor(ctx context.Context, who *access.Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, who)
}

// actor is the name of who sends a request, for records and the audit log; empty if that is not known.
func actor(ctx context.Context) string {
	if who := sender(ctx); who != nil {
		return who.Name
	}
	return ""
}

// sender is who sends a request; nil if that is not known.
func sender(ctx context.Context) *access.Actor {
	who, _ := ctx.Value(actorKey{}).(*access.Actor)
	return who
}

// withRequest remembers a request's ID.
func withRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// requestID is the ID of the request that is being answered; empty if there is none.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// requestLog adds the request's ID to each line that is logged for one.
type requestLog struct{ slog.Handler }

func (l requestLog) Handle(ctx context.Context, line slog.Record) error {
	if id := requestID(ctx); id != "" {
		line.AddAttrs(slog.String("request", id))
	}
	return l.Handler.Handle(ctx, line)
}

func (l requestLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestLog{l.Handler.WithAttrs(attrs)}
}

func (l requestLog) WithGroup(name string) slog.Handler { return requestLog{l.Handler.WithGroup(name)} }
