package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
	"github.com/lanyard-id/lanyard/internal/store"
)

// newSealingKey makes `lanyard sealing-key`.
func newSealingKey() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "sealing-key", GroupID: "manage", Short: "Rotate the key that seals secrets in the store"})
	cmd.Long = `Rotate the key by which vault contents and private keys are sealed in the store. The
keys lie in a file, one on each line: the first seals, all of them open. A running
cloud reads the file again within seconds, and with a new first key it seals
everything anew by itself; a crash in the middle is made good by the next start.

A cloud of one process takes "rotate" and, when no backup from before is kept any
more, "drop". Replicas read a file each, and must all be able to open what one of
them seals: "add" to one file and copy it to all, then "promote" and copy it again,
then "list" until everything is under the new key, then "drop" and copy it again.

The file is that of the data directory (--data), of a configuration (--config), or
one that is named (--file).`
	cmd.Example = `  lanyard sealing-key rotate
  lanyard sealing-key list
  lanyard sealing-key drop`
	cmd.AddCommand(newSealingKeyList(), newSealingKeyRotate(), newSealingKeyAdd(), newSealingKeyPromote(), newSealingKeyDrop())
	return cmd
}

// sealingFlags find the file of sealing keys and the store that they seal.
type sealingFlags struct {
	place placeFlags
	file  string
	out   command.Output
}

func (f *sealingFlags) add(cmd *cobra.Command, online bool) {
	f.place.add(cmd)
	cmd.Flags().StringVar(&f.file, "file", "", "`FILE` of sealing keys (default that of --data or --config)")
	if online {
		cmd.Flags().StringVar(&f.place.envFile, "env-file", "", "environment file of the running cloud (default the one of --data or --config)")
	}
	f.out.Add(cmd)
}

// load reads the keys.
func (f *sealingFlags) load() (server.Config, *server.SealingKeys, error) {
	if err := f.place.check(); err != nil {
		return server.Config{}, nil, err
	}
	cfg, err := f.place.load()
	if err != nil {
		return cfg, nil, err
	}
	file := f.file
	if file == "" {
		if file, err = cfg.SealingKeyPath(); err != nil {
			return cfg, nil, err
		}
	}
	keys, err := server.LoadSealingKeys(file)
	return cfg, keys, err
}

// sealedValues tells how many values are sealed under each key: by the store
// itself, or by the cloud that runs on it, which also tells its own keys, the
// one that seals first.
func (f *sealingFlags) sealedValues(ctx context.Context, cfg server.Config) (counts map[string]int, running []string, err error) {
	st, err := server.OpenStore(ctx, cfg)
	if err == nil {
		defer func() { err = errors.Join(err, st.Close()) }()
		counts, err = st.SealedBy(ctx)
		return counts, nil, err
	}
	if !errors.Is(err, store.ErrInUse) {
		return nil, nil, err
	}
	env, err := f.place.environment(cfg)
	if err != nil {
		return nil, nil, err
	}
	c, err := newARMClient(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	return c.sealedValues(ctx)
}

// look reads the keys, and tells what is sealed under each, as sealedValues does.
func (f *sealingFlags) look(ctx context.Context) (keys *server.SealingKeys, counts map[string]int, running []string, err error) {
	cfg, keys, err := f.load()
	if err != nil {
		return nil, nil, nil, err
	}
	counts, running, err = f.sealedValues(ctx, cfg)
	return keys, counts, running, err
}

// sealedValues asks the cloud.
func (c *armClient) sealedValues(ctx context.Context) (map[string]int, []string, error) {
	type item struct {
		Name       string
		Properties struct {
			Opens  bool
			Values int
		}
	}
	items, err := list[item](ctx, c, "/providers/Lanyard.Directory/sealingKeys"+cloudVersion)
	if err != nil {
		return nil, nil, err
	}
	counts := map[string]int{}
	var running []string
	for _, i := range items {
		counts[i.Name] = i.Properties.Values
		if i.Properties.Opens {
			running = append(running, i.Name)
		}
	}
	return counts, running, nil
}

// sealingKeyShown is a key as the commands show it.
type sealingKeyShown struct {
	Key    string `json:"key"`
	Seals  bool   `json:"seals"`
	InFile bool   `json:"inFile"`
	Values int    `json:"values"`
}

func newSealingKeyList() *cobra.Command {
	var f sealingFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the sealing keys, and how much is sealed under each",
		Long: `List the keys of the file by their names, which tell nothing of them, and how many
values of the store are sealed under each; also keys that the file does not have.`,
		Example: `  lanyard sealing-key list`,
		Args:    command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, counts, _, err := f.look(cmd.Context())
			if err != nil {
				return err
			}
			shown := showSealingKeys(keys.IDs(), counts)
			if f.out.JSON() {
				return command.PrintJSON(cmd.OutOrStdout(), shown)
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "KEY\tSEALS\tIN FILE\tVALUES")
			for _, k := range shown {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%d\n", k.Key, yesOrDash(k.Seals), yesOrDash(k.InFile), k.Values)
			}
			return tw.Flush()
		},
	}
	f.add(cmd, true)
	return cmd
}

