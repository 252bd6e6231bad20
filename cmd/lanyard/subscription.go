package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
)

// newSubscription makes `lanyard subscription`.
func newSubscription() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "subscription", GroupID: "manage", Short: "Create, cancel and delete subscriptions"})
	cmd.Long = `Create, cancel and delete subscriptions in the tenant of the environment file, by
Azure's own requests. Creating one takes the right to write aliases at the
tenant's root, as an Owner has it; who creates one is its Owner.

SUBSCRIPTION is a subscription ID, or a display name that only one has.`
	cmd.Example = `  lanyard subscription create Development
  lanyard subscription list

  # Read only, until it is enabled again
  lanyard subscription cancel Development --ignore-resources

  # For good, when nothing is left in it
  lanyard subscription delete Development`
	cmd.AddCommand(newSubscriptionCreate(), newSubscriptionList(), newSubscriptionShow(), newSubscriptionRename(),
		newSubscriptionCancel(), newSubscriptionEnable(), newSubscriptionDelete())
	return cmd
}

// subscription is what the commands show of one.
type subscription struct {
	SubscriptionID string            `json:"subscriptionId"`
	TenantID       string            `json:"tenantId"`
	DisplayName    string            `json:"displayName"`
	State          string            `json:"state"`
	Tags           map[string]string `json:"tags,omitempty"`
}

// aliasRequest is what a new subscription is to be.
type aliasRequest struct {
	DisplayName string           `json:"displayName"`
	Workload    string           `json:"workload,omitempty"`
	Additional  *aliasAdditional `json:"additionalProperties,omitempty"`
}

