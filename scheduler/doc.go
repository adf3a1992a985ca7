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
//     A call that fails is reported back as [CallFailed]. No call is sent twice by the caller: an ACCEPT that arrives
//     twice makes Mesos report tasks as dropped that run.
//  5. Tick comes at Actions.Wake at the latest, and at least every second.
//
// Its words, beyond those of package jobs:
//
//   - owner: what executors belong to: a run, or the checks of one executor version.
//   - plan: what a stage is stored as: the inputs of all its tasks. A task has a record, and exists in here, from its first
//     launch on.
//   - fresh: never launched.
//   - shape: tasks that need the same (one stage of one run). Offers are searched once for each shape, not for each task.
//   - live: an attempt counts, or would if it finished. One of a task does, or two while one of them is a second attempt.
//   - second attempt: it was launched beside one that lives, because that lags far behind its siblings. Both live, on
//     different agents; the first to finish counts.
//   - wish: a task that is to get a second attempt, and waits for an offer of another agent.
//   - superseded: it lived when another attempt ended its task: given up, killed, and charged to nobody.
//   - given up: it was replaced although Mesos has not said that it ended. It is killed when it speaks. If it has finished
//     before that, and its task has not, its result is the task's: what it wrote is named by attempt and as good as any.
//   - over: it has ended for good.
//   - settled: it is certain to write no more, for its executor said that it ended, or it never began. A run that fails
//     or is cancelled gets its final state at once if all of its attempts are settled. Otherwise one may still commit, so
//     the run stays running until its clean-up task has claimed the commit point, or has found the result there. A run is
//     settled when it has ended and its clean-up is over: then it may go to the archive, and is forgotten when it lies there.
//   - share: what waits for one role's offers. Each is suppressed and revived by itself.
//   - window: maintenance of an agent, announced or going on. Work that would still run then is moved: it is drained.
//   - handed over: an attempt has ended at a checkpoint because its run moves to another version. Its task goes on, and is held
//     until nothing of the run lives any more.
//   - stalled: a running attempt whose executor has said nothing for long. What the master answers to reconciliation is no
//     sign of life.
//
// Where to look: core.go (Step), event.go and action.go (in and out), run.go, plan.go and task.go (what runs), reference.go (whose results a run reads), life.go (what
// becomes of an attempt), classify.go (the table of failures), laggard.go and second.go (second attempts), place.go, again.go, demand.go and queue.go (offers), role.go
// and flow.go (suppress, revive), agent.go, maintenance.go and trouble.go (what is known of agents, and keeps work off
// them), framework.go, reconcile.go, check.go, clean.go, version.go, use.go, compatible.go and collect.go (executor
// versions), channel.go, rollouts.go, choose.go and tally.go (which version a run gets, and what its end says of that
// version; scheduler/rollout judges), move.go (runs that go on with another version), load.go, ahead.go and migrate.go (restart), forget.go and key.go (what remains of old
// runs), explain.go, trial.go, snapshot.go, stageview.go and figures.go (what readers see).
//
// Adapters (scheduler/mesos, scheduler/store, api) import this package's types, never the other way round.
package scheduler
