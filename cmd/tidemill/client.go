package main

import "github.com/spf13/cobra"

// newClientCommands are the verbs that talk to a running service.
func newClientCommands() []*cobra.Command { return nil }
