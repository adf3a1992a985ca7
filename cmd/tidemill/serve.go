package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/cmd/internal/service"
	"github.com/tidemill/tidemill/scheduler/mesos"
)

// configVariable names the configuration file in the environment.
const configVariable = "TIDEMILL_CONFIG"

const serveHelp = `Run the scheduler service: API, dashboard and metrics, and the framework on Mesos.

It is configured by a file (--config, or TIDEMILL_CONFIG), then by environment variables, then by flags; later ones win.
The key mesos.master of the file is the variable TIDEMILL_MESOS_MASTER and the flag --mesos-master. The file with every
key and its default is cmd/tidemill/tidemill.yaml of the source.

Secrets never come as flags: the bearer token of an admin is in TIDEMILL_TOKEN or --token-file, the secret of the Mesos
principal in TIDEMILL_MESOS_SECRET or --mesos-secret-file. --tokens-file has hashed tokens with roles ("tidemill tokens
new" makes them). Without any the service listens on loopback only.

Several of them may share a store in ZooKeeper (--store): one leads, the others answer reads, pass writes on to it, and one
of them leads when it is gone. The password in --store or --mesos-master is better given by TIDEMILL_STORE,
TIDEMILL_MESOS_MASTER or the file: others can see flags.

SIGTERM and SIGINT stop it; a second one at once. What runs on Mesos goes on, and the next start takes it up: keep the
data directory, it holds the framework's ID.

Exit codes:
  0  stopped by a signal
  1  something failed that may pass
  2  the command line or the configuration is wrong
  3  something that does not pass by itself, and that an operator has to decide about: Mesos or ZooKeeper refuses the
     credentials, Mesos has removed the framework or will not change it as configured, the records cannot be used`

// exitFinal is for what another start would not mend.
const exitFinal = 3

const serveExample = `  tidemill serve --mesos-master http://master.example:5050
  tidemill serve --config /etc/tidemill/tidemill.yaml
  TIDEMILL_TOKEN=… tidemill serve --listen 0.0.0.0:8080 --url https://tidemill.example`

func newServeCommand() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:     "serve",
		Short:   "Run the scheduler service",
		Long:    serveHelp,
		Example: serveExample,
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				file = os.Getenv(configVariable)
			}
			cfg, err := readConfig(cmd.Flags(), file)
			if err != nil {
				return usageError(err)
			}
			err = withdrawn(service.Run(cmd.Context(), cfg))
			if final := (*service.FinalError)(nil); errors.As(err, &final) {
				return &exitError{code: exitFinal, err: err}
			}
			return err
		},
	}
	command.Flags().SortFlags = false
	command.Flags().StringVar(&file, "config", "", "configuration `file`, YAML; else TIDEMILL_CONFIG is used, if set")
	addFlags(command.Flags())
	return command
}

// withdrawn adds what to do when Mesos has removed the framework.
func withdrawn(err error) error {
	if errors.Is(err, mesos.ErrRemoved) {
		return fmt.Errorf("%w; \"tidemill framework show\" says what ran under it, \"tidemill framework forget\" gives it up", err)
	}
	return err
}
