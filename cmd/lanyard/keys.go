package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
)

// newKeys makes `lanyard keys`.
func newKeys() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "keys", GroupID: "manage", Short: "List and rotate the keys that sign tokens"})
	cmd.Long = `List and rotate the keys by which the tokens of all tenants are signed, as an Owner at
the root of the cloud's first tenant.

A new key is published at once and signs later; the one before stays published,
and its tokens are accepted, until the last of them has ended. No request fails.`
	cmd.Example = `  lanyard keys list
  lanyard keys rotate`
	cmd.AddCommand(newKeysList(), newKeysRotate())
	return cmd
}

// signingKey is a key on the wire.
type signingKey struct {
	Name       string `json:"name"`
	Properties struct {
		State     string    `json:"state"`
		Published time.Time `json:"published"`
		SignsFrom time.Time `json:"signsFrom"`
		RetiresAt time.Time `json:"retiresAt,omitzero"`
	} `json:"properties"`
}

const signingKeysPath = "/providers/Lanyard.Directory/signingKeys" + cloudVersion

func newKeysList() *cobra.Command {
	var a armCommand
	return a.build(&cobra.Command{
		Use:   "list",
		Short: "List the keys that sign tokens",
		Long: `List the keys of which tokens are accepted, the newest first: those that are published
and sign later, the one that signs, and those that were replaced and retire.`,
		Example: `  lanyard keys list`,
		Args:    command.Arguments(),
	}, func(ctx context.Context, c *armClient, _ []string) (any, func(io.Writer) error, error) {
		keys, err := list[signingKey](ctx, c, signingKeysPath)
		return keys, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "KEY\tSTATE\tPUBLISHED\tSIGNS FROM\tRETIRES")
			for _, k := range keys {
				retires := "-"
				if !k.Properties.RetiresAt.IsZero() {
					retires = k.Properties.RetiresAt.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", k.Name, k.Properties.State,
					k.Properties.Published.UTC().Format(time.RFC3339), k.Properties.SignsFrom.UTC().Format(time.RFC3339), retires)
			}
			return tw.Flush()
		}, err
	})
}

func newKeysRotate() *cobra.Command {
	var a armCommand
	var lead time.Duration
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Publish a new key, which signs after a lead",
		Long: `Publish a new key, which signs when the lead has passed. With a lead of a day or more,
every client that reads the keys daily knows the new one before it meets a token
of it; with a shorter one clients rely on their reading the keys again when they
meet an unknown one, as Azure's SDKs and most libraries do.`,
		Example: `  lanyard keys rotate

  # At once: when the store's content may be known to others
  lanyard keys rotate --lead 0`,
		Args: command.Arguments(),
		PreRunE: func(*cobra.Command, []string) error {
			if lead < 0 || lead%time.Second != 0 {
				return command.Usagef("--lead is a whole number of seconds, and not negative")
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&lead, "lead", 24*time.Hour, "how long the key is published before it signs")
	return a.build(cmd, func(ctx context.Context, c *armClient, _ []string) (any, func(io.Writer) error, error) {
		var made signingKey
		err := c.do(ctx, http.MethodPost, signingKeysPath, map[string]int64{"leadTimeSeconds": int64(lead / time.Second)}, &made)
		return made, sentence("The key %s is published, and signs from %s.", made.Name, made.Properties.SignsFrom.UTC().Format(time.RFC3339)), err
	})
}
