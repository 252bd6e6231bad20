package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
)

// The api-versions of what attaching a cluster asks for.
const (
	clusterVersion        = "?api-version=2024-07-15-preview"
	resourceGroupVersion  = "?api-version=2021-04-01"
	identityVersion       = "?api-version=2023-01-31"
	connectedClustersType = "connectedClusters"
)

// newCluster makes `lanyard cluster`.
func newCluster() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "cluster", GroupID: "kubernetes", Short: "List and show the Kubernetes clusters that are attached"})
	cmd.Long = `List and show the Kubernetes clusters that are attached to the cloud: resources of the
type Microsoft.Kubernetes/connectedClusters. ` + "`lanyard attach` and `lanyard detach`" + `
make and remove them.`
	cmd.Example = `  lanyard cluster list
  lanyard cluster show shop --resource-group clusters`
	cmd.AddCommand(newClusterList(), newClusterShow())
	return cmd
}

// connectedCluster is an attached cluster on the wire.
type connectedCluster struct {
	ID         string               `json:"id"`
	Name       string               `json:"name"`
	Location   string               `json:"location"`
	Tags       map[string]string    `json:"tags,omitempty"`
	Properties connectedClusterInfo `json:"properties"`
}

type connectedClusterInfo struct {
	ConnectivityStatus string            `json:"connectivityStatus"`
	LastConnectivity   time.Time         `json:"lastConnectivityTime,omitzero"`
	KubernetesVersion  string            `json:"kubernetesVersion,omitempty"`
	AgentVersion       string            `json:"agentVersion,omitempty"`
	TotalNodeCount     int               `json:"totalNodeCount,omitempty"`
	Issuer             oidcIssuerProfile `json:"oidcIssuerProfile,omitzero"`
	Miscellaneous      map[string]string `json:"miscellaneousProperties,omitempty"`
}

type oidcIssuerProfile struct {
	Enabled       bool   `json:"enabled"`
	IssuerURL     string `json:"issuerUrl,omitempty"`
	SelfHostedURL string `json:"selfHostedIssuerUrl,omitempty"`
}

// issuer is the one that federated credentials of the cluster name.
func (i connectedClusterInfo) issuer() string {
	if i.Issuer.SelfHostedURL != "" {
		return i.Issuer.SelfHostedURL
	}
	return i.Issuer.IssuerURL
}

// issuers are all that the cluster's tokens may have.
func (i connectedClusterInfo) issuers() map[string]bool {
	all := map[string]bool{i.Issuer.IssuerURL: true, i.Issuer.SelfHostedURL: true}
	delete(all, "")
	return all
}

// resourceGroup is the group that an ARM ID lies in.
func resourceGroup(id string) string {
	parsed, err := azure.ParseResourceID(id)
	if err != nil {
		return ""
	}
	return parsed.ResourceGroup()
}

func newClusterList() *cobra.Command {
	var a armCommand
	var group, subscription string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the attached clusters",
		Example: `  lanyard cluster list
  lanyard cluster list --resource-group clusters -o json`,
		Args: command.Arguments(),
	}
	cmd.Flags().StringVarP(&group, "resource-group", "g", "", "list those of one resource group")
	cmd.Flags().StringVar(&subscription, "subscription", "", "`SUBSCRIPTION` ID (default that of the environment file)")
	return a.build(cmd, func(ctx context.Context, c *armClient, _ []string) (any, func(io.Writer) error, error) {
		scope, err := c.scope(subscription, group)
		if err != nil {
			return nil, nil, err
		}
		all, err := list[connectedCluster](ctx, c, scope.String()+"/providers/Microsoft.Kubernetes/connectedClusters"+clusterVersion)
		return all, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tRESOURCE GROUP\tSTATUS\tKUBERNETES\tAGENT\tNODES\tISSUER")
			for _, c := range all {
				p := c.Properties
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", c.Name, resourceGroup(c.ID), p.ConnectivityStatus,
					dash(p.KubernetesVersion), dash(p.AgentVersion), p.TotalNodeCount, dash(p.issuer()))
			}
			return tw.Flush()
		}, err
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// scope gives a subscription, or a resource group in it; both may be empty, for
// the environment file's subscription.
func (c *armClient) scope(subscription, group string) (azure.ResourceID, error) {
	if subscription == "" {
		subscription = c.env.SubscriptionID
	}
	if subscription == "" {
		return azure.ResourceID{}, errors.New("the environment file names no subscription: name one with --subscription")
	}
	if group == "" {
		return azure.SubscriptionScope(subscription), nil
	}
	return azure.ResourceGroupScope(subscription, group), nil
}

