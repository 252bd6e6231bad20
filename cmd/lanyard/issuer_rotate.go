package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/issuer"
)

// newIssuerRotate makes `lanyard issuer rotate`.
func newIssuerRotate() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "rotate", Short: "Replace the key by which a self-managed cluster signs tokens"})
	cmd.Long = `Replace the key by which the API servers of a self-managed cluster sign the tokens
of service accounts, without a refused request. The keys and the state of the
rotation are kept in a directory (--key-dir), which the steps are taken on:

  init      begin: adopt the cluster's keys, or make the first one
  prepare   make a new key. It is to be published, and accepted by API servers
  activate  API servers are to sign with it; the former key's tokens still count
  confirm   they all do: no token by the former key is made any more
  retire    take the former key away, once the last of its tokens has ended

No step can be taken out of turn or too early. Each says which flags API servers
need then; they read them when they start. Publish the keys after every step that
changes them, by "lanyard issuer publish --key-dir", which can also serve them and
then follows by itself.

Tokens that a workload has projected for Entra last 24 hours at most. Others may
last longer, and are what --max-token-lifetime is for: an API server issues any
lifetime that is asked for unless --service-account-max-token-expiration limits
it, and gives its own tokens a year while --service-account-extend-token-expiration
is on, as by default. Tokens in Secrets never end: they are signed by the controller
manager's key, and cease to count when that is retired.`
	cmd.Example = `  lanyard issuer rotate init --key-dir keys --issuer https://oidc.example.com/prod \
    --signing-key-file /etc/kubernetes/pki/sa.key
  lanyard issuer rotate prepare --key-dir keys
  lanyard issuer publish --key-dir keys --output-dir site
  lanyard issuer rotate activate --key-dir keys
  lanyard issuer rotate confirm --key-dir keys --kubeconfig admin.conf
  lanyard issuer rotate retire --key-dir keys`
	cmd.AddCommand(newRotateInit(), newRotatePrepare(), newRotateActivate(), newRotateConfirm(), newRotateRetire(), newRotateStatus())
	return cmd
}

// rotateCommand is what the steps have in common.
type rotateCommand struct {
	dir string
	out command.Output
}

// build completes a command; step takes it, and gives a sentence on what it did.
func (r *rotateCommand) build(cmd *cobra.Command, step func(ctx context.Context, d *issuer.Directory, args []string) (issuer.State, string, error)) *cobra.Command {
	if cmd.Args == nil {
		cmd.Args = command.Arguments()
	}
	cmd.Flags().StringVar(&r.dir, "key-dir", "", "directory `DIR` of the keys and the rotation's state")
	r.out.Add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.dir == "" {
			return command.Usagef("--key-dir is required")
		}
		d, err := issuer.Open(r.dir, nil)
		if err != nil {
			return err
		}
		s, done, err := step(cmd.Context(), d, args)
		if err != nil {
			return err
		}
		return r.show(cmd.OutOrStdout(), d, s, done)
	}
	return cmd
}

// rotationShown is what every step shows.
type rotationShown struct {
	Done                    string       `json:"done,omitempty"`
	Issuer                  string       `json:"issuer"`
	LeadSeconds             int64        `json:"leadSeconds"`
	MaxTokenLifetimeSeconds int64        `json:"maxTokenLifetimeSeconds"`
	Keys                    []issuer.Key `json:"keys"`
	Flags                   issuer.Flags `json:"flags"`
	Next                    string       `json:"next"`
	// Strays are files of keys that are none of the rotation's.
	Strays []string `json:"strays"`
}

