package keyvault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	// maxBackupVersions is Azure's limit on what one backup holds.
	maxBackupVersions = 500
	// maxBackupBody holds a backup of so many versions of the largest size.
	maxBackupBody = 48 << 20
	backupPage    = 50
	// A restore writes in transactions of at most so many versions and bytes,
	// below etcd's limits of 128 operations and 1.5 MiB.
	restoreBatch      = 40
	restoreBatchBytes = 512 << 10
	// restoreTime is how long a restore may take before what it wrote is swept.
	restoreTime = 3600
)

// backup is the content of a backup blob.
type backup struct {
	Name     string
	Current  string // the current version's ID
	Versions []backupVersion
}

type backupVersion struct {
	version
	Value []byte
}

// backupBody is the request of a restore and the answer of a backup: the sealed
// blob in unpadded base64url.
type backupBody struct {
	Value *string `json:"value"`
}

// backupSecret answers with all versions of a secret, sealed for vaults of the
// same subscription and geography.
func (h *Handler) backupSecret(ctx context.Context, r *request) (result, error) {
	at := h.snapshot()
	s, err := find(ctx, at, r)
	if err != nil {
		return result{}, err
	}
	b := backup{Name: s.Name, Current: s.Current.ID}
	if b.Versions, err = h.collect(ctx, at, r.shelf(), s); err != nil {
		return result{}, err
	}
	blob, err := h.seal(ctx, r.vault, b)
	if err != nil {
		return result{}, err
	}
	text := base64.RawURLEncoding.EncodeToString(blob)
	if limit := h.cfg.MaxBody - int64(len(`{"value":""}`)); int64(len(text)) > limit {
		return result{}, badParameter("The secret's versions are too large for a backup: it would have %d bytes, and at most %d can be restored.",
			len(text), limit)
	}
	return result{http.StatusOK, backupBody{Value: &text}}, nil
}

// collect reads all versions of a secret with their values.
func (h *Handler) collect(ctx context.Context, at *snapshot, shelf shelf, s secret) ([]backupVersion, error) {
	var all []backupVersion
	opts := store.ListOptions{Limit: backupPage, Revision: at.revision}
	for {
		page, err := h.cfg.Store.List(ctx, shelf.values(s.Life), opts)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Entries {
			opts.After = e.Key
			id := strings.TrimPrefix(e.Key, shelf.values(s.Life))
			v, err := read[version](ctx, at, shelf.versions(s.Life)+id)
			if err != nil {
				return nil, fmt.Errorf("reading a version for a backup: %w", err)
			}
			value, err := h.cfg.Store.Unseal(e)
			if err != nil {
				return nil, fmt.Errorf("opening a value for a backup: %w", err)
			}
			all = append(all, backupVersion{v, value})
		}
		if len(all) > maxBackupVersions {
			return nil, badParameter("The secret has more than %d versions and cannot be backed up.", maxBackupVersions)
		}
		if !page.More {
			return all, nil
		}
	}
}

// restoreSecret brings a backed up secret into a vault that has none of its
// name.
//
// The versions may be too many for one transaction. They are therefore written
// in batches below a new life, to which nothing leads until the last
// transaction makes the record; an entry in the schedule, made first and taken
// away last, has the sweep remove them if that never happens.
func (h *Handler) restoreSecret(ctx context.Context, r *request) (result, error) {
	var body backupBody
	if err := readJSON(r.http, h.cfg.MaxBody, &body); err != nil {
		return result{}, err
	}
	if body.Value == nil {
		return result{}, badParameter("The property \"value\" is required.")
	}
	blob, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(*body.Value, "="))
	if err != nil {
		return result{}, malformedBackup()
	}
	b, err := h.open(ctx, r.vault, blob)
	if err != nil {
		return result{}, err
	}
	s, err := b.secret()
	if err != nil {
		return result{}, err
	}
	at := shelf{vault: r.vault.key(), name: azure.Fold(b.Name)}
	entry := at.scheduled(r.now.Unix()+restoreTime, s.Life)
	if _, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := nameIsFree(tx, at, r); err != nil {
			return err
		}
		tx.Put(entry, nil)
		return nil
	}); err != nil {
		return result{}, err
	}
	if err := h.writeVersions(ctx, at, s.Life, b.Versions); err != nil {
		return result{}, err
	}
	if err := h.finishRestore(ctx, r, at, entry, s); err != nil {
		return result{}, err
	}
	return result{http.StatusOK, r.show(s.Name, s.Current)}, nil
}

// finishRestore makes the record that leads to the restored versions, unless
// the sweep has come upon them.
func (h *Handler) finishRestore(ctx context.Context, r *request, at shelf, entry string, s secret) error {
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := nameIsFree(tx, at, r); err != nil {
			return err
		}
		e, err := tx.Get(entry)
		if errors.Is(err, store.ErrNotFound) || err == nil && len(e.Value) > 0 {
			return conflict("", "The restore took too long. Please retry.")
		}
		if err != nil {
			return err
		}
		tx.Delete(entry)
		return store.PutJSON(tx, at.live(), s)
	})
	return err
}

// nameIsFree refuses a restore over a secret that exists or can be recovered.
func nameIsFree(tx *store.Tx, at shelf, r *request) error {
	switch s, _, err := store.GetJSON[secret](tx, at.live()); {
	case err == nil:
		return conflict("", "Secret %s already exists in this vault; a backup is restored only where its name is free.", s.Name)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	switch s, _, err := store.GetJSON[secret](tx, at.deleted()); {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !s.due(r.now.Unix()):
		return recoverable(s.Name)
	default:
		tx.Delete(at.deleted())
		return nil
	}
}

// secret makes the record under which a backup's versions come to lie.
func (b backup) secret() (secret, error) {
	for _, v := range b.Versions {
		if v.ID == b.Current {
			return secret{Name: b.Name, Life: newID(), Current: v.version}, nil
		}
	}
	return secret{}, malformedBackup()
}

func (h *Handler) writeVersions(ctx context.Context, at shelf, life string, versions []backupVersion) error {
	for len(versions) > 0 {
		n, bytes := 0, 0
		for n < len(versions) && n < restoreBatch && (n == 0 || bytes+len(versions[n].Value) <= restoreBatchBytes) {
			bytes += len(versions[n].Value)
			n++
		}
		_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for _, v := range versions[:n] {
				if err := store.PutJSON(tx, at.versions(life)+v.ID, v.version); err != nil {
					return err
				}
				if err := tx.PutSealed(at.values(life)+v.ID, v.Value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("writing restored versions: %w", err)
		}
		versions = versions[n:]
	}
	return nil
}

// malformedBackup is Azure's answer to a blob that it did not make; the code
// does have spaces.
func malformedBackup() error {
	return azure.Errorf(http.StatusBadRequest, "Malformed backup blob", "Backup blob contains invalid or corrupt version.")
}
