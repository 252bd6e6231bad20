package keyvault

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	backupKeyName = "keyvault-backup/key"
	backupMagic   = "LanyardKeyVaultSecretBackup1"
)

// backupHeader is the readable part of a blob: where it may be restored.
type backupHeader struct {
	Subscription string
	Geography    string
}

func (v Vault) backupHeader() backupHeader {
	return backupHeader{Subscription: azure.Fold(v.ID.SubscriptionID()), Geography: azure.Fold(v.Geography)}
}

// seal makes the blob: magic, header, a zero byte, nonce and ciphertext
// (AES-256-GCM), with all before the nonce as associated data.
//
// Backups have a key of their own, which the store keeps sealed: the sealing key
// can be changed without making yesterday's backups worthless.
func (h *Handler) seal(ctx context.Context, vault Vault, b backup) ([]byte, error) {
	aead, err := h.backupCipher(ctx)
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(vault.backupHeader())
	if err != nil {
		return nil, fmt.Errorf("encoding a backup's header: %w", err)
	}
	plain, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding a backup: %w", err)
	}
	readable := append(append([]byte(backupMagic), header...), 0)
	sealed := aead.Seal(nil, nil, plain, readable) //nolint:gosec // the cipher makes a random nonce itself
	return append(bytes.Clone(readable), sealed...), nil
}

// open reads a blob that seal made for a vault of the same subscription and
// geography.
func (h *Handler) open(ctx context.Context, vault Vault, blob []byte) (backup, error) {
	end := bytes.IndexByte(blob, 0)
	if end < 0 || !bytes.HasPrefix(blob, []byte(backupMagic)) {
		return backup{}, malformedBackup()
	}
	readable, sealed := blob[:end+1], blob[end+1:]
	aead, err := h.backupCipher(ctx)
	if err != nil {
		return backup{}, err
	}
	plain, err := aead.Open(nil, nil, sealed, readable)
	if err != nil {
		return backup{}, malformedBackup()
	}
	// From here on the blob is this cloud's own.
	var header backupHeader
	if err := json.Unmarshal(readable[len(backupMagic):end], &header); err != nil {
		return backup{}, fmt.Errorf("decoding a backup's header: %w", err)
	}
	if header != vault.backupHeader() {
		return backup{}, badParameter("The backup was made in another subscription or geography, and cannot be restored into this vault.")
	}
	var b backup
	if err := json.Unmarshal(plain, &b); err != nil {
		return backup{}, fmt.Errorf("decoding a backup: %w", err)
	}
	return b, nil
}

// backupCipher gives the cipher of backups; the first call of all makes its key.
func (h *Handler) backupCipher(ctx context.Context) (cipher.AEAD, error) {
	e, err := h.cfg.Store.Get(ctx, backupKeyName)
	if errors.Is(err, store.ErrNotFound) {
		if err := h.makeBackupKey(ctx); err != nil {
			return nil, err
		}
		e, err = h.cfg.Store.Get(ctx, backupKeyName)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the backup key: %w", err)
	}
	key, err := h.cfg.Store.Unseal(e)
	if err != nil {
		return nil, fmt.Errorf("opening the backup key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("using the backup key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// makeBackupKey makes the key unless another replica was first.
func (h *Handler) makeBackupKey(ctx context.Context) error {
	key := make([]byte, 32)
	rand.Read(key)
	_, err := h.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Get(backupKeyName); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.PutSealed(backupKeyName, key)
	})
	if err != nil {
		return fmt.Errorf("making the backup key: %w", err)
	}
	return nil
}
