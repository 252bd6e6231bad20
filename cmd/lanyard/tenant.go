package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// newTenant makes `lanyard tenant`.
func newTenant() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "tenant", GroupID: "manage", Short: "Create and delete the cloud's tenants"})
	cmd.Long = `Create and delete tenants, as an Owner at the root of the cloud's first tenant: the
principal of the environment file that the cloud wrote.

A tenant is a directory of its own, apart from all others. A new one gets a
principal of its own, an Owner at its root, whose secret is told once; the one
that made it has no rights in it.

TENANT is a tenant ID, a domain, or a display name that only one tenant has.`
	cmd.Example = `  lanyard tenant create Fabrikam --subscription Main --env-file-out fabrikam.json
  lanyard tenant list

  # As the new tenant's own principal
  lanyard subscription list --env-file fabrikam.json
  eval "$(lanyard env --env-file fabrikam.json)"`
	cmd.AddCommand(newTenantCreate(), newTenantList(), newTenantShow(), newTenantDelete())
	return cmd
}

// cloudTenant is a tenant on the wire.
type cloudTenant struct {
	Properties tenantProperties `json:"properties"`
}

type tenantProperties struct {
	TenantID      string    `json:"tenantId"`
	DisplayName   string    `json:"displayName"`
	DefaultDomain string    `json:"defaultDomain"`
	Domains       []string  `json:"domains"`
	CountryCode   string    `json:"countryCode,omitempty"`
	CreatedTime   time.Time `json:"createdTime"`
	Operator      bool      `json:"operator"`
	Subscriptions int       `json:"subscriptions"`
	// SubscriptionID and EnvFile are what a creation made beside.
	SubscriptionID string            `json:"subscriptionId,omitempty"`
	EnvFile        string            `json:"envFile,omitempty"`
	Bootstrap      *server.Bootstrap `json:"bootstrap,omitempty"`
}

func tenantPath(id string) string { return "/providers/Lanyard.Directory/tenants/" + id + cloudVersion }

// tenants lists the cloud's tenants.
func (c *armClient) tenants(ctx context.Context) ([]tenantProperties, error) {
	found, err := list[cloudTenant](ctx, c, "/providers/Lanyard.Directory/tenants"+cloudVersion)
	if err != nil {
		return nil, err
	}
	all := []tenantProperties{}
	for _, t := range found {
		all = append(all, t.Properties)
	}
	return all, nil
}

// tenant gives the one tenant with that ID, domain or name.
func (c *armClient) tenant(ctx context.Context, name string) (tenantProperties, error) {
	all, err := c.tenants(ctx)
	if err != nil {
		return tenantProperties{}, err
	}
	var named []tenantProperties
	for _, t := range all {
		if azure.EqualFold(t.TenantID, name) {
			return t, nil
		}
		for _, domain := range t.Domains {
			if azure.EqualFold(domain, name) {
				return t, nil
			}
		}
		if strings.EqualFold(t.DisplayName, name) {
			named = append(named, t)
		}
	}
	switch len(named) {
	case 0:
		return tenantProperties{}, fmt.Errorf("there is no tenant %q: `lanyard tenant list` lists them", name)
	case 1:
		return named[0], nil
	}
	ids := make([]string, len(named))
	for i, t := range named {
		ids[i] = t.TenantID
	}
	return tenantProperties{}, fmt.Errorf("%d tenants are called %q: use one of the IDs %s", len(named), name, strings.Join(ids, ", "))
}

// tenantCreate is what `lanyard tenant create` is told.
type tenantCreate struct {
	armCommand
	id, country, subscription, envFile string
	domains                            []string
}

