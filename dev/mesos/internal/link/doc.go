// Package link is how agents and master of dev/mesos talk: JSON over HTTP, of our
// own making (a real Mesos uses its internal libprocess messages there).
//
// An agent POSTs its Registration to RegisterPath. The answer is a stream of JSON
// values, one Command each, the first of them Registered; the agent is connected
// as long as the stream lives. What the agent has to say it POSTs to ReportPath, one
// Report at a time and in order, with the stream's ID. 409 means that the
// stream is no longer the agent's: register again. 410 to a Registration means that
// this agent ID is not wanted any more.
//
// Messages of Mesos inside are protobuf bytes: they are stored and passed on as they
// are.
package link
