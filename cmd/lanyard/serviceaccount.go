package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// newServiceAccount makes `lanyard serviceaccount`.
func newServiceAccount() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "serviceaccount", GroupID: "kubernetes", Short: "Give a Kubernetes service account an identity"})
	cmd.Aliases = []string{"sa"}
	cmd.Long = `Give a service account of a Kubernetes cluster an identity in the cloud of the
environment file, or take it away: the phases, flags and derived names are azwi's.
The identity is an application, or with --managed-identity a user-assigned managed
identity.`
	cmd.Example = `  lanyard serviceaccount create --service-account-namespace shop --service-account-name web \
    --managed-identity orders --resource-group shop --skip-phases role-assignment
  lanyard serviceaccount delete --service-account-namespace shop --service-account-name web \
    --managed-identity orders --resource-group shop`
	cmd.AddCommand(newServiceAccountCreate(), newServiceAccountDelete())
	return cmd
}

// accountFlags are azwi's, by its names, and those for managed identities.
type accountFlags struct {
	where   environmentFlags
	cluster clusterFlags
	out     command.Output

	namespace, name, issuer           string
	expiration                        time.Duration
	appName, appClientID, appObjectID string
	principalName, principalObjectID  string
	role, scope, assignmentID         string
	identity, group, location         string
	subscription                      string
	overwrite, keepAccount, dryRun    bool
	skip                              []string
	// expires says that the expiration was given.
	expires bool
}

func (f *accountFlags) addCommon(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "service-account-name", "", "`NAME` of the service account")
	flags.StringVar(&f.namespace, "service-account-namespace", "default", "`NAMESPACE` of the service account")
	flags.StringVar(&f.issuer, "service-account-issuer-url", "", "`URL` of the issuer (default that of the cluster)")
	flags.StringVar(&f.appName, "aad-application-name", "", "`NAME` of the application (default NAMESPACE-NAME-HASH, with a hash of the issuer)")
	flags.StringVar(&f.appObjectID, "aad-application-object-id", "", "object `ID` of an application that is there")
	flags.StringVar(&f.role, "azure-role", "", "`ROLE`: its name, GUID or resource ID")
	flags.StringVar(&f.scope, "azure-scope", "", "`SCOPE` of the role assignment: a resource ID")
	flags.StringVar(&f.identity, "managed-identity", "", "user-assigned identity in place of an application: its `NAME` or resource ID")
	flags.StringVarP(&f.group, "resource-group", "g", "", "resource group of the managed identity")
	flags.StringVarP(&f.subscription, "subscription-id", "s", "", "subscription `ID` of the managed identity (default that of the environment file)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.where.add(cmd)
	f.cluster.add(cmd)
	f.out.Add(cmd)
	for _, name := range azureFlags {
		flags.String(name, "", "of azwi, for Azure")
		_ = flags.MarkHidden(name) // it was added a line above
	}
}

// azureFlags are those by which azwi signs in to Azure.
var azureFlags = []string{"azure-env", "auth-method", "client-id", "client-secret", "certificate-path", "private-key-path"}

// check says what is wrong with the command line, whatever the phases.
func (f *accountFlags) check(cmd *cobra.Command) error {
	for _, name := range azureFlags {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s is for Azure, and this command is for the cloud of the environment file (--env-file), as the principal in that; azwi is for Azure", name)
		}
	}
	if flag := cmd.Flags().Lookup("service-account-token-expiration"); flag != nil {
		f.expires = flag.Changed
	}
	application := f.appName != "" || f.appClientID != "" || f.appObjectID != "" || f.principalName != "" || f.principalObjectID != ""
	switch {
	case f.identity != "" && application:
		return errors.New("--managed-identity excludes the flags of applications and service principals")
	case f.identity == "" && (f.group != "" || f.location != ""):
		return errors.New("--resource-group and --location are for --managed-identity")
	case strings.HasPrefix(f.identity, "/") && (f.group != "" || f.subscription != ""):
		return errors.New("the resource ID of --managed-identity says it all: leave --resource-group and --subscription-id out")
	case f.appName != "" && (f.appClientID != "" || f.appObjectID != ""):
		return errors.New("--aad-application-name excludes --aad-application-client-id and --aad-application-object-id")
	}
	return checkExpiration(f.expires, f.expiration)
}

