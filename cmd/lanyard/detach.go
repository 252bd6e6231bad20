package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
)

// detachFlags are what `lanyard detach` is told.
type detachFlags struct {
	attachmentFlags
	credentials, clusterOnly bool
}

// newDetach makes `lanyard detach`.
func newDetach() *cobra.Command {
	var f detachFlags
	cmd := &cobra.Command{
		Use:     "detach NAME",
		GroupID: "kubernetes",
		Short:   "Take the agent out of a cluster, and the cluster out of the cloud",
		Long: `Take the agent out of a Kubernetes cluster with everything that it and attach have
put there, the webhook's configuration first, so that no pod waits for a webhook
that is going; then delete the cluster's resource in the cloud, after which its
tokens are refused. What would be done is shown first, and asked for on a terminal.
Where one of the two is no more, --cloud-only or --cluster-only leaves it out.

Federated credentials that trust the cluster's issuer are listed, and stay unless
--delete-federated-credentials is said. Without the cluster they give nothing; and
no other cluster ever gets its issuer.`,
		Example: `  lanyard detach shop --resource-group clusters
  lanyard detach shop -g clusters --delete-federated-credentials --yes

  # The cluster is no more, or the cloud
  lanyard detach shop -g clusters --cloud-only
  lanyard detach shop -g clusters --cluster-only`,
		Args:              command.Arguments("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		PreRunE:           func(_ *cobra.Command, args []string) error { return f.check(args[0]) },
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.credentials, "delete-federated-credentials", false, "delete the federated credentials that trust the cluster, too")
	fl.BoolVar(&f.cloudOnly, "cloud-only", false, "leave the cluster alone: it is no more, or Helm has taken the agent out")
	fl.BoolVar(&f.clusterOnly, "cluster-only", false, "leave the cloud alone: it is no more")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait until everything is gone")
	return cmd
}

func (f *detachFlags) check(name string) error {
	if f.cloudOnly && f.clusterOnly {
		return command.Usagef("--cloud-only and --cluster-only exclude each other")
	}
	if f.clusterOnly && f.credentials {
		return command.Usagef("--cluster-only asks no cloud: leave --delete-federated-credentials out")
	}
	if f.cloudOnly && (f.cluster.kubeconfig != "" || f.cluster.context != "") {
		return command.Usagef("--cloud-only asks no cluster: leave --kubeconfig and --context out")
	}
	return f.attachmentFlags.check(name)
}

// detachRun is one run: what it found, and what it did.
type detachRun struct {
	*detachFlags
	cmd  *cobra.Command
	arm  *armClient      // nil with --cluster-only
	kube *attach.Cluster // nil with --cloud-only
	name string          // the cluster's, as it was given
	id   azure.ResourceID

	registered *connectedCluster // nil: it is not registered
	removal    *attach.Removal
	trusting   []trustingCredential
	trusted    bool // there is a trusted issuer that attach made

	done []string
}

// detachPlan is what a detach would do.
type detachPlan struct {
	ResourceID  string               `json:"resourceId,omitempty"`
	Context     string               `json:"context,omitempty"`
	Objects     []attach.Object      `json:"objects"`
	Kept        string               `json:"kept,omitempty"`
	Pods        int                  `json:"pods"`
	Cloud       []cloudChange        `json:"cloud"`
	Credentials []trustingCredential `json:"federatedCredentials"`
	// DeleteCredentials tells that the credentials go.
	DeleteCredentials bool `json:"deleteFederatedCredentials"`

	alone string // which side is not looked at, cluster or cloud
}

func (f *detachFlags) run(cmd *cobra.Command, name string) error {
	ctx, stop := context.WithTimeoutCause(cmd.Context(), f.timeout, fmt.Errorf("%s are over (--timeout)", f.timeout))
	defer stop()
	r := &detachRun{detachFlags: f, cmd: cmd, name: name, removal: &attach.Removal{}, trusting: []trustingCredential{}}
	if err := r.connect(ctx); err != nil {
		return err
	}
	if r.arm != nil {
		defer r.arm.close()
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	p := r.plan()
	if f.dryRun {
		if f.out.JSON() {
			return command.PrintJSON(cmd.OutOrStdout(), p)
		}
		return p.print(cmd.OutOrStdout())
	}
	if len(p.Objects)+len(p.Cloud) == 0 {
		return r.report(cmd.OutOrStdout(), p)
	}
	if err := p.print(cmd.ErrOrStderr()); err != nil {
		return err
	}
	if err := confirm(cmd, f.yes, "Detach it?"); err != nil {
		return err
	}
	doing, stop := context.WithTimeoutCause(cmd.Context(), f.timeout, fmt.Errorf("%s are over (--timeout)", f.timeout))
	defer stop()
	if err := r.do(doing); err != nil {
		return fmt.Errorf("%w\n%sRun the same command again to go on", err, doneSoFar(r.done))
	}
	return r.report(cmd.OutOrStdout(), p)
}

// doneSoFar says what was done before a failure.
func doneSoFar(steps []string) string {
	if len(steps) == 0 {
		return ""
	}
	return "Done so far: " + strings.Join(steps, "; ") + ". "
}

func (r *detachRun) plan() *detachPlan {
	p := &detachPlan{
		Objects: r.removal.Objects(), Kept: r.removal.Kept, Pods: r.removal.Pods,
		Cloud: []cloudChange{}, Credentials: r.trusting, DeleteCredentials: r.credentials,
	}
	switch {
	case r.cloudOnly:
		p.alone = "cluster"
	case r.clusterOnly:
		p.alone = "cloud"
	}
	if !r.id.IsRoot() {
		p.ResourceID = r.id.String()
	}
	if r.kube != nil {
		p.Context = r.kube.Name()
	}
	if r.credentials {
		for _, c := range r.trusting {
			p.Cloud = append(p.Cloud, cloudChange{"delete", c.Resource})
		}
	}
	if r.trusted {
		p.Cloud = append(p.Cloud, cloudChange{"delete", "/providers/Lanyard.Directory/trustedIssuers/" + trustedIssuerName(r.id)})
	}
	if r.registered != nil {
		p.Cloud = append(p.Cloud, cloudChange{"delete", r.id.String()})
	}
	return p
}

// print writes a plan for people.
func (p *detachPlan) print(w io.Writer) error {
	if p.alone == "cluster" {
		fmt.Fprintln(w, "The cluster is left alone.")
	} else {
		fmt.Fprintf(w, "In the cluster of the context %s:\n", dash(p.Context))
		listOf(w, p.Objects, func(o attach.Object) string { return "delete " + o.String() })
	}
	if p.Kept != "" {
		fmt.Fprintf(w, "  %s\n", p.Kept)
	}
	if p.Pods > 0 {
		fmt.Fprintf(w, "  %d pods were set up by the webhook: they get no tokens any more; where they trust the cloud by a ConfigMap, their containers do not start again\n", p.Pods)
	}
	if p.alone == "cloud" {
		fmt.Fprintln(w, "\nThe cloud is left alone.")
	} else {
		fmt.Fprintln(w, "\nIn the cloud:")
		listOf(w, p.Cloud, func(c cloudChange) string { return c.Action + " " + c.Resource })
	}
	p.printKept(w)
	_, err := fmt.Fprintln(w)
	return err
}

// listOf writes what each item says, or that there is none.
func listOf[T any](w io.Writer, items []T, say func(T) string) {
	for _, item := range items {
		fmt.Fprintf(w, "  %s\n", say(item))
	}
	if len(items) == 0 {
		fmt.Fprintln(w, "  nothing")
	}
}

// printKept names the federated credentials that stay: all of them or none.
func (p *detachPlan) printKept(w io.Writer) {
	if p.DeleteCredentials {
		return
	}
	for _, c := range p.Credentials {
		fmt.Fprintf(w, "  the federated credential of %s for %s stays: %s\n", c.Owner, dash(c.Subject), c.Resource)
	}
}

// do does what the plan says, the cluster first: the cloud can be asked again
// when the cluster is clean.
func (r *detachRun) do(ctx context.Context) error {
	did := func(step string) {
		r.done = append(r.done, step)
		fmt.Fprintln(r.cmd.ErrOrStderr(), step)
	}
	say := func(text string) { fmt.Fprintln(r.cmd.ErrOrStderr(), text) }
	if r.kube != nil && len(r.removal.Objects()) > 0 {
		err := r.kube.Remove(ctx, r.removal, func(o attach.Object) { say("deleted " + o.String()) }, say)
		if err != nil {
			return fmt.Errorf("taking the agent out: %w", err)
		}
		did("the agent is out of the cluster, and nothing is left there")
	}
	if r.credentials {
		for _, c := range r.trusting {
			if err := removeTrusting(ctx, r.arm, c); err != nil {
				return fmt.Errorf("deleting the federated credential %s: %w", c.Resource, err)
			}
			did("deleted the federated credential " + c.Resource)
		}
	}
	if r.trusted {
		if _, err := r.arm.remove(ctx, "/providers/Lanyard.Directory/trustedIssuers/"+trustedIssuerName(r.id)+cloudVersion); err != nil {
			return fmt.Errorf("deleting the trusted issuer: %w", err)
		}
		did("the issuer is trusted no more")
	}
	if r.registered == nil {
		return nil
	}
	if _, err := r.arm.remove(ctx, r.id.String()+clusterVersion); err != nil {
		return fmt.Errorf("deleting the cluster's resource: %w", err)
	}
	if again, err := r.arm.cluster(ctx, r.id); err != nil {
		return err
	} else if again != nil {
		return fmt.Errorf("%s is still there: somebody has made it anew", r.id)
	}
	did("deleted " + r.id.String())
	return nil
}

// report says what was done.
func (r *detachRun) report(w io.Writer, p *detachPlan) error {
	if r.out.JSON() {
		return command.PrintJSON(w, p)
	}
	if len(p.Objects)+len(p.Cloud) == 0 {
		_, err := fmt.Fprintf(w, "%s is not attached, and nothing is left of it.\n", path.Base(r.name))
		return err
	}
	if _, err := fmt.Fprintf(w, "%s is detached.\n", path.Base(r.name)); err != nil {
		return err
	}
	if r.clusterOnly {
		_, err := fmt.Fprintln(w, "A cloud that still has it accepts its tokens, until `lanyard detach --cloud-only` there.")
		return err
	}
	p.printKept(w)
	return nil
}
