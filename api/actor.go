package api

import "context"

type actorKey struct{}

// withActor remembers who sends a request.
func withActor(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, actorKey{}, name)
}

// actor is the name of who sends a request, for records and the audit log; empty if that is not known.
func actor(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}