// showSealingKeys lists the keys of the file, then others that seal something.
func showSealingKeys(ids []string, counts map[string]int) []sealingKeyShown {
	shown := []sealingKeyShown{}
	for i, id := range ids {
		shown = append(shown, sealingKeyShown{Key: id, Seals: i == 0, InFile: true, Values: counts[id]})
	}
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(ids, id) && counts[id] > 0 {
			shown = append(shown, sealingKeyShown{Key: id, Values: counts[id]})
		}
	}
	return shown
}

// underOthers is how many values are sealed under another key than the first.
func underOthers(counts map[string]int, first string) (n int) {
	for id, values := range counts {
		if id != first {
			n += values
		}
	}
	return n
}

func newSealingKeyRotate() *cobra.Command {
	var f sealingFlags
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new sealing key, and seal everything anew",
		Long: `Make a new key, put it first in the file, and seal everything in the store anew under it:
by the cloud that runs, or by this command where none does. A rotation that was cut
short is completed, and no further key made.

The former key stays in the file until "lanyard sealing-key drop". It opens nothing
of this store any more, but backups that were made before take it.`,
		Example: `  lanyard sealing-key rotate
  lanyard sealing-key rotate --config /etc/lanyard/lanyard.yaml`,
		Args: command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.rotate(cmd) },
	}
	f.add(cmd, true)
	return cmd
}

func (f *sealingFlags) rotate(cmd *cobra.Command) error {
	cfg, keys, err := f.load()
	if err != nil {
		return err
	}
	if len(cfg.Store.Endpoints) > 0 {
		return errors.New("several replicas may run on an etcd cluster, and each must have a new key before one of them seals with it: " +
			"use `lanyard sealing-key add` and `promote`, as `lanyard sealing-key --help` says")
	}
	ctx := cmd.Context()
	st, err := server.OpenStore(ctx, cfg)
	running := errors.Is(err, store.ErrInUse)
	if err != nil && !running {
		return err
	}
	var made bool
	if running {
		made, err = f.rotateOnline(cmd, cfg, keys)
	} else {
		made, err = rotateOffline(ctx, st, keys)
		err = errors.Join(err, st.Close())
	}
	if err != nil {
		return err
	}
	ids := keys.IDs()
	if f.out.JSON() {
		return command.PrintJSON(cmd.OutOrStdout(), map[string]any{"key": ids[0], "made": made, "former": ids[1:]})
	}
	what := "The rotation that was under way is completed"
	if made {
		what = "The sealing key was rotated"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: everything is sealed under the key %s.\n"+
		"The former key is needed for backups from before only; `lanyard sealing-key drop` takes it out of %s.\n", what, ids[0], keys.File())
	return err
}

// newFirst makes a new first key, unless a rotation is to be completed: then not
// everything is under the first yet.
func newFirst(keys *server.SealingKeys, counts map[string]int) (made bool, err error) {
	if underOthers(counts, keys.IDs()[0]) > 0 {
		return false, nil
	}
	_, err = keys.Rotate()
	return err == nil, err
}

// rotateOffline rotates on the store itself.
func rotateOffline(ctx context.Context, st *store.Store, keys *server.SealingKeys) (made bool, err error) {
	counts, err := st.SealedBy(ctx)
	if err != nil {
		return false, err
	}
	if made, err = newFirst(keys, counts); err != nil {
		return false, err
	}
	if err := keys.Apply(st); err != nil {
		return made, err
	}
	_, err = st.Reseal(ctx)
	return made, err
}

