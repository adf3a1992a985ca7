// Package process runs one task in a process of its own: a crash of the engine, or too much memory, costs that task and
// nothing else. It has both ends. [Start] is the executor's: it starts the same file again, watches its memory, and says how
// it ended. [Serve] is the task process': it calls the task's kind and reports.
//
// Between the two are two pipes, with messages of proto/process.proto, each behind its length. Descriptor 3 of the
// task process brings the assignment, then orders, and stays open: when it closes, the executor is gone, and the task process ends itself.
// Descriptor 4 takes its reports, an empty one at the latest after [SilenceMost]: what sends none for long does not run. Standard output and error are the task's log files.
//
// A task process leads a process group of its own, which is killed as a whole. It obeys SIGTERM by ending the task's context.
// It dies with its executor in three ways, of which one is enough: by the parent-death signal, by the closed pipe, and
// by the container.
//
// Callers of Start must receive from Reports until it is closed and then call Wait.
package process
