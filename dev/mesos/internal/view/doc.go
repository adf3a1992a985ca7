// Package view is what the JSON views of master and agent have in common: how Mesos
// shows resources, attributes, tasks and executors under /state and its friends.
package view