func (r *rotateCommand) show(w io.Writer, d *issuer.Directory, s issuer.State, done string) error {
	strays, err := d.Strays(s)
	if err != nil {
		return err
	}
	shown := rotationShown{
		Done: done, Issuer: s.Issuer, LeadSeconds: s.LeadSeconds, MaxTokenLifetimeSeconds: s.MaxTokenLifetimeSeconds,
		Keys: s.Keys, Flags: d.Flags(s), Next: s.Next(time.Now()), Strays: append([]string{}, strays...),
	}
	if r.out.JSON() {
		return command.PrintJSON(w, shown)
	}
	if done != "" {
		fmt.Fprintf(w, "%s\n\n", done)
	}
	fmt.Fprintf(w, "Issuer %s\n", s.Issuer)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "KEY\tPHASE\tALGORITHM\tPREPARED\tACTIVATED\tSIGNED UNTIL")
	for _, k := range s.Keys {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Phase, k.Algorithm, when(k.Prepared), when(k.Activated), when(k.LastSigned))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nkube-apiserver\n  %s\nkube-controller-manager\n  %s\n",
		strings.Join(shown.Flags.APIServer, "\n  "), strings.Join(shown.Flags.ControllerManager, "\n  "))
	for _, file := range strays {
		fmt.Fprintf(w, "\n%s is of no key of the rotation: delete it, once no API server is started with it\n", file)
	}
	_, err = fmt.Fprintf(w, "\nNext: %s\n", shown.Next)
	return err
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func newRotateInit() *cobra.Command {
	var r rotateCommand
	var o issuer.InitOptions
	var signing string
	var verification []string
	cmd := &cobra.Command{
		Use:   "init --key-dir DIR --issuer URL",
		Short: "Begin a key directory",
		Long: `Begin a key directory, for a cluster whose keys are adopted (--signing-key-file, and
--service-account-key-file for others that the API server accepts, as its own flags
are called), or for a new one, whose first key is made. Private keys are copied
into the directory with mode 0600.`,
		Example: `  lanyard issuer rotate init --key-dir keys --issuer https://oidc.example.com/prod \
    --signing-key-file /etc/kubernetes/pki/sa.key

  # Tokens that last up to a week
  lanyard issuer rotate init --key-dir keys --issuer https://oidc.example.com/prod --max-token-lifetime 168h`,
		PreRunE: func(*cobra.Command, []string) error {
			switch {
			case o.Issuer == "":
				return command.Usagef("--issuer is required: --service-account-issuer of the API server")
			case o.Lead < 0 || o.Lead%time.Second != 0 || o.MaxTokenLifetime < 0 || o.MaxTokenLifetime%time.Second != 0:
				return command.Usagef("--lead and --max-token-lifetime are whole numbers of seconds, and not negative")
			case o.MaxTokenLifetime != 0 && o.MaxTokenLifetime < 10*time.Minute:
				return command.Usagef("--max-token-lifetime is ten minutes at least, the shortest that an API server issues")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Issuer, "issuer", "", "the issuer's `URL`, --service-account-issuer of the API server")
	flags.StringVar(&signing, "signing-key-file", "", "PEM `FILE` of the private key by which the cluster signs now")
	flags.StringSliceVar(&verification, "service-account-key-file", nil, "PEM `FILES` of other keys by which it accepts tokens, separated by commas")
	flags.DurationVar(&o.Lead, "lead", issuer.DefaultLead, "how long a new key is published before it may sign")
	flags.DurationVar(&o.MaxTokenLifetime, "max-token-lifetime", issuer.DefaultMaxTokenLifetime, "the longest that a token of the issuer lasts")
	addKeySize(cmd, &o.Bits)
	return r.build(cmd, func(_ context.Context, d *issuer.Directory, _ []string) (issuer.State, string, error) {
		for _, f := range []struct {
			files []string
			read  func(text []byte)
		}{
			{files(signing), func(text []byte) { o.SigningKey = text }},
			{verification, func(text []byte) { o.VerificationKeys = append(o.VerificationKeys, text) }},
		} {
			for _, file := range f.files {
				text, err := os.ReadFile(file)
				if err != nil {
					return issuer.State{}, "", fmt.Errorf("reading a key: %w", err)
				}
				f.read(text)
			}
		}
		s, err := d.Init(o)
		return s, "The directory " + d.Path() + " holds the keys of the issuer. Give them to API servers by these flags from now on.", err
	})
}

// files is a list of one file, or of none.
func files(file string) []string {
	if file == "" {
		return nil
	}
	return []string{file}
}

func addKeySize(cmd *cobra.Command, bits *int) {
	cmd.Flags().IntVar(bits, "key-size", 2048, "length of a key that is made, in bits")
	command.Complete(cmd, "key-size", "2048", "3072", "4096")
}

func newRotatePrepare() *cobra.Command {
	var r rotateCommand
	var bits int
	cmd := &cobra.Command{
		Use:   "prepare --key-dir DIR",
		Short: "Make a new key, to be published beside the old",
		Long: `Make a new RSA key. Publish it at once (--lead of init runs from now), and restart
every API server with the flags that are shown: each must accept tokens by it before
one of them signs with it.`,
		Example: `  lanyard issuer rotate prepare --key-dir keys
  lanyard issuer publish --key-dir keys --output-dir site`,
	}
	addKeySize(cmd, &bits)
	return r.build(cmd, func(_ context.Context, d *issuer.Directory, _ []string) (issuer.State, string, error) {
		s, err := d.Prepare(bits)
		k, _ := s.In(issuer.Prepared)
		return s, "The key " + k.ID + " is prepared. Publish the keys, and restart every API server with these flags, so that it accepts tokens by the new key.", err
	})
}

func newRotateActivate() *cobra.Command {
	var r rotateCommand
	var trust issuerTrust
	var unchecked bool
	cmd := &cobra.Command{
		Use:   "activate --key-dir DIR",
		Short: "Let API servers sign with the new key",
		Long: `Make the prepared key the one that signs, once it was published long enough (--lead
of init) and is found at the issuer's URL. Restart every API server with the flags
that are shown, then confirm. The former key stays published.`,
		Example: `  lanyard issuer rotate activate --key-dir keys

  # Where this machine cannot reach the issuer
  lanyard issuer rotate activate --key-dir keys --skip-check`,
	}
	trust.add(cmd)
	cmd.Flags().BoolVar(&unchecked, "skip-check", false, "do not look for the key at the issuer's URL")
	return r.build(cmd, func(ctx context.Context, d *issuer.Directory, _ []string) (issuer.State, string, error) {
		s, err := d.State()
		if err != nil {
			return s, "", err
		}
		if k, ok := s.In(issuer.Prepared); ok && !unchecked {
			if err := trust.published(ctx, s.Issuer, k.ID); err != nil {
				return s, "", err
			}
		}
		s, err = d.Activate()
		k, _ := s.In(issuer.Signing)
		return s, "The key " + k.ID + " is the one that signs. Restart every API server with these flags, then confirm.", err
	})
}

// published sees that the issuer publishes the key.
func (t *issuerTrust) published(ctx context.Context, url, keyID string) error {
	i, _, err := t.inspect(ctx, url)
	if err != nil {
		return err
	}
	const otherwise = "; --skip-check does not look"
	if i.Err != nil {
		return fmt.Errorf("whether the key is published cannot be seen: %w%s", i.Err, otherwise)
	}
	if !slices.Contains(i.KeyIDs(), keyID) {
		return fmt.Errorf("the key %s is not published at %s: publish the keys first%s", keyID, i.KeysURL, otherwise)
	}
	return nil
}

func newRotateConfirm() *cobra.Command {
	var r rotateCommand
	var cluster clusterFlags
	var account string
	cmd := &cobra.Command{
		Use:   "confirm --key-dir DIR",
		Short: "Note that every API server signs with the new key",
		Long: `Note that every API server was started anew and signs with the new key: the time
after which the former one may be retired runs from now. With --kubeconfig or
--context a token is asked of the cluster, and must be signed by the new key. That
is one API server's: of several, you know that all were restarted.`,
		Example: `  lanyard issuer rotate confirm --key-dir keys --kubeconfig /etc/kubernetes/admin.conf`,
	}
	cluster.add(cmd)
	addServiceAccount(cmd, &account)
	return r.build(cmd, func(ctx context.Context, d *issuer.Directory, _ []string) (issuer.State, string, error) {
		s, err := d.State()
		if err != nil {
			return s, "", err
		}
		if k, _ := s.In(issuer.Signing); cluster.kubeconfig != "" || cluster.context != "" {
			if err := signsWith(ctx, &cluster, account, k.ID); err != nil {
				return s, "", err
			}
		}
		s, err = d.Confirm()
		return s, "Confirmed: no token by a replaced key is made any more.", err
	})
}

// signsWith sees that a cluster's new tokens are by the key.
func signsWith(ctx context.Context, f *clusterFlags, account, keyID string) error {
	c, err := f.connect()
	if err != nil {
		return err
	}
	a, err := askToken(ctx, c, account)
	if err != nil {
		return err
	}
	if a.KeyID != keyID {
		return fmt.Errorf("the API server at %s signs with the key %s, not with %s: restart every API server with the flags that `lanyard issuer rotate status` shows", c.Server(), a.KeyID, keyID)
	}
	return nil
}

func newRotateRetire() *cobra.Command {
	var r rotateCommand
	var force bool
	cmd := &cobra.Command{
		Use:   "retire [KEY] --key-dir DIR",
		Short: "Take away the keys of which no token can be good any more",
		Long: `Take away the replaced keys whose last tokens have ended (--max-token-lifetime of
init, from when it was confirmed), or the one of that kid. Their private halves are
deleted. Publish the keys, and restart API servers with the flags that are shown, in
this order or the other; the public files can be deleted when that is done.

A prepared key that is not to be used is retired by its kid, at any time.

--force takes replaced keys at once, for when others may know one: all tokens by
it are refused from then on, and pods get new ones when the kubelet asks next.`,
		Example: `  lanyard issuer rotate retire --key-dir keys
  lanyard issuer publish --key-dir keys --output-dir site --prune`,
		Args: command.Arguments("[KEY-ID]"),
	}
	cmd.Flags().BoolVar(&force, "force", false, "at once, though its tokens may still be good")
	return r.build(cmd, func(_ context.Context, d *issuer.Directory, args []string) (issuer.State, string, error) {
		id := ""
		if len(args) == 1 {
			id = args[0]
		}
		s, gone, err := d.Retire(id, force)
		if _, ok := errors.AsType[*issuer.TooEarlyError](err); ok {
			err = fmt.Errorf("%w; --force is for a key that others may know", err)
		}
		ids := make([]string, len(gone))
		for i, k := range gone {
			ids[i] = k.ID
		}
		return s, "Retired: " + strings.Join(ids, ", ") + ". Publish the keys, and restart API servers with these flags.", err
	})
}

func newRotateStatus() *cobra.Command {
	var r rotateCommand
	return r.build(&cobra.Command{
		Use:     "status --key-dir DIR",
		Short:   "Show the keys, the flags they need, and what comes next",
		Example: `  lanyard issuer rotate status --key-dir keys -o json`,
	}, func(_ context.Context, d *issuer.Directory, _ []string) (issuer.State, string, error) {
		s, err := d.State()
		return s, "", err
	})
}
