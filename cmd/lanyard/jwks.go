package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/token"
)

// newJWKS makes `lanyard jwks`.
func newJWKS() *cobra.Command {
	var files []string
	var file string
	var out command.Output
	cmd := &cobra.Command{
		Use:     "jwks --public-keys FILE[,FILE...]",
		GroupID: "kubernetes",
		Short:   "Make the JWK set of an issuer's public keys",
		Long: `Make the JWK set (JWKS) that a Kubernetes API server publishes for the keys of its
--service-account-key-file: each with the kid that Kubernetes gives it, and RS256,
ES256, ES384 or ES512 by its kind. Entra and Lanyard verify RS256 alone.

A file may hold several keys: public ones, certificates, and private ones, of
which only the public half is taken. No cloud is needed.`,
		Example: `  lanyard jwks --public-keys /etc/kubernetes/pki/sa.pub

  # During a rotation, both keys
  lanyard jwks --public-keys sa.pub,sa-new.pub --output-file jwks.json`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return command.Usagef("--public-keys is required: the files of the issuer's public keys")
			}
			keys, err := readPublicKeys(files, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			set, err := token.EncodeKeySet(keys)
			if err != nil {
				return err
			}
			if file == "" {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", set)
				return err
			}
			if err := atomicfile.Write(file, set, 0o600); err != nil {
				return err
			}
			if !out.JSON() {
				return nil
			}
			ids := []string{}
			for _, key := range keys {
				ids = append(ids, key.ID)
			}
			return command.PrintJSON(cmd.OutOrStdout(), map[string]any{"outputFile": file, "keyIds": ids})
		},
	}
	cmd.Flags().StringSliceVar(&files, "public-keys", nil, "PEM `FILES` of keys, separated by commas")
	cmd.Flags().StringVar(&file, "output-file", "", "write the set to `FILE`, with mode 0600 (default standard output)")
	out.Add(cmd)
	return cmd
}

// readPublicKeys reads the keys of PEM files, and says on stderr what should be
// known of them: that a file holds a private key, or a key is of no use.
func readPublicKeys(files []string, stderr io.Writer) ([]token.VerificationKey, error) {
	var all []token.VerificationKey
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a public key: %w", err)
		}
		keys, private, err := token.ParseVerificationKeys(text)
		if err != nil {
			return nil, fmt.Errorf("the key file %s: %w", file, err)
		}
		if private {
			fmt.Fprintf(stderr, "lanyard: %s holds a private key; only its public half is taken\n", file)
		}
		for _, key := range keys {
			if err := key.Usable(); err != nil {
				fmt.Fprintf(stderr, "lanyard: no token by the key %s of %s is accepted by Entra or Lanyard: %v\n", key.ID, file, err)
			}
		}
		all = append(all, keys...)
	}
	return all, nil
}
