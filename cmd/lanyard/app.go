package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
)

// newApp makes `lanyard app`.
func newApp() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "app", GroupID: "use", Short: "Manage applications and their credentials"})
	cmd.Long = `Manage applications (app registrations) through the cloud's Microsoft Graph, as the
principal of the environment file. An application signs in with its client ID and
a secret, or with a token of an issuer that it trusts by a federated credential,
and may do what roles say of its service principal.

APP is a client ID, an object ID, or a name that only one application has.`
	cmd.Example = `  lanyard app create deployer
  lanyard app secret add deployer

  # Without a secret: from a pipeline
  lanyard app credential add deployer --name main --issuer https://token.actions.githubusercontent.com \
    --subject repo:contoso/shop:ref:refs/heads/main`
	secret := command.Parent(&cobra.Command{
		Use: "secret", Short: "Add and remove an application's secrets",
		Example: "  lanyard app secret add orders\n  lanyard app secret remove orders KEY-ID",
	})
	secret.AddCommand(newAppSecretAdd(), newAppSecretRemove())
	credential := command.Parent(&cobra.Command{
		Use: "credential", Short: "Add and remove an application's federated credentials",
		Example: "  lanyard app credential add orders --name cluster --issuer https://oidc.example.com --subject system:serviceaccount:shop:orders\n" +
			"  lanyard app credential remove orders cluster",
	})
	credential.AddCommand(newAppCredentialAdd(), newAppCredentialRemove())
	cmd.AddCommand(newAppCreate(), newAppList(), newAppShow(), newAppDelete(), secret, credential)
	return cmd
}

// appCommand is a [cloudCommand] on Microsoft Graph.
type appCommand struct{ cloudCommand }

func (a *appCommand) build(cmd *cobra.Command,
	run func(ctx context.Context, g *graphClient, args []string) (v any, text func(w io.Writer) error, err error)) *cobra.Command {
	return buildCommand(&a.cloudCommand, cmd, newGraphClient, run)
}

func newAppCreate() *cobra.Command {
	var a appCommand
	var uris []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an application and its service principal",
		Long: `Create an application with a service principal, so that roles can be assigned to it.
It has no credential yet: nobody can sign in as it before one is added.`,
		Example: `  lanyard app create deployer
  lanyard app create shop-api --identifier-uri api://shop -o json`,
		Args: command.Arguments("NAME"),
	}
	cmd.Flags().StringArrayVar(&uris, "identifier-uri", nil, "`URI` by which tokens for the application can be asked (repeatable)")
	return a.build(cmd, func(ctx context.Context, g *graphClient, args []string) (any, func(io.Writer) error, error) {
		var app application
		err := g.do(ctx, http.MethodPost, "/v1.0/applications", map[string]any{"displayName": args[0], "identifierUris": append([]string{}, uris...)}, &app)
		if err != nil {
			return nil, nil, err
		}
		var principal struct{ ID string }
		if err := g.do(ctx, http.MethodPost, "/v1.0/servicePrincipals", map[string]any{"appId": app.ClientID}, &principal); err != nil {
			return nil, nil, fmt.Errorf("the application %s was made, but not its service principal: %w", app.ClientID, err)
		}
		app.ServicePrincipalID = principal.ID
		return app, app.print, nil
	})
}

func newAppList() *cobra.Command {
	var a appCommand
	return a.build(&cobra.Command{
		Use:   "list",
		Short: "List applications",
		Example: `  lanyard app list
  lanyard app list -o json`,
		Args: command.Arguments(),
	}, func(ctx context.Context, g *graphClient, _ []string) (any, func(io.Writer) error, error) {
		apps, err := list[application](ctx, g, "/v1.0/applications?$top=999")
		if err != nil {
			return nil, nil, err
		}
		principals, err := g.servicePrincipals(ctx, "servicePrincipalType eq 'Application'")
		if err != nil {
			return nil, nil, err
		}
		for i := range apps {
			apps[i].ServicePrincipalID = principals[apps[i].ClientID]
		}
		return apps, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tCLIENT ID\tSERVICE PRINCIPAL\tSECRETS\tCERTIFICATES")
			for _, app := range apps {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\n", app.DisplayName, app.ClientID, app.ServicePrincipalID, len(app.Secrets), len(app.Certificates))
			}
			return tw.Flush()
		}, nil
	})
}

