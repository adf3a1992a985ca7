package mesos

import "errors"

// Errors with which [Connection.Run] gives up. None of them passes by itself.
var (
	// ErrFailedOver: another instance has subscribed with this framework ID. Step down; do not fight it.
	ErrFailedOver = errors.New("another scheduler has taken over this framework")
	// ErrRemoved: Mesos has removed the framework, by a teardown or because failover_timeout passed. Its ID is dead for
	// good; an operator decides whether to give it up (scheduler.ForgetFramework). Nothing registers anew by itself.
	ErrRemoved = errors.New("mesos has removed this framework: its ID can never be used again")
	// ErrRefused: the master, or the ZooKeeper that is to name it, will not have this scheduler as it is configured
	// (credentials, role, principal). Correct the configuration.
	ErrRefused = errors.New("the master refuses the subscription")
	// ErrImmutable: the configuration changes what Mesos never changes for a framework that lives. Nothing was sent.
	// Correct the configuration, or tear the framework down.
	ErrImmutable = errors.New("this cannot be changed for a registered framework")
)

// Reasons for which one subscription ends and the next one begins.
var (
	errSilent     = errors.New("the master has been silent for too long")
	errNoAnswer   = errors.New("the master did not answer SUBSCRIBE in time")
	errCallLost   = errors.New("the answer to an ACCEPT was lost")
	errUpdateLost = errors.New("the answer to UPDATE_FRAMEWORK was lost")
	errEnded      = errors.New("the master closed the stream")
	errNotForCall = errors.New("the subscription has ended")
	errMayNotAct  = errors.New("this instance does not lead any more")
	errNewLeader  = errors.New("another master leads")
)
