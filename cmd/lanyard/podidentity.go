package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/migration"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// newPodIdentity makes `lanyard podidentity`.
func newPodIdentity() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "podidentity", GroupID: "kubernetes", Short: "Move from AAD pod identity to workload identity"})
	cmd.Aliases = []string{"pi"}
	cmd.Long = `Find what uses AAD pod identity (AzureIdentity, AzureIdentityBinding) in a
Kubernetes cluster, and move it to workload identity.`
	cmd.Example = `  lanyard podidentity detect --namespace shop --output-dir ./shop`
	cmd.AddCommand(newPodIdentityDetect())
	return cmd
}

// detectFlags are azwi's, by its names, and more.
type detectFlags struct {
	cluster clusterFlags
	out     command.Output

	namespace, dir, tenant string
	all, namespaced, force bool
	port                   int32
	expiration             time.Duration
	expires                bool // the expiration was given
	defaults               []string
}

func newPodIdentityDetect() *cobra.Command {
	f := &detectFlags{}
	cmd := &cobra.Command{
		Use:   "detect",
		Short: "Find what uses pod identity, and write the manifests that move it",
		Long: `Find the workloads of a cluster whose pods have an identity by AAD pod identity: say
for each which one, by which binding, and whether it can be moved to workload identity.
With --output-dir, write for each that can two manifests: NAME-serviceaccount.yaml, its
service account with the identity's client ID, and NAME.yaml, the workload with the label
and annotations by which the webhook gives its pods the identity and a token proxy, so
that programs go on asking the metadata service. The commands that are left to do are
printed with it.

The cluster is only read. A file that somebody has edited is not written over without
--force. A workload that runs as the service account default gets one of its own name.
What cannot be moved is said with the reason, and nothing is written for it.`,
		Example: `  # What there is, in all namespaces
  lanyard podidentity detect --all-namespaces

  # The manifests of one
  lanyard podidentity detect --namespace shop --output-dir ./shop

  # A workload with several identities: the one for requests that name none
  lanyard podidentity detect --namespace shop --output-dir ./shop --default-identity orders`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.namespace, "namespace", "default", "`NAMESPACE` to look in")
	flags.BoolVarP(&f.all, "all-namespaces", "A", false, "look in all namespaces; the manifests of each get a directory of its name")
	flags.StringVar(&f.dir, "output-dir", "", "write the manifests to `DIR` (default write none)")
	flags.BoolVar(&f.force, "force", false, "write over files that were edited, or are somebody else's")
	flags.Int32VarP(&f.port, "proxy-port", "p", workloadidentity.DefaultProxyPort, "`PORT` of the token proxy in pods")
	flags.DurationVar(&f.expiration, "service-account-token-expiration", workloadidentity.DefaultExpiration*time.Second, "how long tokens of the service accounts last, from 1h to 24h (an existing one keeps its own unless this is given)")
	flags.StringVar(&f.tenant, "tenant-id", "", "tenant `ID` of the identities, for the service accounts (default the webhook's; a service principal's own)")
	flags.BoolVar(&f.namespaced, "force-namespaced", true, "pods have identities of their own namespace alone, as on AKS; false where pod identity runs without --forceNamespaced")
	flags.StringSliceVar(&f.defaults, "default-identity", nil, "`NAMES` of AzureIdentities: of several that a workload has, the one for requests that name none")
	f.cluster.add(cmd)
	f.out.Add(cmd)
	_ = cmd.MarkFlagDirname("output-dir") // it was added above
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok && bad.GetFlag().Name == "output" {
			err = fmt.Errorf("%w; the directory for the manifests is --output-dir", err)
		}
		return cmd.Parent().FlagErrorFunc()(cmd, err)
	})
	return cmd
}

// check says what is wrong with the command line.
func (f *detectFlags) check(cmd *cobra.Command) error {
	f.expires = cmd.Flags().Changed("service-account-token-expiration")
	switch {
	case f.all && cmd.Flags().Changed("namespace"):
		return errors.New("--all-namespaces excludes --namespace")
	case !f.all && !namespaceName.MatchString(f.namespace):
		return fmt.Errorf("--namespace %q is no name of a namespace", f.namespace)
	case f.port < 1 || f.port > 65535:
		return fmt.Errorf("--proxy-port %d is no port: it is from 1 to 65535", f.port)
	case f.force && f.dir == "":
		return errors.New("--force is for the files of --output-dir")
	case f.tenant != "" && !azure.IsGUID(f.tenant):
		return fmt.Errorf("--tenant-id %q is no GUID", f.tenant)
	}
	return checkExpiration(f.expires, f.expiration)
}

func (f *detectFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return command.UsageError{Err: err}
	}
	k, err := f.cluster.connect()
	if err != nil {
		return err
	}
	plan, err := f.plan(cmd.Context(), k)
	if err != nil {
		return err
	}
	report := detectReport{UnusedIdentities: plan.UnusedIdentities, UnusedBindings: plan.UnusedBindings, Workloads: []detectedWorkload{}}
	var written []manifestFile
	if f.dir != "" {
		if written, err = f.write(plan); err != nil {
			return err
		}
	}
	for _, w := range plan.Workloads {
		report.Workloads = append(report.Workloads, f.detected(w, written))
	}
	if f.out.JSON() {
		return command.PrintJSON(cmd.OutOrStdout(), report)
	}
	f.print(cmd.OutOrStdout(), report)
	return nil
}

