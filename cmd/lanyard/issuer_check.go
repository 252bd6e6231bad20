package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/issuer"
	"github.com/lanyard-id/lanyard/internal/server"
	"github.com/lanyard-id/lanyard/internal/token"
)

// issuerTrust is how an issuer is reached: as a cloud would with the same flags.
// An issuer of the cloud's own is reached through its environment file.
type issuerTrust struct {
	where environmentFlags
	allow []string
	ca    string
}

func (t *issuerTrust) add(cmd *cobra.Command) {
	t.where.add(cmd)
	cmd.Flags().StringArrayVar(&t.allow, "issuer-allow", nil, "address range, as `CIDR`, in which the issuer may lie though it is not public (repeatable)")
	cmd.Flags().StringVar(&t.ca, "issuer-ca", "", "PEM `FILE` of authorities for issuers, beside the system's")
}

// inspect reads what the issuer publishes. own says that it is the cloud's own.
func (t *issuerTrust) inspect(ctx context.Context, url string) (i *token.Inspection, own bool, err error) {
	cfg := token.InspectConfig{}
	if cfg.Allow, cfg.CAs, err = server.IssuerTrust(t.allow, t.ca); err != nil {
		return nil, false, err
	}
	env, _, err := t.where.load()
	switch {
	case err != nil && (t.where.envFile != "" || t.where.data != ""):
		return nil, false, err // the one that was asked for
	case err == nil && strings.HasPrefix(url, env.Endpoints.OIDC+"/"):
		if cfg.Client, err = env.Client(); err != nil {
			return nil, false, err
		}
	}
	return token.Inspect(ctx, cfg, url), cfg.Client != nil, nil
}

// issuerCheck is what `lanyard issuer check` is told.
type issuerCheck struct {
	trust     issuerTrust
	cluster   clusterFlags
	isCluster bool
	account   string
	out       command.Output
}

func newIssuerCheck() *cobra.Command {
	var f issuerCheck
	cmd := &cobra.Command{
		Use:   "check [URL]",
		Short: "Say what is wrong with an issuer, and how to mend it",
		Long: `Do what Entra and Lanyard do with an issuer when a workload brings a token: read its
discovery document and its keys, within the same limits and by the same rules. Say
what is wrong, or soon will be, and how it is mended. The exit code is 1 when tokens
would be refused.

With --cluster (or --kubeconfig, --context) the API server is asked too: whether its
issuer is this one, which is the default, whether every key by which it accepts
tokens is published, and whether a token that it issues now verifies.

Private addresses and authorities of your own are refused unless --issuer-allow and
--issuer-ca name them, as those flags of the cloud do. Issuers that a Lanyard assigns
(https://oidc.D/...) are read through its environment file.`,
		Example: `  lanyard issuer check https://oidc.example.com/prod

  # The cluster of the current context
  lanyard issuer check --cluster

  lanyard issuer check https://oidc.internal.example --issuer-allow 10.0.0.0/8 --issuer-ca ca.pem -o json`,
		Args: command.Arguments("[URL]"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cmd.Flags().BoolVar(&f.isCluster, "cluster", false, "ask a cluster's API server too")
	f.cluster.add(cmd)
	addServiceAccount(cmd, &f.account)
	f.trust.add(cmd)
	f.out.Add(cmd)
	return cmd
}

func addServiceAccount(cmd *cobra.Command, account *string) {
	cmd.Flags().StringVar(account, "service-account", "default/default", "service account to ask the cluster for a token of, `NAMESPACE/NAME`")
}

func (f *issuerCheck) run(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	f.isCluster = f.isCluster || f.cluster.kubeconfig != "" || f.cluster.context != ""
	url := ""
	switch {
	case len(args) == 1:
		url = args[0]
	case !f.isCluster:
		return command.Usagef("say which issuer: its URL, or --cluster")
	}
	if _, _, err := splitServiceAccount(f.account); err != nil {
		return command.UsageError{Err: err}
	}
	var facts issuer.ClusterFacts
	if f.isCluster {
		var err error
		if facts, err = f.askCluster(ctx); err != nil {
			return err
		}
		if url == "" {
			url = facts.Issuer
		}
	}
	i, own, err := f.trust.inspect(ctx, url)
	if err != nil {
		return err
	}
	findings := issuer.Judge(i, own, time.Now())
	if f.isCluster {
		findings = append(findings, issuer.JudgeCluster(i, facts)...)
	}
	failed := issuer.Failed(findings)
	if f.out.JSON() {
		err = command.PrintJSON(cmd.OutOrStdout(), map[string]any{"issuer": url, "usable": !failed, "keyIds": append([]string{}, i.KeyIDs()...), "findings": findings})
	} else {
		err = printFindings(cmd.OutOrStdout(), findings)
	}
	if err == nil && failed {
		err = command.ExitError(command.ExitFailure) // the findings say all there is
	}
	return err
}

func printFindings(w io.Writer, findings []issuer.Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-8s %s: %s\n", f.Severity, f.Check, f.Message); err != nil {
			return err
		}
		if f.Mend != "" {
			fmt.Fprintf(w, "%-8s %s\n", "", f.Mend)
		}
	}
	return nil
}

// askCluster asks the API server for its issuer, its keys and a token.
func (f *issuerCheck) askCluster(ctx context.Context) (issuer.ClusterFacts, error) {
	var facts issuer.ClusterFacts
	c, err := f.cluster.connect()
	if err != nil {
		return facts, err
	}
	is, err := c.Issuer(ctx)
	if err != nil {
		return facts, err
	}
	facts.Issuer = is.URL
	if facts.Keys, err = token.ParseKeySet(is.JWKS); err != nil {
		return facts, fmt.Errorf("the API server's keys: %w", err)
	}
	facts.Token, facts.TokenErr = askToken(ctx, c, f.account)
	return facts, nil
}

// askToken asks for a short token of a service account, NAMESPACE/NAME. It is
// verified and forgotten.
func askToken(ctx context.Context, c *attach.Cluster, account string) (*token.Assertion, error) {
	namespace, name, err := splitServiceAccount(account)
	if err != nil {
		return nil, command.UsageError{Err: err}
	}
	raw, err := c.ServiceAccountToken(ctx, namespace, name, exchangeAudience, 10*time.Minute)
	if err != nil {
		return nil, err
	}
	a, err := token.ParseAssertion(raw)
	if err != nil {
		return nil, fmt.Errorf("the API server's token: %w", err)
	}
	return a, nil
}