// checkExpiration says what is wrong with --service-account-token-expiration, if it
// was given.
func checkExpiration(given bool, d time.Duration) error {
	if given && (d < workloadidentity.MinExpiration*time.Second || d > workloadidentity.MaxExpiration*time.Second || d%time.Second != 0) {
		return errors.New("--service-account-token-expiration is whole seconds, from one hour to 24 hours")
	}
	return nil
}

func newServiceAccountCreate() *cobra.Command {
	f := &accountFlags{}
	return accountCommand(&cobra.Command{
		Use:   "create --service-account-name NAME",
		Short: "Give a service account an identity",
		Example: `  # An application, with a role
  lanyard serviceaccount create --service-account-namespace shop --service-account-name web \
    --azure-role "Key Vault Secrets User" --azure-scope /subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop

  # A managed identity, made if it is not there; roles by somebody else
  lanyard sa create --service-account-namespace shop --service-account-name web \
    --managed-identity orders --resource-group shop --skip-phases role-assignment

  # What would be done
  lanyard sa create --service-account-name web --skip-phases ra --dry-run`,
	}, f, f.addCreate, createPhases(), `Give a service account an identity, by these phases, in this order:

%s
Each finds what is done already. A service account that is there keeps its other
labels and annotations; one that has another identity is left alone without
--overwrite. When a phase fails, the command fails, and says what was done.`)
}

func (f *accountFlags) addCreate(cmd *cobra.Command) {
	f.addCommon(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&f.expiration, "service-account-token-expiration", workloadidentity.DefaultExpiration*time.Second, "how long its tokens last, from 1h to 24h")
	flags.StringVar(&f.appClientID, "aad-application-client-id", "", "client `ID` of an application that is there")
	flags.StringVar(&f.principalName, "service-principal-name", "", "`NAME` of the service principal that gets the role (default the application's)")
	flags.StringVar(&f.principalObjectID, "service-principal-object-id", "", "object `ID` of the service principal that gets the role (default the application's)")
	flags.StringVar(&f.location, "location", "", "`LOCATION` of a managed identity that is made (default that of the resource group)")
	flags.BoolVar(&f.overwrite, "overwrite", false, "give the service account this identity though it has another")
}

func newServiceAccountDelete() *cobra.Command {
	f := &accountFlags{}
	return accountCommand(&cobra.Command{
		Use:   "delete --service-account-name NAME",
		Short: "Take a service account's identity away",
		Example: `  lanyard serviceaccount delete --service-account-namespace shop --service-account-name web

  # The identity stays, and so does the service account, without it
  lanyard sa delete --service-account-namespace shop --service-account-name web \
    --managed-identity orders --resource-group shop --skip-phases role-assignment,aad-application --keep-service-account`,
	}, f, f.addDelete, deletePhases(), `Take away what create has made, by these phases, in this order:

%s
What is not there any more is no error. Of the identity's role assignments the one of
--role-assignment-id is deleted, or that of --azure-role and --azure-scope; without
them, all of it, since the identity goes too. An identity that has other credentials,
or that machines have, is somebody's: it is not deleted.`)
}

func (f *accountFlags) addDelete(cmd *cobra.Command) {
	f.addCommon(cmd)
	cmd.Flags().StringVar(&f.assignmentID, "role-assignment-id", "", "resource `ID` of the role assignment to delete")
	cmd.Flags().BoolVar(&f.keepAccount, "keep-service-account", false, "leave the service account, without the identity's label and annotations")
}

// accountCommand completes a command of phases, with a command below it that runs
// one phase alone.
func accountCommand(cmd *cobra.Command, f *accountFlags, add func(*cobra.Command), phases []accountPhase, long string) *cobra.Command {
	var table strings.Builder
	for _, p := range phases {
		fmt.Fprintf(&table, "  %-20s %s\n", p.name, p.short)
	}
	cmd.Long = fmt.Sprintf(long, table.String())
	cmd.Args = command.Arguments()
	add(cmd)
	cmd.Flags().StringSliceVar(&f.skip, "skip-phases", nil, "`PHASES` to leave out, separated by commas")
	command.Complete(cmd, "skip-phases", phaseNames(phases)...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd, phases, f.skip) }

	phase := command.Parent(&cobra.Command{Use: "phase", Short: "Run one phase alone"})
	phase.Long = "Run one phase of " + cmd.Name() + " alone."
	phase.Example = "  lanyard serviceaccount " + cmd.Name() + " phase service-account --service-account-name web"
	for _, p := range phases {
		one := &cobra.Command{
			Use: p.name, Aliases: []string{p.alias}, Short: p.short, Args: command.Arguments(),
			Example: "  lanyard serviceaccount " + cmd.Name() + " phase " + p.name + " --service-account-namespace shop --service-account-name web",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return f.run(cmd, []accountPhase{p}, nil)
			},
		}
		add(one)
		phase.AddCommand(one)
	}
	cmd.AddCommand(phase)
	return cmd
}

