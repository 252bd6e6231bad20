package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/command"
)

// attachFlags are what `lanyard attach` is told.
type attachFlags struct {
	attachmentFlags

	location, namespace                       string
	selfHosted, trust, replace, reset, render bool
	values, settings, hosts, authority        []string
	address, image                            string
}

// newAttach makes `lanyard attach`.
func newAttach() *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:     "attach NAME",
		GroupID: "kubernetes",
		Short:   "Attach a Kubernetes cluster: register its issuer and install the agent",
		Long: `Attach a Kubernetes cluster to the cloud. It becomes a resource of the type
Microsoft.Kubernetes/connectedClusters with the name NAME, whose tokens federated
credentials trust; and it gets the agent, whose webhook makes pods workloads of
Azure. What would be done is shown first, and asked for on a terminal.

Running it again brings everything to what is due: a newer agent, other values,
new keys of the API server. What a run that failed has left undone, the next one
does. Values that were given before stay unless they are given otherwise.

The API server signs tokens as its --service-account-issuer says. That is the
issuer which the cloud assigns to the cluster, and attach says which flag is
missing; or the cluster's own:
  --self-hosted-issuer  it publishes its documents where the cloud can read them
  --trust-issuer        the cloud cannot: its keys are uploaded, which takes an
                        Owner at the root of the cloud's first tenant; run attach
                        again when they change

Pods reach the cloud at --address, by host aliases, or by the cluster's DNS with
"--address dns". They ask login-us.microsoftonline.com, an old name of Azure's
which the cloud answers for them; --authority chooses another way. Vaults' names
are your DNS's to know, by the domain of the cloud; or --host leads pods to one.`,
		Example: `  lanyard attach shop --resource-group clusters --address 10.0.0.5

  # What would be done, as JSON, and the objects themselves
  lanyard attach shop -g clusters --address 10.0.0.5 --dry-run -o json
  lanyard attach shop -g clusters --address 10.0.0.5 --render

  # With values of the chart
  lanyard attach shop -g clusters --set replicaCount=3 --values ours.yaml --yes

  # Register only, and install with Helm
  lanyard attach shop -g clusters --address 10.0.0.5 --cloud-only --yes > values.yaml
  helm install lanyard-agent deploy/chart --namespace azure-workload-identity-system \
    --create-namespace --values values.yaml`,
		Args:              command.Arguments("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		PreRunE:           func(_ *cobra.Command, args []string) error { return f.check(args[0]) },
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.location, "location", "l", "", "region of the resource, and of its group if that is made (default the group's, else eastus)")
	fl.StringVarP(&f.namespace, "namespace", "n", "", "namespace of the agent (default "+attach.DefaultNamespace+")")
	fl.StringArrayVarP(&f.values, "values", "f", nil, "YAML `FILE` of the chart's values (repeatable)")
	fl.StringArrayVar(&f.settings, "set", nil, "`VALUES` of the chart, as NAME=VALUE,... (repeatable)")
	fl.BoolVar(&f.reset, "reset-values", false, "forget the values that were given before")
	fl.StringVar(&f.address, "address", "", "`IP` at which pods reach the cloud, or dns (default the one that it listens on)")
	fl.StringArrayVar(&f.hosts, "host", nil, "further `NAME` that leads to the address, such as a vault's (repeatable)")
	fl.StringSliceVar(&f.authority, "authority", nil, "ways to the token service, the first by default: alias, override, own-host")
	fl.StringVar(&f.image, "image", "", "image of the agent, `NAME[:TAG|@DIGEST]`")
	fl.BoolVar(&f.selfHosted, "self-hosted-issuer", false, "the API server's issuer publishes its own documents")
	fl.BoolVar(&f.trust, "trust-issuer", false, "trust the API server's issuer by its keys of now, uploaded")
	fl.BoolVar(&f.replace, "replace-cluster", false, "NAME was another cluster, which is no more: this one takes its place")
	fl.BoolVar(&f.cloudOnly, "cloud-only", false, "register the cluster, and print the chart's values instead of installing it")
	fl.BoolVar(&f.render, "render", false, "print the objects that would be installed, as YAML, and do nothing")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait for the agent")
	command.Complete(cmd, "authority", "alias", "override", "own-host")
	command.Complete(cmd, "address", "dns")
	return cmd
}

