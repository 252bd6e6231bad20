package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/issuer"
	"github.com/lanyard-id/lanyard/internal/token"
)

// newIssuer makes `lanyard issuer`.
func newIssuer() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "issuer", GroupID: "kubernetes", Short: "Publish, rotate and check the issuer of a cluster's tokens"})
	cmd.Long = `Work on the issuer of a Kubernetes cluster: the URL in the tokens of its service
accounts, at which Entra and Lanyard read the keys that verify them.

publish and rotate are for self-managed clusters, whose operator keeps the keys
and gives flags to API servers; check is for every issuer.`
	cmd.Example = `  # Why is a workload's token refused?
  lanyard issuer check --cluster

  # What a web server or a storage container serves
  lanyard issuer publish --issuer https://oidc.example.com/prod --public-keys sa.pub --output-dir site`
	cmd.AddCommand(newIssuerPublish(), newIssuerRotate(), newIssuerCheck())
	return cmd
}

// sourceFlags say where the documents of an issuer come from.
type sourceFlags struct {
	cluster   clusterFlags
	isCluster bool
	files     []string
	url, dir  string
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.files, "public-keys", nil, "PEM `FILES` of keys, separated by commas; with --issuer")
	flags.StringVar(&f.url, "issuer", "", "the issuer's `URL`, --service-account-issuer of the API server")
	flags.StringVar(&f.dir, "key-dir", "", "key directory `DIR` that lanyard issuer rotate keeps")
	flags.BoolVar(&f.isCluster, "cluster", false, "read issuer and keys from a cluster's API server")
	f.cluster.add(cmd)
}

// check says what is wrong with the flags, before anything is read.
func (f *sourceFlags) check() error {
	f.isCluster = f.isCluster || f.cluster.kubeconfig != "" || f.cluster.context != ""
	given := 0
	for _, is := range []bool{len(f.files) > 0, f.dir != "", f.isCluster} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return command.Usagef("say where the keys are: one of --public-keys, --key-dir and --cluster")
	case len(f.files) > 0 && f.url == "":
		return command.Usagef("--public-keys needs --issuer, the URL at which the documents will be")
	case len(f.files) == 0 && f.url != "":
		return command.Usagef("--issuer is for --public-keys: a key directory and a cluster know their own")
	}
	return nil
}

// open gives the documents' source. What is to be known of keys goes to stderr
// once.
func (f *sourceFlags) open(stderr io.Writer) (issuer.Source, error) {
	switch {
	case f.dir != "":
		d, err := issuer.Open(f.dir, nil)
		if err != nil {
			return nil, err
		}
		return func(context.Context) (issuer.Documents, error) { return d.Documents() }, nil
	case f.isCluster:
		c, err := f.cluster.connect()
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (issuer.Documents, error) {
			is, err := c.Issuer(ctx)
			if err != nil {
				return issuer.Documents{}, err
			}
			keys, err := token.ParseKeySet(is.JWKS)
			if err != nil {
				return issuer.Documents{}, fmt.Errorf("the API server's keys: %w", err)
			}
			return issuer.NewDocuments(is.URL, keys)
		}, nil
	}
	return func(context.Context) (issuer.Documents, error) {
		keys, err := readPublicKeys(f.files, stderr)
		stderr = io.Discard
		if err != nil {
			return issuer.Documents{}, err
		}
		return issuer.NewDocuments(f.url, keys)
	}, nil
}

// issuerPublish is what `lanyard issuer publish` is told.
type issuerPublish struct {
	source  sourceFlags
	folder  string
	prune   bool
	serving issuerServing
	out     command.Output
}

func newIssuerPublish() *cobra.Command {
	var f issuerPublish
	cmd := &cobra.Command{
		Use:   "publish (--output-dir DIR | --serve HOST:PORT)",
		Short: "Publish an issuer's discovery document and keys",
		Long: `Publish the two documents of an issuer: .well-known/openid-configuration and
openid/v1/jwks, from the files of its public keys, from a key directory, or as a
cluster's API server has them.

--output-dir writes them for a web server or a storage container that serves the
folder at the issuer's URL, over https and for everybody. Each file is replaced at
once. Keys that the folder publishes already are not taken away unless --prune
says so: tokens that they signed would be refused.

--serve serves them itself, at the paths of the issuer's URL, until it is told to
stop. The sources are read again every two seconds, and so is the certificate when
its files change.`,
		Example: `  lanyard issuer publish --issuer https://oidc.example.com/prod --public-keys sa.pub --output-dir site

  # What the API server says, as somebody who may read it
  lanyard issuer publish --cluster --output-dir site

  # A rotation's keys, served: a new one shows by itself
  lanyard issuer publish --key-dir keys --serve :8443 --tls-cert-file tls.crt --tls-private-key-file tls.key`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.source.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.folder, "output-dir", "", "folder `DIR` to write the documents below")
	flags.BoolVar(&f.prune, "prune", false, "take away published keys that are not among those given")
	f.serving.add(cmd)
	f.out.Add(cmd)
	return cmd
}

func (f *issuerPublish) run(cmd *cobra.Command) error {
	switch {
	case (f.folder == "") == (f.serving.listen == ""):
		return command.Usagef("one of --output-dir and --serve is required")
	case f.prune && f.folder == "":
		return command.Usagef("--prune is for --output-dir")
	}
	if err := errors.Join(f.source.check(), f.serving.check()); err != nil {
		return command.UsageError{Err: err}
	}
	source, err := f.source.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.serving.listen != "" {
		return f.serving.run(cmd, source, f.out)
	}
	d, err := source(cmd.Context())
	if err != nil {
		return err
	}
	p, err := d.Publish(f.folder, f.prune)
	if _, ok := errors.AsType[*issuer.RemovedKeysError](err); ok {
		return fmt.Errorf("%w: give them too, or --prune when their last tokens have ended", err)
	}
	if err != nil {
		return err
	}
	if f.out.JSON() {
		return command.PrintJSON(cmd.OutOrStdout(), struct {
			Issuer string `json:"issuer"`
			issuer.Publication
		}{d.Issuer, p})
	}
	tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "Issuer\t%s\nDiscovery document\t%s\nKeys\t%s\n", d.Issuer, p.DiscoveryFile, p.KeySetFile)
	for _, list := range []struct {
		word string
		ids  []string
	}{{"Added", p.Added}, {"Kept", p.Kept}, {"Removed", p.Removed}} {
		if len(list.ids) > 0 {
			fmt.Fprintf(tw, "%s\t%s\n", list.word, strings.Join(list.ids, ", "))
		}
	}
	return tw.Flush()
}
