// Package agent is the agent of dev/mesos: it registers with a master, fetches the
// URIs of executors, makes their sandboxes, starts them as processes in sessions of
// their own, speaks the v1 executor API with them, and delivers their updates until
// they are acknowledged.
//
// Its words are those of Mesos: a sandbox is the directory that a container runs
// in; a container is one run of an executor; a task is queued until the executor has
// subscribed and launched afterwards; an update is pending until the scheduler has
// acknowledged it. A command task runs without an executor of the scheduler's: the
// agent makes one up.
//
// The caller makes an agent with New and lets Run serve it until the context ends.
// An agent keeps what it needs in its work directory: one that is started again on
// the same directory (after a kill -9, or with KeepExecutors set) takes its ID, its
// port, its living executors and its pending updates up again. Only one agent may
// use a work directory at a time. Sandboxes of ended executors, whichever agent's, are
// kept for a while and in a bounded number (GCDelay, MaxEndedSandboxes).
package agent
