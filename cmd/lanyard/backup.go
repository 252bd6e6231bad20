package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
	"github.com/lanyard-id/lanyard/internal/store"
)

// newBackup makes `lanyard backup`.
func newBackup() *cobra.Command {
	cmd := command.Parent(&cobra.Command{Use: "backup", GroupID: "manage", Short: "Back up and restore a whole cloud"})
	cmd.Long = `Back up and restore a whole cloud: every tenant, identity, role, vault and key, as they
are at one moment.

A backup does not hold the sealing key, without which its secrets and signing keys
stay closed: keep that apart from the backups, and keep it. Client secrets are
hashed. Nor does it hold the audit log and the environment file. A backup that was
damaged, or changed by someone without the sealing key, is not restored.`
	cmd.Example = `  lanyard backup create cloud.backup

  # Elsewhere, with the sealing key that was kept apart
  lanyard backup restore cloud.backup --data /srv/lanyard --sealing-key-file sealing.key`
	cmd.AddCommand(newBackupCreate(), newBackupRestore(), newBackupShow())
	return cmd
}

// backupCreate is what `lanyard backup create` is told.
type backupCreate struct {
	place     placeFlags
	overwrite bool
	out       command.Output
}

func newBackupCreate() *cobra.Command {
	var f backupCreate
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Back up a cloud, while it runs or not",
		Long: `Back up a cloud into a file with mode 0600, or to standard output where FILE is "-".

A running cloud is asked for the backup, as the principal of its environment file,
which must be an Owner at the root of the cloud's first tenant. One that does not
run is read from its data directory (--data) or by its configuration (--config). By
a configuration with an etcd cluster, the cluster is read, whoever runs on it.`,
		Example: `  lanyard backup create cloud.backup
  lanyard backup create "cloud-$(date +%F).backup" --env-file /run/lanyard/env.json
  lanyard backup create - --config /etc/lanyard/lanyard.yaml | age -r age1... > cloud.backup.age`,
		Args: command.Arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.place.add(cmd)
	cmd.Flags().StringVar(&f.place.envFile, "env-file", "", "environment file of the running cloud (default $LANYARD_ENV_FILE, then the one of --data or --config)")
	cmd.Flags().BoolVar(&f.overwrite, "overwrite", false, "replace FILE if it is there")
	f.out.Add(cmd)
	return cmd
}

func (f *backupCreate) run(cmd *cobra.Command, file string) error {
	if err := f.place.check(); err != nil {
		return err
	}
	if file == "-" {
		_, err := f.write(cmd.Context(), cmd.OutOrStdout())
		return err
	}
	if f.overwrite {
		var err error
		if file, err = filepath.Abs(file); err != nil {
			return err
		}
	} else if err := canCreate(&file); err != nil {
		return fmt.Errorf("%w (--overwrite replaces it)", err)
	}
	var info store.BackupInfo
	err := atomicfile.Replace(file, func(w *os.File) (err error) {
		info, err = f.write(cmd.Context(), w)
		return err
	})
	if err != nil {
		return err
	}
	b := backupShown{File: file, BackupInfo: info}
	if f.out.JSON() {
		return command.PrintJSON(cmd.OutOrStdout(), b)
	}
	if err := b.print(cmd.OutOrStdout()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "\nThe sealing key is not in it: keep it apart, since nothing else opens what is sealed.")
	return err
}

// write writes a backup: the running cloud's own, or that of the store.
func (f *backupCreate) write(ctx context.Context, w io.Writer) (store.BackupInfo, error) {
	cfg, err := f.place.load()
	if err != nil {
		return store.BackupInfo{}, err
	}
	if f.place.envFile == "" && f.place.data == "" && f.place.config == "" {
		f.place.envFile = os.Getenv("LANYARD_ENV_FILE")
	}
	if f.place.envFile == "" {
		info, err := backupOffline(ctx, cfg, w)
		if !errors.Is(err, store.ErrInUse) {
			return info, err
		}
	}
	env, err := f.place.environment(cfg)
	if err != nil {
		return store.BackupInfo{}, err
	}
	return backupOnline(ctx, env, w)
}

// backupOffline reads the store itself.
func backupOffline(ctx context.Context, cfg server.Config, w io.Writer) (info store.BackupInfo, err error) {
	st, err := server.OpenStore(ctx, cfg)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	notes, err := server.BackupNotes(ctx, st, command.Version())
	if err != nil {
		return info, err
	}
	return st.Backup(ctx, w, notes)
}

// backupOnline asks the cloud, and reads what comes as it is written, so that
// one that is cut short is noticed.
func backupOnline(ctx context.Context, env server.Environment, w io.Writer) (info store.BackupInfo, err error) {
	c, err := newARMClient(ctx, env)
	if err != nil {
		return info, err
	}
	defer c.close()
	c.http.Timeout = 0 // a backup may take long; ctx ends it
	resp, err := c.send(ctx, http.MethodPost, "/providers/Lanyard.Directory/backups"+cloudVersion, nil)
	if err != nil {
		return info, err
	}
	defer resp.Body.Close()
	info, err = store.ReadBackup(io.TeeReader(resp.Body, w), nil, nil)
	if err != nil {
		return info, fmt.Errorf("the backup did not arrive whole: %w", err)
	}
	return info, nil
}