// clusterPlace is which attached cluster is meant.
type clusterPlace struct{ group, subscription string }

func (p *clusterPlace) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.group, "resource-group", "g", "", "resource group of the cluster, required unless NAME is a resource ID")
	cmd.Flags().StringVar(&p.subscription, "subscription", "", "`SUBSCRIPTION` ID (default that of the environment file)")
}

// check is for the command line alone.
func (p *clusterPlace) check(name string) error {
	if strings.HasPrefix(name, "/") {
		id, err := azure.ParseResourceID(name)
		if err != nil || !azure.EqualFold(id.Type(), "Microsoft.Kubernetes/"+connectedClustersType) {
			return command.Usagef("%q is not the resource ID of a connected cluster", name)
		}
		if p.group != "" || p.subscription != "" {
			return command.Usagef("a resource ID says it all: leave --resource-group and --subscription out")
		}
		return nil
	}
	switch {
	case p.group == "":
		return command.Usagef("--resource-group is missing")
	case strings.Contains(name, "/"):
		return command.Usagef("%q is neither a name nor a resource ID, which begins with a slash", name)
	case strings.Contains(p.group, "/"):
		return command.Usagef("--resource-group %q is not the name of a resource group", p.group)
	}
	return nil
}

// id gives the resource ID.
func (p *clusterPlace) id(c *armClient, name string) (azure.ResourceID, error) {
	if strings.HasPrefix(name, "/") {
		return azure.ParseResourceID(name)
	}
	scope, err := c.scope(p.subscription, p.group)
	if err != nil {
		return azure.ResourceID{}, err
	}
	return scope.Resource("Microsoft.Kubernetes", connectedClustersType, name), nil
}

// cluster reads an attached cluster, nil where there is none of that ID.
func (c *armClient) cluster(ctx context.Context, id azure.ResourceID) (*connectedCluster, error) {
	var found connectedCluster
	err := c.do(ctx, http.MethodGet, id.String()+clusterVersion, nil, &found)
	if isCode(err, "ResourceNotFound", "ResourceGroupNotFound") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found, nil
}

func newClusterShow() *cobra.Command {
	var a armCommand
	var place clusterPlace
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show an attached cluster",
		Example: `  lanyard cluster show shop --resource-group clusters
  lanyard cluster show shop -g clusters -o json`,
		Args:              command.Arguments("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		PreRunE:           func(_ *cobra.Command, args []string) error { return place.check(args[0]) },
	}
	place.add(cmd)
	return a.build(cmd, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		id, err := place.id(c, args[0])
		if err != nil {
			return nil, nil, err
		}
		found, err := c.cluster(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if found == nil {
			return nil, nil, fmt.Errorf("there is no cluster %s: `lanyard cluster list` lists those that are attached", id)
		}
		return found, found.print, nil
	})
}

// print writes a cluster for people.
func (c *connectedCluster) print(w io.Writer) error {
	p := c.Properties
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "Name\t%s\nResource ID\t%s\nLocation\t%s\nStatus\t%s\n", c.Name, c.ID, c.Location, p.ConnectivityStatus)
	if !p.LastConnectivity.IsZero() {
		fmt.Fprintf(tw, "Last heard of\t%s\n", p.LastConnectivity.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(tw, "Issuer\t%s\n", dash(p.issuer()))
	fmt.Fprintf(tw, "Kubernetes\t%s\nAgent\t%s\nNodes\t%d\n", dash(p.KubernetesVersion), dash(p.AgentVersion), p.TotalNodeCount)
	if n := p.Miscellaneous["unmutatedPods"]; n != "" && n != "0" {
		fmt.Fprintf(tw, "Unmutated pods\t%s: they ask for the webhook and run without what it adds\n", n)
	}
	return tw.Flush()
}
