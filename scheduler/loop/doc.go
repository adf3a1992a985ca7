// Package loop runs the decision core: one goroutine owns it, gives it events and commands with the time and a random
// number, and carries out what follows.
//
// It fulfils the duties that package scheduler lists. A turn takes everything that waits, steps the core through it in
// order, writes all changes in one commit (group commit), and only then sends the calls, draws the new view and
// gives the answers. When a commit fails nothing of the turn is sent and [Loop.Run] returns: the core is ahead of the
// store, and leadership is over. So it is when the [Term] ends, for which a Loop is made.
//
// Callers: cmd wires store, master and core together, runs Run, and hands the Loop to the API, which uses Do, View
// and Wait from any goroutine, and to the metrics, which read View.
package loop
