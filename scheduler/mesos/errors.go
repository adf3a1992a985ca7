package mesos

import "errors"

// Errors with which [Connection.Run] gives up. The process must end: none of them passes by itself.
var (
	// ErrFailedOver: another instance has subscribed with this framework ID. Step down; do not fight it.
	ErrFailedOver = errors.New("another scheduler has taken over this framework")
	// ErrRemoved: Mesos has removed the framework, by a teardown or because failover_timeout passed. Its ID is dead for
	// good and its tasks are gone; an operator decides whether to begin again with an empty store.
	ErrRemoved = errors.New("mesos has removed this framework: its ID can never be used again")
	// ErrRefused: the master will not have this scheduler as it is configured (credentials, role, user, principal).
	ErrRefused = errors.New("the master refuses the subscription")
)

// Reasons for which one subscription ends and the next one begins.
var (
	errSilent     = errors.New("the master has been silent for too long")
	errCallLost   = errors.New("the answer to an ACCEPT was lost")
	errEnded      = errors.New("the master closed the stream")
	errNotForCall = errors.New("the subscription has ended")
)
