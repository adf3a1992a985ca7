// Package executor is the process that a Mesos agent starts: it holds the connection to the agent, runs each task in a
// process of its own, and reports.
//
// Its words are Mesos' own: task, update, acknowledgement; what the scheduler calls an attempt is one Mesos task here.
//
// [Main] is all of the program but its kinds. [Executor] is one executor's life: it subscribes with the agent, starts a
// task process for each LAUNCH (package process), sends status updates until each is acknowledged, gathers
// progress into one MESSAGE a second, uploads logs, and ends by itself some time after its last task.
//
// One goroutine, that of Run, owns all state. The others (one that reads the agent's events, one for each task, one for
// each call on its way) tell it what happened.
//
// What holds:
//
//   - every update is sent again until the agent acknowledges it, and a task's updates in their order;
//   - a task has exactly one terminal update, its last;
//   - a task that is told to hand over is told once, and ends at its next checkpoint or as it would have otherwise;
//   - a task process that gives no sign of life for half a minute is killed, and its attempt is lost, which charges nobody;
//   - a task process never outlives its executor, whatever ends that;
//   - without the agent the tasks go on as long as the framework's checkpointing and the agent's recovery timeout allow.
package executor
