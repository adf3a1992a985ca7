// Package process looks at and ends the process trees of containers. A container
// is a session that the agent began with setsid; what belongs to it is found in
// /proc: the members of the session, their descendants, and whatever left both but
// still carries the container's sandbox in its environment.
package process