type aliasAdditional struct {
	Owner string            `json:"subscriptionOwnerId,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
}

// createSubscription makes a subscription by way of an alias, and gives its ID.
func (c *armClient) createSubscription(ctx context.Context, alias string, asked aliasRequest) (string, error) {
	var made struct {
		Properties struct{ SubscriptionID string } `json:"properties"`
	}
	path := "/providers/Microsoft.Subscription/aliases/" + url.PathEscape(alias) + aliasVersion
	err := c.do(ctx, http.MethodPut, path, map[string]any{"properties": asked}, &made)
	return made.Properties.SubscriptionID, err
}

// subscription gives the one subscription with that ID or name.
func (c *armClient) subscription(ctx context.Context, name string) (subscription, error) {
	all, err := list[subscription](ctx, c, "/subscriptions"+subscriptionVersion)
	if err != nil {
		return subscription{}, err
	}
	if i := slices.IndexFunc(all, func(s subscription) bool { return azure.EqualFold(s.SubscriptionID, name) }); i >= 0 {
		return all[i], nil
	}
	all = slices.DeleteFunc(all, func(s subscription) bool { return !strings.EqualFold(s.DisplayName, name) })
	switch len(all) {
	case 0:
		return subscription{}, fmt.Errorf("there is no subscription %q that you have a role in: `lanyard subscription list` lists them", name)
	case 1:
		return all[0], nil
	}
	ids := make([]string, len(all))
	for i, s := range all {
		ids[i] = s.SubscriptionID
	}
	return subscription{}, fmt.Errorf("%d subscriptions are called %q: use one of the IDs %s", len(all), name, strings.Join(ids, ", "))
}

func newSubscriptionCreate() *cobra.Command {
	var a armCommand
	var alias, owner string
	var devTest bool
	var tags map[string]string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a subscription",
		Long: `Create a subscription. The principal of the environment file becomes its Owner,
unless --owner names another one.

The alias is the name of the request: repeating it gives the same subscription.`,
		Example: `  lanyard subscription create Development
  lanyard subscription create Shop --alias shop --tag team=web -o json`,
		Args: command.Arguments("NAME"),
	}
	flags := cmd.Flags()
	flags.StringVar(&alias, "alias", "", "`NAME` of the request (default random)")
	flags.StringVar(&owner, "owner", "", "object `ID` of the principal that becomes the Owner (default the caller)")
	flags.BoolVar(&devTest, "dev-test", false, "say that its workload is DevTest, not Production")
	flags.StringToStringVar(&tags, "tag", nil, "a tag, `NAME=VALUE` (repeatable)")
	return a.build(cmd, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		asked := aliasRequest{DisplayName: args[0]}
		if alias == "" {
			alias = uuid.NewString()
		}
		if devTest {
			asked.Workload = "DevTest"
		}
		if owner != "" || len(tags) > 0 {
			asked.Additional = &aliasAdditional{Owner: owner, Tags: tags}
		}
		id, err := c.createSubscription(ctx, alias, asked)
		if err != nil {
			return nil, nil, err
		}
		var made subscription
		err = c.do(ctx, http.MethodGet, "/subscriptions/"+id+subscriptionVersion, nil, &made)
		return made, made.print, err
	})
}

// print writes a subscription for people.
func (s subscription) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "Name\t%s\nSubscription ID\t%s\nTenant ID\t%s\nState\t%s\n", s.DisplayName, s.SubscriptionID, s.TenantID, s.State)
	var tags []string
	for name, value := range s.Tags {
		tags = append(tags, name+"="+value)
	}
	if slices.Sort(tags); len(tags) > 0 {
		fmt.Fprintf(tw, "Tags\t%s\n", strings.Join(tags, ", "))
	}
	return tw.Flush()
}

func newSubscriptionList() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:   "list",
		Short: "List the subscriptions in which you have a role",
		Example: `  lanyard subscription list
  lanyard subscription list -o json`,
		Args: command.Arguments(),
	}, func(ctx context.Context, c *armClient, _ []string) (any, func(io.Writer) error, error) {
		all, err := list[subscription](ctx, c, "/subscriptions"+subscriptionVersion)
		return all, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tSUBSCRIPTION ID\tSTATE")
			for _, s := range all {
				fmt.Fprintf(tw, "%s\t%s\t%s\n", s.DisplayName, s.SubscriptionID, s.State)
			}
			return tw.Flush()
		}, err
	})
}

func newSubscriptionShow() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:     "show SUBSCRIPTION",
		Short:   "Show a subscription",
		Example: `  lanyard subscription show Development`,
		Args:    command.Arguments("SUBSCRIPTION"),
	}, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		s, err := c.subscription(ctx, args[0])
		return s, s.print, err
	})
}

// change posts one of the operations of Microsoft.Subscription, and gives what
// the subscription is then.
func (c *armClient) change(ctx context.Context, name, operation string, body any) (any, func(io.Writer) error, error) {
	s, err := c.subscription(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	scope := "/subscriptions/" + s.SubscriptionID
	if err := c.do(ctx, http.MethodPost, scope+"/providers/Microsoft.Subscription/"+operation, body, nil); err != nil {
		return nil, nil, err
	}
	err = c.do(ctx, http.MethodGet, scope+subscriptionVersion, nil, &s)
	return s, s.print, err
}

func newSubscriptionRename() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:     "rename SUBSCRIPTION NAME",
		Short:   "Give a subscription another name",
		Example: `  lanyard subscription rename Development Dev`,
		Args:    command.Arguments("SUBSCRIPTION", "NAME"),
	}, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		return c.change(ctx, args[0], "rename"+aliasVersion, map[string]string{"subscriptionName": args[1]})
	})
}

func newSubscriptionCancel() *cobra.Command {
	var a armCommand
	var ignore bool
	cmd := &cobra.Command{
		Use:   "cancel SUBSCRIPTION",
		Short: "Cancel a subscription: nothing is written in it any more",
		Long: `Cancel a subscription. What is in it can still be read and deleted, and nothing be
written, until "lanyard subscription enable". One with resources in it is canceled
only with --ignore-resources.`,
		Example: `  lanyard subscription cancel Development`,
		Args:    command.Arguments("SUBSCRIPTION"),
	}
	cmd.Flags().BoolVar(&ignore, "ignore-resources", false, "cancel it though there are resources in it")
	return a.build(cmd, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		operation := "cancel" + aliasVersion
		if ignore {
			operation += "&IgnoreResourceCheck=true"
		}
		return c.change(ctx, args[0], operation, nil)
	})
}

func newSubscriptionEnable() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:     "enable SUBSCRIPTION",
		Short:   "Enable a canceled subscription again",
		Example: `  lanyard subscription enable Development`,
		Args:    command.Arguments("SUBSCRIPTION"),
	}, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		return c.change(ctx, args[0], "enable"+aliasVersion, nil)
	})
}

func newSubscriptionDelete() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:   "delete SUBSCRIPTION",
		Short: "Delete a canceled and empty subscription for good",
		Long: `Delete a subscription that is canceled and in which nothing is left but its role
assignments, tags and registrations, which go with it. It cannot be undone.`,
		Example: `  lanyard subscription cancel Development && lanyard subscription delete Development`,
		Args:    command.Arguments("SUBSCRIPTION"),
	}, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		s, err := c.subscription(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		_, err = c.remove(ctx, "/subscriptions/"+s.SubscriptionID+subscriptionVersion)
		return map[string]string{"deleted": s.SubscriptionID}, sentence("Deleted the subscription %s (%s).", s.DisplayName, s.SubscriptionID), err
	})
}