func newTenantCreate() *cobra.Command {
	var f tenantCreate
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a tenant, with a principal of its own",
		Long: `Create a tenant, and in it a principal with a random secret that is an Owner at its
root. With --env-file-out an environment file is written by which every command
acts in the new tenant as that principal; otherwise its secret is printed. It
cannot be had again.`,
		Example: `  lanyard tenant create Fabrikam --subscription Main --env-file-out fabrikam.json
  lanyard tenant create Fabrikam --domain fabrikam.example -o json`,
		Args: command.Arguments("NAME"),
		PreRunE: func(*cobra.Command, []string) error {
			if f.id != "" && !azure.IsGUID(f.id) {
				return command.Usagef("--id %q is not a GUID", f.id)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.id, "id", "", "the tenant's `GUID` (default random)")
	flags.StringArrayVar(&f.domains, "domain", nil, "a `DOMAIN` of the tenant; the first is its default (repeatable)")
	flags.StringVar(&f.country, "country", "", "the tenant's country, as an ISO 3166 `CODE`")
	flags.StringVar(&f.subscription, "subscription", "", "create a subscription in the tenant, with this `NAME`")
	flags.StringVar(&f.envFile, "env-file-out", "", "write the new tenant's environment file to `FILE`")
	return f.build(cmd, f.run)
}

func (f *tenantCreate) run(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
	if f.id == "" {
		f.id = uuid.NewString()
	}
	if f.envFile != "" {
		// The secret is told once: see first that it can be kept.
		if err := canCreate(&f.envFile); err != nil {
			return nil, nil, err
		}
	}
	// A PUT changes a tenant that is there.
	err := c.do(ctx, http.MethodGet, tenantPath(f.id), nil, nil)
	if refused, ok := errors.AsType[*azure.Error](err); !ok || refused.Code != "TenantNotFound" {
		if err == nil {
			err = fmt.Errorf("there is a tenant %s already: `lanyard tenant show %s` shows it", f.id, f.id)
		}
		return nil, nil, err
	}
	asked := map[string]any{"displayName": args[0], "domains": f.domains, "countryCode": f.country}
	if len(f.domains) > 0 {
		asked["defaultDomain"] = f.domains[0]
	}
	var made cloudTenant
	if err := c.do(ctx, http.MethodPut, tenantPath(f.id), map[string]any{"properties": asked}, &made); err != nil {
		return nil, nil, err
	}
	t := made.Properties
	if t.Bootstrap == nil {
		return nil, nil, fmt.Errorf("the tenant %s was made by someone else meanwhile", t.TenantID)
	}
	env := c.env
	env.TenantID, env.SubscriptionID, env.Bootstrap, env.Endpoints.IMDS = t.TenantID, "", *t.Bootstrap, nil
	if f.subscription != "" {
		if err := f.addSubscription(ctx, &env, &t); err != nil {
			return nil, nil, errors.Join(err, f.keep(env, &t),
				fmt.Errorf("the tenant %s was made all the same: `lanyard subscription create` with its environment file makes a subscription", t.TenantID))
		}
	}
	if err := f.keep(env, &t); err != nil {
		return nil, nil, err
	}
	return t, t.print, nil
}

// addSubscription makes a subscription as the tenant's own principal.
func (f *tenantCreate) addSubscription(ctx context.Context, env *server.Environment, t *tenantProperties) error {
	own, err := newARMClient(ctx, *env)
	if err != nil {
		return err
	}
	defer own.close()
	sub, err := own.createSubscription(ctx, uuid.NewString(), aliasRequest{DisplayName: f.subscription})
	if err != nil {
		return fmt.Errorf("creating the tenant's subscription: %w", err)
	}
	env.SubscriptionID, t.SubscriptionID, t.Subscriptions = sub, sub, 1
	return nil
}

// keep writes the environment file, after which the secret need not be shown.
func (f *tenantCreate) keep(env server.Environment, t *tenantProperties) error {
	if f.envFile == "" {
		return nil
	}
	if err := env.Write(f.envFile); err != nil {
		return fmt.Errorf("%w; the tenant %s was made, and its principal is %s with the secret %s", err, t.TenantID, t.Bootstrap.ClientID, t.Bootstrap.ClientSecret)
	}
	t.EnvFile, t.Bootstrap = f.envFile, nil
	return nil
}

// canCreate makes the path absolute, and sees that no file is there and that one
// can be.
func canCreate(file *string) error {
	path, err := filepath.Abs(*file)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already: name another file, or remove it", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	probe, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	*file = path
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// print writes a tenant for people.
func (t tenantProperties) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "Name\t%s\nTenant ID\t%s\nDomains\t%s\n", t.DisplayName, t.TenantID, strings.Join(t.Domains, ", "))
	if t.CountryCode != "" {
		fmt.Fprintf(tw, "Country\t%s\n", t.CountryCode)
	}
	fmt.Fprintf(tw, "Created\t%s\nSubscriptions\t%d\n", t.CreatedTime.UTC().Format(time.RFC3339), t.Subscriptions)
	if t.SubscriptionID != "" {
		fmt.Fprintf(tw, "Subscription ID\t%s\n", t.SubscriptionID)
	}
	switch {
	case t.Operator:
		fmt.Fprintln(tw, "Operator\tyes: principals of this tenant manage the cloud")
	case t.EnvFile != "":
		fmt.Fprintf(tw, "Environment file\t%s\n", t.EnvFile)
	case t.Bootstrap != nil:
		fmt.Fprintf(tw, "Principal\t%s\nClient ID\t%s\nClient secret\t%s\n", t.Bootstrap.ObjectID, t.Bootstrap.ClientID, t.Bootstrap.ClientSecret)
	}
	return tw.Flush()
}

func newTenantList() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:   "list",
		Short: "List the cloud's tenants",
		Example: `  lanyard tenant list
  lanyard tenant list -o json`,
		Args: command.Arguments(),
	}, func(ctx context.Context, c *armClient, _ []string) (any, func(io.Writer) error, error) {
		all, err := c.tenants(ctx)
		return all, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tTENANT ID\tDEFAULT DOMAIN\tSUBSCRIPTIONS\tOPERATOR")
			for _, t := range all {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\n", t.DisplayName, t.TenantID, t.DefaultDomain, t.Subscriptions, yesOrDash(t.Operator))
			}
			return tw.Flush()
		}, err
	})
}

func yesOrDash(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

func newTenantShow() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:     "show TENANT",
		Short:   "Show a tenant",
		Example: `  lanyard tenant show fabrikam.example`,
		Args:    command.Arguments("TENANT"),
	}, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		t, err := c.tenant(ctx, args[0])
		return t, t.print, err
	})
}

func newTenantDelete() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:   "delete TENANT",
		Short: "Delete a tenant and everybody in it",
		Long: `Delete a tenant without subscriptions: its applications, users, groups, roles and
role assignments. From then on nobody signs in to it, and the tokens that are out
open nothing. It cannot be undone, but by restoring a backup of the whole cloud.`,
		Example: `  lanyard tenant delete Fabrikam`,
		Args:    command.Arguments("TENANT"),
	}, func(ctx context.Context, c *armClient, args []string) (any, func(io.Writer) error, error) {
		t, err := c.tenant(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		_, err = c.remove(ctx, tenantPath(t.TenantID))
		return map[string]string{"deleted": t.TenantID}, sentence("Deleted the tenant %s (%s).", t.DisplayName, t.TenantID), err
	})
}