func newAppShow() *cobra.Command {
	var a appCommand
	return a.build(&cobra.Command{
		Use:   "show APP",
		Short: "Show an application and its credentials",
		Long: `Show an application with its secrets, certificates and federated credentials. The
text of a secret is shown when it is made, and never again.`,
		Example: `  lanyard app show deployer`,
		Args:    command.Arguments("APP"),
	}, func(ctx context.Context, g *graphClient, args []string) (any, func(io.Writer) error, error) {
		app, err := g.find(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		principals, err := g.servicePrincipals(ctx, "appId eq '"+app.ClientID+"'")
		if err != nil {
			return nil, nil, err
		}
		app.ServicePrincipalID = principals[app.ClientID]
		app.Credentials, err = list[federatedCredential](ctx, g, "/beta/applications/"+app.ObjectID+"/federatedIdentityCredentials")
		return app, app.print, err
	})
}

// print writes an application for people.
func (app application) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	principal := app.ServicePrincipalID
	if principal == "" {
		principal = "none: nobody can sign in as it"
	}
	fmt.Fprintf(tw, "Name\t%s\nClient ID\t%s\nService principal\t%s\nObject ID\t%s\n", app.DisplayName, app.ClientID, principal, app.ObjectID)
	if len(app.IdentifierURIs) > 0 {
		fmt.Fprintf(tw, "Identifier URIs\t%s\n", strings.Join(app.IdentifierURIs, ", "))
	}
	for _, s := range app.Secrets {
		fmt.Fprintf(tw, "Secret\t%s\t%s, begins with %s, ends %s\n", s.KeyID, orDash(s.DisplayName), s.Hint, s.End.UTC().Format(time.DateOnly))
	}
	for _, c := range app.Certificates {
		fmt.Fprintf(tw, "Certificate\t%s\t%s, ends %s\n", c.Thumbprint, orDash(c.DisplayName), c.End.UTC().Format(time.DateOnly))
	}
	for _, c := range app.Credentials {
		subject := c.Subject
		if c.Expression != nil {
			subject = c.Expression.Value
		}
		fmt.Fprintf(tw, "Federated credential\t%s\t%s, %s\n", c.Name, c.Issuer, subject)
	}
	return tw.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func newAppDelete() *cobra.Command {
	var a appCommand
	return a.build(&cobra.Command{
		Use:   "delete APP",
		Short: "Delete an application",
		Long: `Delete an application with its service principal and credentials. It gets no tokens
from then on; those that it has are good until they expire. Its role assignments
stay, and belong to nobody.`,
		Example: `  lanyard app delete deployer`,
		Args:    command.Arguments("APP"),
	}, func(ctx context.Context, g *graphClient, args []string) (any, func(io.Writer) error, error) {
		app, err := g.find(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		return map[string]string{"deleted": app.ClientID}, sentence("Deleted the application %s (%s).", app.DisplayName, app.ClientID),
			g.do(ctx, http.MethodDelete, "/v1.0/applications/"+app.ObjectID, nil, nil)
	})
}

// sentence writes one line.
func sentence(format string, args ...any) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		return err
	}
}

func newAppSecretAdd() *cobra.Command {
	var a appCommand
	var name string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "add APP",
		Short: "Add a secret, and print it",
		Long: `Add a secret to an application and print its text alone, which is not kept and cannot
be had again. The json form says when it ends and by which key ID it is removed.`,
		Example: `  AZURE_CLIENT_SECRET=$(lanyard app secret add deployer)
  lanyard app secret add deployer --name pipeline --lifetime 720h -o json`,
		Args: command.Arguments("APP"),
	}
	cmd.Flags().StringVar(&name, "name", "", "display `NAME`, by which people tell secrets apart")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long the secret is good (default two years)")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if lifetime < 0 {
			return command.Usagef("--lifetime must not be negative")
		}
		return nil
	}
	return a.build(cmd, func(ctx context.Context, g *graphClient, args []string) (any, func(io.Writer) error, error) {
		app, err := g.find(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		wanted := map[string]any{"displayName": name}
		if lifetime > 0 {
			wanted["endDateTime"] = time.Now().Add(lifetime).UTC().Format(time.RFC3339)
		}
		var made appSecret
		err = g.do(ctx, http.MethodPost, "/v1.0/applications/"+app.ObjectID+"/addPassword", map[string]any{"passwordCredential": wanted}, &made)
		return made, sentence("%s", made.Text), err
	})
}

