package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/actas"
	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/imds"
	"github.com/lanyard-id/lanyard/internal/proxy"
	"github.com/lanyard-id/lanyard/internal/server"
)

// execFlags say what a program is to run as.
type execFlags struct {
	where    environmentFlags
	identity string
	workload workloadFlags
}

// newExec makes `lanyard exec`.
func newExec() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:     "exec --identity NAME|RESOURCE-ID|CLIENT-ID [flags] -- PROGRAM [ARGUMENT...]",
		GroupID: "use",
		Short:   "Run an unchanged program as a managed identity",
		Long: `Run a program as a user-assigned managed identity, as if it ran on a machine that
has the identity. The program needs no change: Azure's SDKs find a managed
identity endpoint on loopback (the App Service protocol, with a secret made for
this run), a loopback proxy by which the cloud's names resolve while all other
traffic goes where it would have gone, and the cloud's authority beside the
system's. No root, no DNS and no namespaces are needed.

The principal of the environment file needs the right to assign the identity
(Microsoft.ManagedIdentity/userAssignedIdentities/assign/action, as in Managed
Identity Operator); else nothing is run. What the program may do is what roles
say of the identity.

With --service-account the program runs as a Kubernetes workload instead: it gets
a projected service-account token, refreshed in place, and the variables that the
workload identity webhook would set. The token is signed with --signing-key, the
private key of the issuer --issuer, which the cloud must be able to reach; the
identity must trust issuer and subject by a federated credential.

Terminal, signals and exit code are the program's own.`,
		Example: `  lanyard exec --identity orders -- go run ./cmd/orders
  lanyard exec --identity orders -- node server.js

  # Who am I?
  lanyard exec --identity orders -- env

  # As a pod of the service account shop/orders would run
  lanyard exec --identity orders --service-account shop/orders \
    --issuer https://oidc.example.com/cluster --signing-key sa.key -- ./orders`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.identity == "":
				return command.Usagef("--identity is required: a name, a resource ID or a client ID")
			case len(args) == 0:
				return command.Usagef("a program to run is required, after --")
			}
			if err := f.workload.check(); err != nil {
				return command.UsageError{Err: err}
			}
			return f.run(cmd.Context(), args)
		},
	}
	f.where.add(cmd)
	cmd.Flags().StringVar(&f.identity, "identity", "", "the identity: its `NAME`, resource ID or client ID")
	f.workload.add(cmd)
	cmd.Flags().SetInterspersed(false) // what follows the program is the program's
	return cmd
}

// run finds the identity, opens what the program will reach it by, runs the
// program, and closes all of it.
func (f *execFlags) run(ctx context.Context, args []string) error {
	env, _, err := f.where.load()
	if err != nil {
		return err
	}
	client, err := actasClient(env)
	if err != nil {
		return err
	}
	who, err := client.Find(ctx, f.identity)
	if err != nil {
		return fmt.Errorf("finding identity %s: %w", f.identity, err)
	}
	names, err := openProxy(env)
	if err != nil {
		return err
	}
	defer names.Close()
	vars, err := reachVariables(env, names.URL(), os.Getenv)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lanyard-exec-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	java, err := javaVariables(server.BundleFile(env.CAFile), dir, os.Getenv)
	if err != nil {
		return err
	}
	vars = append(vars, java...)
	vars = append(vars, variable{"AZURE_CLIENT_ID", who.ClientID})

	var more []variable
	if f.workload.serviceAccount != "" {
		pod, err := f.workload.project(ctx, dir)
		if err != nil {
			return err
		}
		defer pod.close()
		more = pod.variables()
	} else {
		machine, err := openMachine(ctx, client, who)
		if err != nil {
			return err
		}
		defer machine.close()
		more = machine.variables()
	}
	return runProgram(args, programEnvironment(os.Environ(), append(vars, more...)))
}

// actasClient acts as the operator of the environment file.
func actasClient(env server.Environment) (*actas.Client, error) {
	if env.Bootstrap.ClientSecret == "" {
		return nil, errors.New("the environment file holds no secret of the operator: take that of the replica which made it")
	}
	http, err := env.Client()
	if err != nil {
		return nil, err
	}
	return actas.New(actas.Config{
		HTTP: http, ActiveDirectory: env.Endpoints.ActiveDirectory, ResourceManager: env.Endpoints.ResourceManager,
		TenantID: env.TenantID, SubscriptionID: env.SubscriptionID,
		ClientID: env.Bootstrap.ClientID, ClientSecret: env.Bootstrap.ClientSecret,
	}), nil
}

// openProxy runs a loopback proxy of this run's own, so that the program's
// other traffic goes where this command's environment would have sent it, which
// need not be where the cloud's would.
func openProxy(env server.Environment) (*proxy.Proxy, error) {
	names, err := cloudNames(env)
	if err != nil {
		return nil, err
	}
	p, err := proxy.Listen(proxy.Config{Secret: rand.Text(), Names: names, Target: env.DialAddress()})
	if err != nil {
		return nil, err
	}
	go func() { _ = p.Serve() }() // ends with Close
	return p, nil
}

// machine is the managed identity endpoint that the program finds.
type machine struct {
	listener net.Listener
	server   *http.Server
	secret   string
}

// openMachine gets a first token, so that a caller without the right to it
// hears so before anything runs, and serves the endpoint.
func openMachine(ctx context.Context, client *actas.Client, who actas.Identity) (*machine, error) {
	source := client.Source(who)
	if _, err := source.Token(ctx, imds.Request{Resource: client.ResourceManager()}); err != nil {
		return nil, fmt.Errorf("acting as identity %s: %w", who.Name, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &machine{listener: listener, secret: rand.Text()}
	m.server = &http.Server{
		Handler:           imds.NewAppService(imds.AppServiceConfig{Source: source, Secret: m.secret}),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    32 << 10,
	}
	go func() { _ = m.server.Serve(listener) }() // ends with close
	return m, nil
}

func (m *machine) close() { _ = m.server.Close() }

func (m *machine) variables() []variable {
	return []variable{
		{"IDENTITY_ENDPOINT", "http://" + m.listener.Addr().String() + "/msi/token"},
		{"IDENTITY_HEADER", m.secret},
	}
}

// foreignCredentials are variables by which SDKs would sign in as somebody else
// than the identity, or look for another kind of machine. Those of the caller
// do not reach the program.
var foreignCredentials = []string{
	"AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD",
	"AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS",
	"AZURE_KUBERNETES_TOKEN_PROXY", "AZURE_KUBERNETES_SNI_NAME", "AZURE_KUBERNETES_CA_FILE", "AZURE_KUBERNETES_CA_DATA",
	"AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_REGIONAL_AUTHORITY_NAME",
	"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
	"ARM_CLIENT_ID", "ARM_CLIENT_SECRET", "ARM_OIDC_TOKEN", "ARM_OIDC_TOKEN_FILE_PATH",
	"LANYARD_ENV_FILE",
}

// programEnvironment is the caller's environment with the given variables in
// the place of all others that concern who the program is.
func programEnvironment(environ []string, vars []variable) []string {
	dropped := func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(foreignCredentials, name) ||
			slices.ContainsFunc(vars, func(v variable) bool { return v.name == name })
	}
	out := slices.DeleteFunc(slices.Clone(environ), dropped)
	for _, v := range vars {
		out = append(out, v.name+"="+v.value)
	}
	return out
}
