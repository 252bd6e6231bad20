package main

import (
	"time"

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

// arguments are the flags as they were given, for another command: kubectl's are
// called the same.
func (f *clusterFlags) arguments() []string {
	var all []string
	if f.kubeconfig != "" {
		all = append(all, "--kubeconfig", f.kubeconfig)
	}
	if f.context != "" {
		all = append(all, "--context", f.context)
	}
	return all
}

// connect reads the kubeconfig.
func (f *clusterFlags) connect() (*attach.Cluster, error) {
	return attach.Connect(attach.ClusterOptions{
		Kubeconfig: f.kubeconfig, Context: f.context, UserAgent: "lanyard/" + command.Version(),
	})
}

// attachmentFlags are what attach and detach have in common: a cloud, a cluster,
// the one's place in the other, and how it is done. cloudOnly and timeout are
// flags too, of which each says what they mean to it.
type attachmentFlags struct {
	where   environmentFlags
	cluster clusterFlags
	place   clusterPlace
	out     command.Output

	cloudOnly, dryRun, yes bool
	timeout                time.Duration
}

func (f *attachmentFlags) add(cmd *cobra.Command) {
	f.where.add(cmd)
	f.cluster.add(cmd)
	f.place.add(cmd)
	f.out.Add(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do it without asking")
}

// check is for the command line alone.
func (f *attachmentFlags) check(name string) error {
	if f.timeout <= 0 {
		return command.Usagef("--timeout is not positive")
	}
	return f.place.check(name)
}