// backupShown is what the commands show of a backup.
type backupShown struct {
	File string `json:"file"`
	store.BackupInfo
}

func (b backupShown) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "Backup\t%s\nMade\t%s, at revision %d\n", b.File, b.Created.UTC().Format(time.RFC3339), b.Revision)
	fmt.Fprintf(tw, "Cloud\t%s\nFirst tenant\t%s\nKeys\t%d\n", net.JoinHostPort(b.Notes["domain"], b.Notes["port"]), b.Notes["tenantId"], b.Keys)
	for _, id := range slices.Sorted(maps.Keys(b.SealedBy)) {
		fmt.Fprintf(tw, "Sealing key\t%s\t%d values\n", id, b.SealedBy[id])
	}
	return tw.Flush()
}

func newBackupShow() *cobra.Command {
	var keyFile string
	var out command.Output
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Check a backup, and show what it is",
		Long: `Read a backup as a whole, check that it is not damaged, and show what it is of and which
sealing keys it takes. With --sealing-key-file also check that the keys open all
of it, and that nobody else has changed it. Nothing is restored.`,
		Example: `  lanyard backup show cloud.backup
  lanyard backup show cloud.backup --sealing-key-file sealing.key`,
		Args: command.Arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ring *store.Keyring
			if keyFile != "" {
				var err error
				if ring, err = server.LoadKeyring(keyFile); err != nil {
					return err
				}
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := store.ReadBackup(f, ring, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			b := backupShown{File: args[0], BackupInfo: info}
			if out.JSON() {
				return command.PrintJSON(cmd.OutOrStdout(), b)
			}
			return b.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&keyFile, "sealing-key-file", "", "`FILE` with the sealing keys")
	out.Add(cmd)
	return cmd
}

func newBackupRestore() *cobra.Command {
	var place placeFlags
	var keyFile string
	var out command.Output
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a backup into an empty data directory or store",
		Long: `Restore a backup into a data directory for "lanyard up" (--data), or into the store of a
configuration (--config), in which there is no cloud yet. The backup is read and
checked as a whole first: nothing is written for one that is damaged or changed,
or that the sealing keys do not open. A restore that is cut short can be repeated.

Every ID, key, secret and address is as it was; entity tags are not. What was
written after the backup is lost: replicas and agents of the former cloud must not
go on beside the restored one.`,
		Example: `  lanyard backup restore cloud.backup --data /srv/lanyard --sealing-key-file sealing.key
  lanyard backup restore cloud.backup --config /etc/lanyard/lanyard.yaml`,
		Args: command.Arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := place.check(); err != nil {
				return err
			}
			cfg, err := place.load()
			if err != nil {
				return err
			}
			info, err := server.Restore(cmd.Context(), cfg, args[0], keyFile)
			if err != nil {
				return explainRestore(err, args[0])
			}
			b := backupShown{File: args[0], BackupInfo: info}
			if out.JSON() {
				return command.PrintJSON(cmd.OutOrStdout(), b)
			}
			if err := b.print(cmd.OutOrStdout()); err != nil {
				return err
			}
			return sayRestored(cmd.OutOrStdout(), place, cfg, info)
		},
	}
	place.add(cmd)
	cmd.Flags().StringVar(&keyFile, "sealing-key-file", "", "`FILE` with the sealing keys of the cloud that was backed up (default those of --data or --config)")
	out.Add(cmd)
	return cmd
}

// explainRestore says what to do about a refused restore.
func explainRestore(err error, file string) error {
	switch {
	case errors.Is(err, store.ErrBackup):
		return fmt.Errorf("nothing was restored from %s: %w", file, err)
	case errors.Is(err, store.ErrSealed):
		return fmt.Errorf("nothing was restored: %w; `lanyard backup show %s` names the sealing keys that it takes", err, file)
	}
	return err
}

// sayRestored says how the restored cloud is started.
func sayRestored(w io.Writer, place placeFlags, cfg server.Config, info store.BackupInfo) error {
	start := "lanyard serve --config " + place.config
	if place.config == "" {
		start = "lanyard up --data " + cfg.DataDir
		if domain := info.Notes["domain"]; domain != "" && domain != "lanyard.localhost" {
			start += " --domain " + domain
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\nRestored. Start the cloud with %q.\n", start)
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "env.json")); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(&text, "The operator's secret is in no backup: put the former env.json into the data directory before the start to keep it,\n"+
			"or have a new one made (by lanyard up on its first start, by lanyard serve with bootstrap.renewSecret).")
	}
	_, err := io.WriteString(w, text.String())
	return err
}
