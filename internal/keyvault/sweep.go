package keyvault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	// schedulePrefix holds what is to be removed, ordered by time, so that a
	// sweep reads only what is due.
	schedulePrefix = "keyvault-schedule/"
	sweepInterval  = time.Minute
	sweepLock      = "keyvault-sweep"
	// removeBatch keys go in one transaction, below etcd's limit of 128 by what
	// else the transaction of a caller of Purge may hold.
	removeBatch = 96
)

// scheduled is the key which says that a life of a secret is to be removed at
// the given time. Twelve digits keep the order until the year 33658.
func (s shelf) scheduled(at int64, life string) string {
	return fmt.Sprintf("%s%012d/%s/%s/%s", schedulePrefix, at, s.vault, s.name, life)
}

func parseScheduled(key string) (at int64, where shelf, life string, err error) {
	parts := strings.Split(strings.TrimPrefix(key, schedulePrefix), "/")
	if len(parts) != 5 {
		return 0, shelf{}, "", fmt.Errorf("the key %s is not a schedule's", key)
	}
	if at, err = strconv.ParseInt(parts[0], 10, 64); err != nil {
		return 0, shelf{}, "", fmt.Errorf("the key %s has no time: %w", key, err)
	}
	return at, shelf{vault: parts[1] + "/" + parts[2], name: parts[3]}, parts[4], nil
}

// Sweep purges the deleted secrets of all vaults whose time to be recovered is
// over, and removes what unfinished purges and restores have left. It does
// nothing while another replica is at it.
func (h *Handler) Sweep(ctx context.Context) error {
	lock, err := h.cfg.Store.TryLock(ctx, sweepLock, sweepInterval)
	if errors.Is(err, store.ErrLocked) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("locking the sweep: %w", err)
	}
	// Should unlocking fail, the lease ends by itself.
	defer func() { _ = lock.Unlock(context.WithoutCancel(ctx)) }()

	now, after := h.cfg.Now().Unix(), ""
	for {
		page, err := h.cfg.Store.List(ctx, schedulePrefix, store.ListOptions{After: after, Limit: removeBatch, KeysOnly: true})
		if err != nil {
			return fmt.Errorf("reading the schedule: %w", err)
		}
		for _, e := range page.Entries {
			at, where, life, err := parseScheduled(e.Key)
			if err != nil {
				return err
			}
			if at > now {
				return nil
			}
			if err := h.sweepOne(ctx, where, life, at); err != nil {
				return err
			}
			after = e.Key
		}
		if !page.More {
			return nil
		}
	}
}

// sweepOne removes one life of a secret: first the record, if it still is that
// life's and deleted, then versions and values, last the schedule's entry, so
// that whatever fails is found again. A life that has been recovered, or whose
// restore was finished, since the entry was read keeps all it has: both take
// the entry away in the transaction that makes the life visible.
func (h *Handler) sweepOne(ctx context.Context, where shelf, life string, at int64) error {
	entry := where.scheduled(at, life)
	keep := false
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		keep = false
		if _, err := tx.Get(entry); errors.Is(err, store.ErrNotFound) {
			keep = true
			return nil
		} else if err != nil {
			return err
		}
		s, _, err := store.GetJSON[secret](tx, where.deleted())
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		case s.Life == life:
			tx.Delete(where.deleted())
		}
		// Rewriting the entry makes a concurrent restore of this life fail: it
		// compares the entry that it made.
		tx.Put(entry, []byte("sweeping"))
		return nil
	})
	if err != nil {
		return fmt.Errorf("purging a secret of vault %s: %w", where.vault, err)
	}
	if keep {
		return nil
	}
	for _, prefix := range []string{where.values(life), where.versions(life)} {
		if err := h.removeAll(ctx, prefix); err != nil {
			return fmt.Errorf("removing a purged secret of vault %s: %w", where.vault, err)
		}
	}
	_, err = h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		tx.Delete(entry)
		return nil
	})
	if err != nil {
		return fmt.Errorf("finishing the purge of a secret of vault %s: %w", where.vault, err)
	}
	return nil
}

// Purge removes some of the contents of a vault in the given transaction, for
// whoever purges the vault itself; more tells that there were others, and that
// it must be called again in another transaction. It does no harm to call it
// again when all is gone.
func (h *Handler) Purge(ctx context.Context, tx *store.Tx, vault string) (more bool, err error) {
	prefix := contentsPrefix + azure.Fold(vault) + "/"
	page, err := h.cfg.Store.List(ctx, prefix, store.ListOptions{Limit: removeBatch, KeysOnly: true})
	if err != nil {
		return false, fmt.Errorf("listing the contents of vault %s: %w", vault, err)
	}
	for _, e := range page.Entries {
		tx.Delete(e.Key)
	}
	return page.More, nil
}

// removeAll deletes every key under a prefix, in batches.
func (h *Handler) removeAll(ctx context.Context, prefix string) error {
	for {
		page, err := h.cfg.Store.List(ctx, prefix, store.ListOptions{Limit: removeBatch, KeysOnly: true})
		if err != nil {
			return err
		}
		if len(page.Entries) > 0 {
			_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				for _, e := range page.Entries {
					tx.Delete(e.Key)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}
