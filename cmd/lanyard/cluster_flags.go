package main

import (
	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/command"
)

// clusterFlags find a Kubernetes cluster as kubectl does.
type clusterFlags struct{ kubeconfig, context string }

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "`FILE` that names the cluster (default $KUBECONFIG, then ~/.kube/config)")
	cmd.Flags().StringVar(&f.context, "context", "", "context of the kubeconfig (default its current one)")
}

// connect reads the kubeconfig.
func (f *clusterFlags) connect() (*attach.Cluster, error) {
	return attach.Connect(attach.ClusterOptions{
		Kubeconfig: f.kubeconfig, Context: f.context, UserAgent: "lanyard/" + command.Version(),
	})
}