// plan reads the cluster and makes the plan.
func (f *detectFlags) plan(ctx context.Context, k *attach.Cluster) (migration.Plan, error) {
	namespace := f.namespace
	if f.all {
		namespace = ""
	}
	read, err := migration.Read(ctx, k, namespace, f.namespaced)
	if err != nil {
		return migration.Plan{}, err
	}
	options := migration.Options{
		Namespaced: f.namespaced, Partial: !f.all && !f.namespaced,
		DefaultIdentities: f.defaults, ProxyPort: int(f.port), TenantID: f.tenant,
	}
	if f.expires {
		options.ExpirationSeconds = int64(f.expiration / time.Second)
	}
	return migration.New(read, options), nil
}

// detectReport is what the command shows as JSON.
type detectReport struct {
	Workloads        []detectedWorkload `json:"workloads"`
	UnusedIdentities []migration.Unused `json:"unusedIdentities"`
	UnusedBindings   []migration.Unused `json:"unusedBindings"`
}

// detectedWorkload is a workload with what is to be done for it.
type detectedWorkload struct {
	migration.Workload
	Subject string         `json:"subject,omitempty"`
	Files   []manifestFile `json:"files"`
	// Commands are to be run in this order.
	Commands []string `json:"commands"`
}

// detected adds what is to be done to a workload: each of its identities is to trust
// its service account, and then the manifests are to be applied.
func (f *detectFlags) detected(w migration.Workload, written []manifestFile) detectedWorkload {
	d := detectedWorkload{Workload: w, Files: []manifestFile{}, Commands: []string{}}
	if w.ServiceAccount != "" {
		d.Subject = w.Subject()
	}
	if w.State != migration.Move {
		return d
	}
	for _, id := range w.Identities {
		if !id.Application() || azure.IsGUID(id.ClientID) {
			d.Commands = append(d.Commands, f.trustCommand(w, id))
		}
	}
	for _, file := range written {
		if !file.of(w) {
			continue
		}
		d.Files = append(d.Files, file)
		verb := []string{"apply"}
		if file.Replace {
			verb = []string{"replace", "--force"}
		}
		d.Commands = append(d.Commands, commandLine("kubectl", verb, f.cluster.arguments(), []string{"-f", file.Path}))
	}
	return d
}

// trustCommand is the one that lets an identity trust a workload's service account: a
// managed identity by its resource ID, a service principal by its application's client
// ID.
func (f *detectFlags) trustCommand(w migration.Workload, id migration.Identity) string {
	account := []string{"--service-account-namespace", w.Namespace, "--service-account-name", w.ServiceAccount}
	identity := []string{"--managed-identity", id.ResourceID}
	if id.Application() {
		identity = []string{"--aad-application-client-id", id.ClientID}
	}
	return commandLine("lanyard", []string{"serviceaccount", "create", "phase", "federated-identity"}, account, identity, f.cluster.arguments())
}

// commandLine writes a command as it can be pasted into a shell, whatever names
// people have given to things.
func commandLine(program string, arguments ...[]string) string {
	words := []string{program}
	for _, list := range arguments {
		for _, word := range list {
			words = append(words, shellWord(word))
		}
	}
	return strings.Join(words, " ")
}

// print writes the report for people.
func (f *detectFlags) print(w io.Writer, r detectReport) {
	where := "namespace " + f.namespace
	if f.all {
		where = "any namespace"
	}
	if len(r.Workloads)+len(r.UnusedIdentities)+len(r.UnusedBindings) == 0 {
		fmt.Fprintf(w, "Nothing uses AAD pod identity in %s.\n", where)
		return
	}
	count := map[migration.State]int{}
	for _, d := range r.Workloads {
		count[d.State]++
		d.print(w)
	}
	for _, u := range r.UnusedBindings {
		fmt.Fprintf(w, "AzureIdentityBinding %s/%s: unused: %s\n", u.Namespace, u.Name, u.Reason)
	}
	for _, u := range r.UnusedIdentities {
		fmt.Fprintf(w, "AzureIdentity %s/%s: unused: %s\n", u.Namespace, u.Name, u.Reason)
	}
	fmt.Fprintf(w, "\n%d to move, %d moved, %d blocked, %d left to their nodes' identities.\n",
		count[migration.Move], count[migration.Moved], count[migration.Blocked], count[migration.Excepted])
	if count[migration.Move] == 0 {
		return
	}
	if f.dir == "" {
		fmt.Fprintln(w, "No manifests were written: --output-dir says where to.")
		return
	}
	fmt.Fprintln(w, "The workload identity webhook is to be in the cluster: lanyard attach puts it there. Then read the manifests, and\n"+
		"run the commands of each workload in their order. When all is moved, pod identity can go.")
}

// print writes a workload for people.
func (d *detectedWorkload) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", d.Workload.String(), d.State)
	line := func(name, text string) { fmt.Fprintf(w, "  %-16s %s\n", name, text) }
	line("identity", d.Reason)
	for _, id := range d.Identities {
		line("", fmt.Sprintf("%s: %s, client ID %q", id.Name, id.Type, id.ClientID))
	}
	for _, pod := range d.Pods {
		text := pod.Name
		if pod.Reason != d.Reason {
			text += ": " + pod.Reason
		}
		line("pod", text)
	}
	if d.ServiceAccount != "" {
		text := d.ServiceAccount
		if d.NewServiceAccount {
			text += " (new)"
		}
		line("service account", text)
	}
	for _, text := range d.Problems {
		line("problem", text)
	}
	for _, text := range d.Warnings {
		line("warning", text)
	}
	for _, file := range d.Files {
		line("file", file.Path+" ("+file.Outcome+")")
	}
	for _, command := range d.Commands {
		line("run", command)
	}
}
