// Package scheduler is the decision core of tidemill: events in, actions out.
//
// [Core] holds the state; [Core.Step] takes one [Event] and returns [Actions]. It has no goroutine, clock, socket, file
// or logger: time and random numbers come in with the input, everything to be done goes out as a value that prints well.
//
// The caller's duties (scheduler/loop fulfils them):
//
//  1. One goroutine calls Step and View; nothing else touches the Core.
//  2. Actions.Store is made durable before any of Actions.Calls is sent and before any of Actions.Replies is given.
//     The actions of several steps may be stored in one commit; their calls then go out in order.
//  3. If storing fails, nothing of those actions may be done and the Core must be thrown away: it is ahead of the store.
//  4. Calls to Mesos may get lost or fail; the Core repeats what matters by itself when time passes ([Tick]).
//     A call that fails with a 4xx is reported back as [CallFailed].
//  5. Tick comes at Actions.Wake at the latest, and at least every second.
//
// Adapters (scheduler/mesos, scheduler/store, api) import this package's types, never the other way round.
package scheduler
