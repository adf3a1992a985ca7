package service

import "context"

// Config is everything that the scheduler service is told.
type Config struct{}

// Defaults are the values that a configuration begins with.
func Defaults() Config { return Config{} }

// Run runs the service until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	<-ctx.Done()
	return nil
}
