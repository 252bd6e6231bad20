package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// newRoot builds the tree of commands.
func newRoot() *cobra.Command {
	root := command.Parent(&cobra.Command{
		Use:   "lanyard",
		Short: "The identity system of Azure Kubernetes Service, run by yourself",
		Long: `Lanyard is the identity system of Azure Kubernetes Service as software that you
run yourself: managed identities, federated credentials, role assignments and
the resources that they open, for Azure's own unmodified SDKs.

Commands that use a running cloud read its environment file, which they find by
--env-file, else by the variable LANYARD_ENV_FILE, else as env.json in the data
directory (--data).

Exit codes: 0 success, 1 failure, 2 a command line that was not understood.`,
		Example: `  # A cloud on this machine, until Ctrl-C
  lanyard up

  # In another terminal: run a program against it
  eval "$(lanyard env)"
  go run ./my-program`,
	})
	root.AddGroup(
		&cobra.Group{ID: "cloud", Title: "Running a cloud:"},
		&cobra.Group{ID: "use", Title: "Using a cloud:"},
		&cobra.Group{ID: "kubernetes", Title: "With Kubernetes:"},
		&cobra.Group{ID: "manage", Title: "Managing a cloud:"},
	)
	root.AddCommand(newUp(), newServe(), newEnv(), newExec(), newToken(), newApp(), newClock(), command.NewVersion("lanyard"))
	root.AddCommand(newAttach(), newDetach(), newCluster(), newServiceAccount(), newPodIdentity(), newIssuer(), newJWKS())
	root.AddCommand(newTenant(), newSubscription(), newKeys(), newBackup(), newSealingKey())
	return root
}

// environmentFlags find a running cloud's environment file.
type environmentFlags struct{ envFile, data string }

func (f *environmentFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.envFile, "env-file", "", "environment file of the cloud (default $LANYARD_ENV_FILE, then env.json in --data)")
	cmd.Flags().StringVar(&f.data, "data", "", "data directory of the cloud (default "+defaultDataHelp+")")
}

// load reads the environment file, and gives its absolute path.
func (f *environmentFlags) load() (server.Environment, string, error) {
	path := f.envFile
	if path == "" {
		path = os.Getenv("LANYARD_ENV_FILE")
	}
	if path == "" || (f.data != "" && f.envFile == "") {
		dir, err := dataDir(f.data)
		if err != nil {
			return server.Environment{}, "", err
		}
		path = filepath.Join(dir, "env.json")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return server.Environment{}, "", err
	}
	env, err := server.LoadEnvironment(path)
	return env, path, err
}

const defaultDataHelp = "$XDG_DATA_HOME/lanyard, or ~/.local/share/lanyard"

// dataDir gives the data directory: the given one or the user's own.
func dataDir(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	if base := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "lanyard"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no home directory to keep data in: name a directory with --data: %w", err)
	}
	return filepath.Join(home, ".local", "share", "lanyard"), nil
}