// accountResult is what the commands show as JSON.
type accountResult struct {
	ServiceAccount string        `json:"serviceAccount,omitempty"`
	Subject        string        `json:"subject,omitempty"`
	Issuer         string        `json:"issuer,omitempty"`
	TenantID       string        `json:"tenantId"`
	ClientID       string        `json:"clientId,omitempty"`
	PrincipalID    string        `json:"principalId,omitempty"`
	DryRun         bool          `json:"dryRun"`
	Steps          []accountStep `json:"steps"`
}

func (f *accountFlags) run(cmd *cobra.Command, all []accountPhase, skip []string) error {
	if err := f.check(cmd); err != nil {
		return command.UsageError{Err: err}
	}
	phases, err := selectPhases(all, skip)
	if err != nil {
		return command.UsageError{Err: err}
	}
	r := &accountRun{accountFlags: f, phases: phaseNames(phases)}
	if err := checkPhases(phases, r); err != nil {
		return err
	}
	if r.env, _, err = f.where.load(); err != nil {
		return err
	}
	defer r.close()
	stdout := cmd.OutOrStdout()
	if f.dryRun && !f.out.JSON() {
		fmt.Fprintln(stdout, "Nothing is done; it would be:")
	}
	steps, failed := runPhases(cmd.Context(), phases, r, f.dryRun, func(s accountStep) {
		if !f.out.JSON() {
			fmt.Fprintf(stdout, "%-20s %-8s %s\n", s.Phase, s.Outcome, s.Resource)
		}
	})
	if f.out.JSON() {
		result := r.result()
		result.Steps = steps
		return errors.Join(command.PrintJSON(stdout, result), failed)
	}
	return failed
}

// runs reports whether a phase is among those of this run.
func (r *accountRun) runs(phase string) bool { return slices.Contains(r.phases, phase) }

// result is what is known at the end.
func (r *accountRun) result() accountResult {
	result := accountResult{
		Issuer: r.issuer, TenantID: r.env.TenantID, ClientID: r.appClientID, DryRun: r.dryRun,
	}
	if r.name != "" {
		result.ServiceAccount, result.Subject = r.namespace+"/"+r.name, r.names("").subject()
	}
	if r.found != nil {
		if facts := r.found.facts(); facts.exists {
			result.ClientID, result.PrincipalID = facts.clientID, facts.principalID
		}
	}
	return result
}

// names are those of the service account with an issuer.
func (f *accountFlags) names(issuer string) accountNames {
	return accountNames{namespace: f.namespace, account: f.name, issuer: issuer}
}

// checkAccount is for the phases that deal with a service account.
func checkAccount(r *accountRun) error { return r.names("").check() }

// checkIdentity is for the phases that deal with the identity alone, which follows
// from the service account unless it is named.
func checkIdentity(r *accountRun) error {
	if r.name == "" && (r.appName != "" || r.appClientID != "" || r.appObjectID != "" || r.accountFlags.identity != "") {
		return nil
	}
	return checkAccount(r)
}

// issuedNames are those of the service account with the issuer of its tokens.
func (r *accountRun) issuedNames(ctx context.Context) (accountNames, error) {
	issuer, err := r.issuerURL(ctx)
	return r.names(issuer), err
}

// issuerURL gives the issuer: the one that was named, or the cluster's.
func (r *accountRun) issuerURL(ctx context.Context) (string, error) {
	if r.issuer != "" {
		return r.issuer, nil
	}
	k, err := r.kubernetes()
	if err != nil {
		return "", fmt.Errorf("the issuer, which is the cluster's unless --service-account-issuer-url names it: %w", err)
	}
	is, err := k.Issuer(ctx)
	if err != nil {
		return "", fmt.Errorf("%w; or name it with --service-account-issuer-url", err)
	}
	r.issuer = is.URL
	return r.issuer, nil
}