// check is for the command line alone.
func (f *attachFlags) check(name string) error {
	if err := f.attachmentFlags.check(name); err != nil {
		return err
	}
	if f.selfHosted && f.trust {
		return command.Usagef("--self-hosted-issuer and --trust-issuer exclude each other")
	}
	modes := 0
	for _, is := range []bool{f.cloudOnly, f.render, f.dryRun} {
		if is {
			modes++
		}
	}
	if modes > 1 {
		return command.Usagef("--cloud-only, --render and --dry-run exclude each other")
	}
	if f.address != "" && f.address != addressByDNS {
		if a, err := netip.ParseAddr(f.address); err != nil || a.IsLoopback() || a.IsUnspecified() {
			return command.Usagef("--address %q is neither dns nor an IP address that pods can reach", f.address)
		}
	}
	for _, way := range f.authority {
		if !slices.Contains([]string{"alias", "override", "own-host"}, way) {
			return command.Usagef("--authority %q is none of alias, override, own-host", way)
		}
	}
	return nil
}

// attachPlan is what an attach would do.
type attachPlan struct {
	Cluster struct {
		Context string `json:"context,omitempty"`
		Server  string `json:"server"`
		Version string `json:"version"`
		Issuer  string `json:"issuer"`
		// IssuerChanges tells that the API server has to sign as another issuer
		// before the agent is installed.
		IssuerChanges bool `json:"issuerChanges"`
	} `json:"cluster"`
	Image      string          `json:"image,omitempty"` // of the agent
	ResourceID string          `json:"resourceId"`
	Cloud      []cloudChange   `json:"cloud"`
	Objects    []attach.Change `json:"objects"`

	notes []string // for people
}

// cloudChange is one thing that is to happen in the cloud.
type cloudChange struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// run attaches: it looks, shows, asks, and does.
func (f *attachFlags) run(cmd *cobra.Command, name string) error {
	ctx, stop := context.WithTimeoutCause(cmd.Context(), f.timeout, fmt.Errorf("%s are over (--timeout)", f.timeout))
	defer stop()
	r, err := f.look(ctx, cmd, name)
	if err != nil {
		return err
	}
	defer r.arm.close()
	if f.render {
		content, err := r.install.YAML()
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(content)
		return err
	}
	p, err := r.plan(ctx)
	if err != nil {
		return err
	}
	if f.dryRun {
		if f.out.JSON() {
			return command.PrintJSON(cmd.OutOrStdout(), p)
		}
		return p.print(cmd.OutOrStdout())
	}
	if err := p.print(cmd.ErrOrStderr()); err != nil {
		return err
	}
	if err := confirm(cmd, f.yes, "Attach it?"); err != nil {
		return err
	}
	// The time to think is not the agent's.
	doing, stop := context.WithTimeoutCause(cmd.Context(), f.timeout, fmt.Errorf("%s are over (--timeout)", f.timeout))
	defer stop()
	if err := r.do(doing); err != nil {
		return r.failed(err)
	}
	return r.report(cmd.OutOrStdout())
}

// print writes a plan for people: what changes, and how much does not.
func (p *attachPlan) print(w io.Writer) error {
	fmt.Fprintf(w, "Kubernetes cluster %s (%s, %s)\n", dash(p.Cluster.Context), p.Cluster.Server, p.Cluster.Version)
	fmt.Fprintf(w, "  its issuer: %s\n", p.Cluster.Issuer)
	if p.Image != "" {
		fmt.Fprintf(w, "  the agent's image: %s\n", p.Image)
	}
	for _, note := range p.notes {
		fmt.Fprintln(w, note)
	}
	fmt.Fprintln(w, "\nIn the cloud:")
	for _, c := range p.Cloud {
		fmt.Fprintf(w, "  %s %s\n", c.Action, c.Resource)
	}
	if len(p.Objects) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nIn the cluster:")
	counts := map[attach.Outcome]int{}
	verbs := map[attach.Outcome]string{attach.Created: "create", attach.Changed: "change", attach.Deleted: "delete"}
	for _, o := range p.Objects {
		counts[o.Outcome]++
		if verb := verbs[o.Outcome]; verb != "" {
			fmt.Fprintf(w, "  %s %s\n", verb, o.Object)
		}
	}
	var sums []string
	for _, outcome := range slices.Sorted(maps.Keys(counts)) {
		what := string(outcome)
		if verb := verbs[outcome]; verb != "" {
			what = "to " + verb
		}
		sums = append(sums, fmt.Sprintf("%d %s", counts[outcome], what))
	}
	_, err := fmt.Fprintf(w, "  (%s)\n\n", strings.Join(sums, ", "))
	return err
}
