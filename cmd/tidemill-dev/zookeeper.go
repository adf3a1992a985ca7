package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/dev/zookeeper"
)

func newZooKeeperCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "zookeeper",
		Short: "Only a ZooKeeper server, which needs Java; prints `ready zk://host:port`",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if dir == "" {
				if dir, err = os.MkdirTemp("", "tidemill-zookeeper-"); err != nil {
					return fmt.Errorf("make data directory: %w", err)
				}
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			}
			server, err := zookeeper.Start(c.Context(), zookeeper.Config{Dir: dir, HeapMiB: 256, TickTime: 250 * time.Millisecond})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(c.OutOrStdout(), "ready zk://%s\n", server.Address()); err != nil {
				return errors.Join(err, server.Stop())
			}
			<-c.Context().Done()
			return server.Stop()
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "keeps what is stored for the next start")
	return c
}
