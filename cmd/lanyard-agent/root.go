package main

import (
	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
)

// newRoot builds the tree of commands.
func newRoot() *cobra.Command {
	root := command.Parent(&cobra.Command{
		Use:   "lanyard-agent",
		Short: "The part of Lanyard that runs in a Kubernetes cluster",
		Long: `lanyard-agent is the part of Lanyard that runs in a Kubernetes cluster, a role
per subcommand. It works the same before Azure and before Lanyard.

Exit codes: 0 success, 1 failure, 2 a command line that was not understood.`,
		Example: `  # The workload identity webhook, outside the cluster
  AZURE_TENANT_ID=... lanyard-agent webhook --kubeconfig ~/.kube/config`,
	})
	root.AddCommand(newWebhook(), newProxy(), newProxyInit(), newTokenProxy(), command.NewVersion("lanyard-agent"))
	return root
}