// rotateOnline changes the file, and waits until the running cloud has sealed
// everything anew.
func (f *sealingFlags) rotateOnline(cmd *cobra.Command, cfg server.Config, keys *server.SealingKeys) (made bool, err error) {
	ctx := cmd.Context()
	env, err := f.place.environment(cfg)
	if err != nil {
		return false, err
	}
	c, err := newARMClient(ctx, env)
	if err != nil {
		return false, err
	}
	defer c.close()
	// Before anything is changed: a cloud that cannot be asked cannot be waited for.
	counts, _, err := c.sealedValues(ctx)
	if err != nil {
		return false, err
	}
	if made, err = newFirst(keys, counts); err != nil {
		return false, err
	}
	first := keys.IDs()[0]
	fmt.Fprintln(cmd.ErrOrStderr(), "Waiting for the cloud to seal everything anew...")
	for {
		counts, running, err := c.sealedValues(ctx)
		if err != nil {
			return made, err
		}
		if len(running) > 0 && running[0] == first && underOthers(counts, first) == 0 {
			return made, nil
		}
		if err := waitFor(ctx, 200*time.Millisecond); err != nil {
			return made, fmt.Errorf("the cloud has not sealed everything anew yet, and goes on by itself: %w", err)
		}
	}
}

// changeSealingKeys makes a command that changes the file alone.
func changeSealingKeys(cmd *cobra.Command, change func(keys *server.SealingKeys) (string, error), next string) *cobra.Command {
	var f sealingFlags
	cmd.Args = command.Arguments()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, keys, err := f.load()
		if err != nil {
			return err
		}
		id, err := change(keys)
		if err != nil {
			return err
		}
		if f.out.JSON() {
			return command.PrintJSON(cmd.OutOrStdout(), map[string]any{"key": id, "file": keys.File(), "keys": keys.IDs()})
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), next+"\n", id, keys.File())
		return err
	}
	f.add(cmd, false)
	return cmd
}

func newSealingKeyAdd() *cobra.Command {
	return changeSealingKeys(&cobra.Command{
		Use:   "add",
		Short: "Add a new key that only opens, as the first step with replicas",
		Long: `Add a new key at the end of the file. It opens, and nothing is sealed with it before it
is promoted: time for every replica to have it.`,
		Example: `  lanyard sealing-key add --file sealing.key`,
	}, (*server.SealingKeys).Add,
		"The key %s was added to %s. Copy the file to every replica; when each has it, promote the key.")
}

func newSealingKeyPromote() *cobra.Command {
	return changeSealingKeys(&cobra.Command{
		Use:   "promote",
		Short: "Put the last key first, so that it seals",
		Long: `Put the last key of the file first. Replicas that have the file seal with it from then
on, and seal everything else anew.`,
		Example: `  lanyard sealing-key promote --file sealing.key`,
	}, (*server.SealingKeys).Promote,
		"The key %s is the first in %s. Copy the file to every replica; `lanyard sealing-key list` tells what is sealed under which key.")
}

func newSealingKeyDrop() *cobra.Command {
	var f sealingFlags
	cmd := &cobra.Command{
		Use:   "drop",
		Short: "Take all keys but the first out of the file",
		Long: `Take the former keys out of the file, which is refused while something in the store is
sealed under one of them. Backups from before still take them: keep those keys as
long as such a backup, apart from it.`,
		Example: `  lanyard sealing-key drop`,
		Args:    command.Arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, counts, running, err := f.look(cmd.Context())
			if err != nil {
				return err
			}
			first := keys.IDs()[0]
			if n := underOthers(counts, first); n > 0 {
				return fmt.Errorf("%d values are not sealed under the first key %s yet: `lanyard sealing-key list` shows them; "+
					"a running cloud seals them anew by itself, else `lanyard sealing-key rotate` does", n, first)
			}
			if len(running) > 0 && running[0] != first {
				return fmt.Errorf("the running cloud does not seal with the key %s yet: it reads the file again within seconds", first)
			}
			dropped, err := keys.Drop()
			if err != nil {
				return err
			}
			if f.out.JSON() {
				return command.PrintJSON(cmd.OutOrStdout(), map[string]any{"key": first, "dropped": dropped})
			}
			return sayDropped(cmd.OutOrStdout(), keys.File(), dropped)
		},
	}
	f.add(cmd, true)
	return cmd
}

func sayDropped(w io.Writer, file string, dropped []string) error {
	if len(dropped) == 0 {
		_, err := fmt.Fprintf(w, "There is one key alone in %s.\n", file)
		return err
	}
	for _, id := range dropped {
		if _, err := fmt.Fprintf(w, "The key %s was taken out of %s.\n", id, file); err != nil {
			return err
		}
	}
	return nil
}
