package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// tokenFlags say which token to get.
type tokenFlags struct {
	where                     environmentFlags
	tenant, clientID          string
	secretFile, assertionFile string
	resource, scope           string
	raw                       bool
	out                       command.Output
}

// newToken makes `lanyard token`.
func newToken() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:     "token",
		GroupID: "use",
		Short:   "Get an access token and show what it says",
		Long: `Get an access token from a cloud and show its claims, each with what it means. By
default it is the operator's, for Azure Resource Manager.

Another client proves itself with a secret (--client-secret-file, "-" for standard
input) or with a token of its own issuer, such as a Kubernetes service-account
token (--federated-token-file).

The token itself is printed only with --raw and in the json form: whoever has it
is its principal until it expires.`,
		Example: `  lanyard token
  lanyard token --resource https://vault.azure.net

  # As a workload would
  lanyard token --client-id $CLIENT_ID --federated-token-file /var/run/secrets/token

  # By hand
  curl -H "Authorization: Bearer $(lanyard token --raw)" ...`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.where.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.tenant, "tenant", "", "tenant `ID` or domain (default the environment file's)")
	flags.StringVar(&f.clientID, "client-id", "", "client `ID` (default the operator's)")
	flags.StringVar(&f.secretFile, "client-secret-file", "", "`FILE` with the client's secret, - for standard input")
	flags.StringVar(&f.assertionFile, "federated-token-file", "", "`FILE` with a token of the client's own issuer, - for standard input")
	flags.StringVar(&f.resource, "resource", "", "`URI` of the resource to get a token for (default the cloud's Resource Manager)")
	flags.StringVar(&f.scope, "scope", "", "`SCOPE` in place of --resource, such as https://vault.azure.net/.default")
	flags.BoolVar(&f.raw, "raw", false, "print the token alone")
	f.out.Add(cmd)
	return cmd
}

func (f *tokenFlags) run(cmd *cobra.Command) error {
	switch {
	case f.resource != "" && f.scope != "":
		return command.Usagef("--resource and --scope exclude each other")
	case f.secretFile != "" && f.assertionFile != "":
		return command.Usagef("--client-secret-file and --federated-token-file exclude each other")
	case f.raw && f.out.JSON():
		return command.Usagef("--raw and -o json exclude each other")
	}
	env, _, err := f.where.load()
	if err != nil {
		return err
	}
	req, err := f.request(env, cmd.InOrStdin())
	if err != nil {
		return err
	}
	raw, err := getToken(cmd.Context(), env, req)
	if err != nil {
		return err
	}
	if f.raw {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), raw)
		return err
	}
	t, err := decodeToken(raw)
	if err != nil {
		return err
	}
	if f.out.JSON() {
		return command.PrintJSON(cmd.OutOrStdout(), t)
	}
	return t.print(cmd.OutOrStdout(), time.Now())
}

// request fills in what the flags leave to the environment file.
func (f *tokenFlags) request(env server.Environment, stdin io.Reader) (tokenRequest, error) {
	r := tokenRequest{tenant: f.tenant, clientID: f.clientID, scope: f.scope}
	if r.tenant == "" {
		r.tenant = env.TenantID
	}
	if r.clientID == "" {
		r.clientID = env.Bootstrap.ClientID
	}
	if r.scope == "" {
		resource := f.resource
		if resource == "" {
			resource = env.Endpoints.ResourceManager
		}
		r.scope = resource + "/.default"
	}
	var err error
	switch {
	case f.secretFile != "":
		r.secret, err = readSecret(f.secretFile, stdin)
	case f.assertionFile != "":
		r.assertion, err = readSecret(f.assertionFile, stdin)
	case r.clientID != env.Bootstrap.ClientID:
		err = command.Usagef("client %s needs a proof: --client-secret-file or --federated-token-file", r.clientID)
	case env.Bootstrap.ClientSecret == "":
		err = errors.New("the environment file holds no secret of the operator: take that of the replica which made it, or name a client " +
			"with --client-id and its secret with --client-secret-file")
	default:
		r.secret = env.Bootstrap.ClientSecret
	}
	return r, err
}

// readSecret reads a file, or standard input for "-", without the space around it.
func readSecret(file string, stdin io.Reader) (string, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(stdin, 1<<20))
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(string(b)); text != "" {
		return text, nil
	}
	return "", fmt.Errorf("%s is empty", file)
}

// decodedToken is a token taken apart, not verified: it has just come from the
// service that signed it.
type decodedToken struct {
	AccessToken string         `json:"accessToken"`
	ExpiresOn   time.Time      `json:"expiresOn"`
	Header      map[string]any `json:"header"`
	Claims      map[string]any `json:"claims"`
}

func decodeToken(raw string) (decodedToken, error) {
	t := decodedToken{AccessToken: raw}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return t, errors.New("the token service gave something that is no JWT")
	}
	for i, into := range []*map[string]any{&t.Header, &t.Claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return t, fmt.Errorf("decoding the token: %w", err)
		}
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		if err := d.Decode(into); err != nil {
			return t, fmt.Errorf("decoding the token: %w", err)
		}
	}
	if exp, ok := instant(t.Claims["exp"]); ok {
		t.ExpiresOn = exp
	}
	return t, nil
}

// claimMeanings explain claims in the order in which they are printed; others
// follow by name.
var claimMeanings = []struct{ name, meaning string }{
	{"aud", "for this resource"},
	{"iss", "issued by"},
	{"tid", "tenant"},
	{"oid", "principal: what role assignments name"},
	{"sub", "subject"},
	{"appid", "client"},
	{"azp", "client"},
	{"idtyp", "kind of principal"},
	{"appidacr", "how the client proved itself: 1 a secret, 2 an assertion"},
	{"azpacr", "how the client proved itself: 1 a secret, 2 an assertion"},
	{"xms_mirid", "managed identity"},
	{"groups", "groups"},
	{"roles", "application roles"},
	{"scp", "delegated permissions"},
	{"iat", "issued"},
	{"nbf", "valid from"},
	{"exp", "valid until"},
	{"uti", "the token's name in logs"},
	{"ver", "version of the token"},
}

// print writes the claims for people.
func (t decodedToken) print(w io.Writer, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "CLAIM\tVALUE\tMEANING\n")
	rest := maps.Clone(t.Claims)
	for _, c := range claimMeanings {
		if v, ok := rest[c.name]; ok {
			fmt.Fprintf(tw, "%s\t%s\t%s\n", c.name, claimValue(c.name, v, now), c.meaning)
			delete(rest, c.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		fmt.Fprintf(tw, "%s\t%s\t\n", name, claimValue(name, rest[name], now))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nSigned with %v by the key %v.\n", t.Header["alg"], t.Header["kid"])
	return err
}

// claimValue writes a claim's value: instants as people read them, and how far
// away the end is.
func claimValue(name string, v any, now time.Time) string {
	switch name {
	case "iat", "nbf", "exp":
		at, ok := instant(v)
		if !ok {
			break
		}
		text := at.UTC().Format(time.RFC3339)
		if name == "exp" {
			text += " (in " + at.Sub(now).Round(time.Second).String() + ")"
		}
		return text
	}
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// instant reads a NumericDate.
func instant(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := n.Int64()
	return time.Unix(seconds, 0).UTC(), err == nil
}
