package main

import (
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/cmd/internal/service"
)

func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the scheduler service",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return service.Run(cmd.Context(), service.Defaults())
		},
	}
}