func newAppSecretRemove() *cobra.Command {
	var a appCommand
	return a.build(&cobra.Command{
		Use:     "remove APP KEY-ID",
		Short:   "Remove a secret",
		Example: `  lanyard app secret remove deployer 5a4f0d6e-8f0e-4f9c-9d4e-0b7d3c1a2f10`,
		Args:    command.Arguments("APP", "KEY-ID"),
	}, func(ctx context.Context, g *graphClient, args []string) (any, func(io.Writer) error, error) {
		app, err := g.find(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		return map[string]string{"removed": args[1]}, sentence("Removed the secret %s.", args[1]),
			g.do(ctx, http.MethodPost, "/v1.0/applications/"+app.ObjectID+"/removePassword", map[string]string{"keyId": args[1]}, nil)
	})
}

func newAppCredentialAdd() *cobra.Command {
	var a appCommand
	var c federatedCredential
	var audience, expression string
	cmd := &cobra.Command{
		Use:   "add APP --name NAME --issuer URL (--subject SUBJECT | --matching EXPRESSION)",
		Short: "Trust an issuer's tokens for a subject",
		Long: `Add a federated credential to an application: who has a token of the issuer for the
subject can sign in as the application, without a secret.

With --matching an expression stands in the place of the subject, such as
"claims['sub'] matches 'repo:contoso/*' and claims['repository_owner_id'] eq '1234'".`,
		Example: `  lanyard app credential add deployer --name cluster --issuer https://oidc.example.com/cluster \
    --subject system:serviceaccount:shop:deployer`,
		Args: command.Arguments("APP"),
	}
	flags := cmd.Flags()
	flags.StringVar(&c.Name, "name", "", "the credential's `NAME`")
	flags.StringVar(&c.Issuer, "issuer", "", "`URL` of the issuer, as its tokens spell it")
	flags.StringVar(&c.Subject, "subject", "", "`SUBJECT` of the tokens, to the letter")
	flags.StringVar(&expression, "matching", "", "`EXPRESSION` that the tokens' claims must match")
	flags.StringVar(&audience, "audience", exchangeAudience, "`AUDIENCE` of the tokens")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case c.Name == "" || c.Issuer == "":
			return command.Usagef("--name and --issuer are required")
		case (c.Subject == "") == (expression == ""):
			return command.Usagef("one of --subject and --matching is required")
		}
		return nil
	}
	return a.build(cmd, func(ctx context.Context, g *graphClient, args []string) (any, func(io.Writer) error, error) {
		if expression != "" {
			c.Expression = &claimsExpression{Value: expression, Language: 1}
		}
		c.Audiences = []string{audience}
		app, err := g.find(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		var made federatedCredential
		err = g.do(ctx, http.MethodPost, "/beta/applications/"+app.ObjectID+"/federatedIdentityCredentials", c, &made)
		return made, sentence("The application %s trusts %s by the credential %s.", app.DisplayName, made.Issuer, made.Name), err
	})
}

func newAppCredentialRemove() *cobra.Command {
	var a appCommand
	return a.build(&cobra.Command{
		Use:     "remove APP NAME",
		Short:   "Remove a federated credential",
		Example: `  lanyard app credential remove deployer cluster`,
		Args:    command.Arguments("APP", "NAME"),
	}, func(ctx context.Context, g *graphClient, args []string) (any, func(io.Writer) error, error) {
		app, err := g.find(ctx, args[0])
		if err != nil {
			return nil, nil, err
		}
		return map[string]string{"removed": args[1]}, sentence("Removed the federated credential %s.", args[1]),
			g.do(ctx, http.MethodDelete, "/v1.0/applications/"+app.ObjectID+"/federatedIdentityCredentials/"+url.PathEscape(args[1]), nil, nil)
	})
}
