package keyvault

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// deleteSecret makes a secret, with all its versions, deleted but recoverable
// for the vault's retention.
func (h *Handler) deleteSecret(ctx context.Context, r *request) (result, error) {
	at := r.shelf()
	var s secret
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = findIn(tx, r); err != nil {
			return err
		}
		retention := time.Duration(r.vault.RetentionDays) * 24 * time.Hour
		s.Deleted = &deletion{At: r.now.Unix(), Purge: r.now.Add(retention).Unix()}
		tx.Delete(at.live())
		tx.Put(at.scheduled(s.Deleted.Purge, s.Life), nil)
		return store.PutJSON(tx, at.deleted(), s)
	})
	if err != nil {
		return result{}, err
	}
	return result{http.StatusOK, r.deleted(r.show(s.Name, s.Current), s)}, nil
}

// getDeletedSecret shows a deleted secret, without its value.
func (h *Handler) getDeletedSecret(ctx context.Context, r *request) (result, error) {
	s, err := read[secret](ctx, h.snapshot(), r.shelf().deleted())
	if errors.Is(err, store.ErrNotFound) || err == nil && s.due(r.now.Unix()) {
		return result{}, deletedSecretNotFound(r.target.name)
	}
	if err != nil {
		return result{}, err
	}
	return result{http.StatusOK, r.deleted(r.show(s.Name, s.Current), s)}, nil
}

// recoverDeletedSecret brings a deleted secret back with all its versions.
func (h *Handler) recoverDeletedSecret(ctx context.Context, r *request) (result, error) {
	at := r.shelf()
	var s secret
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = findDeletedIn(tx, r, secretNotFound(r.target.name)); err != nil {
			return err
		}
		tx.Delete(at.deleted())
		tx.Delete(at.scheduled(s.Deleted.Purge, s.Life))
		s.Deleted = nil
		return store.PutJSON(tx, at.live(), s)
	})
	if err != nil {
		return result{}, err
	}
	return result{http.StatusOK, r.show(s.Name, s.Current)}, nil
}

// purgeDeletedSecret ends a deleted secret for good. When it answers, the
// secret is gone and its name free; its values have been removed from the
// store, or are by the next sweep if this process dies in between.
func (h *Handler) purgeDeletedSecret(ctx context.Context, r *request) (result, error) {
	at, now := r.shelf(), r.now.Unix()
	var s secret
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = findDeletedIn(tx, r, deletedSecretNotFound(r.target.name)); err != nil {
			return err
		}
		if r.vault.PurgeProtection {
			return forbidden("", "Operation \"purge\" is not allowed because purge protection is enabled for this vault. "+
				"Key Vault service will automatically purge it after the retention period has passed.\r\nVault: %s", r.vault.describe())
		}
		tx.Delete(at.deleted())
		tx.Delete(at.scheduled(s.Deleted.Purge, s.Life))
		tx.Put(at.scheduled(now, s.Life), nil)
		return nil
	})
	if err != nil {
		return result{}, err
	}
	if err := h.sweepOne(ctx, at, s.Life, now); err != nil {
		h.cfg.Logger.WarnContext(ctx, "removing the values of a purged secret failed; the next sweep does it", "vault", r.vault.Name, "error", err)
	}
	return result{status: http.StatusNoContent}, nil
}
