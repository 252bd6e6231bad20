package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrNotEmpty means that the store holds something: a backup is restored into an empty store only.
var ErrNotEmpty = errors.New("store: not empty")

// restoring is what stands in the place of the layout's version until a restore
// is complete: no release opens such a store, and the next restore begins anew.
const restoring = "restoring"

// restoreMargin is what a batch of a restore leaves of a transaction: the
// request's own framing.
const restoreMargin = 64 << 10

// Restore writes a backup into the store that cfg names, which must not be open
// and must be empty: ErrNotEmpty, unless what it holds is a restore that was
// cut short. The backup is read twice: first to see that it is whole, unchanged
// and opened by the keyring, before anything is touched; then to write it.
// After an error of the second reading the store does not open, and Restore can
// be repeated.
//
// Keys and values are as they were; revisions, and so entity tags, are not.
func Restore(ctx context.Context, cfg Config, backup io.ReadSeeker) (BackupInfo, error) {
	if err := cfg.setDefaults(); err != nil {
		return BackupInfo{}, err
	}
	if _, err := ReadBackup(backup, cfg.Keyring, nil); err != nil {
		return BackupInfo{}, err
	}
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return BackupInfo{}, fmt.Errorf("reading the backup again: %w", err)
	}
	s := &Store{cfg: cfg, log: cfg.Logger, keys: keyspace{prefix: cfg.Prefix}}
	var err error
	if cfg.Dir != "" {
		if s.engine, err = startEngine(ctx, &cfg); err != nil {
			return BackupInfo{}, err
		}
		s.client = s.engine.client()
	} else if s.client, err = dial(&cfg); err != nil {
		return BackupInfo{}, err
	}
	info, err := s.restore(ctx, backup)
	if closed := s.client.Close(); !errors.Is(closed, context.Canceled) { // what an orderly close gives
		err = errors.Join(err, closed)
	}
	if s.engine != nil {
		err = errors.Join(err, s.engine.close())
	}
	if err != nil {
		return BackupInfo{}, fmt.Errorf("restoring: %w", err)
	}
	return info, nil
}

// restore writes the keys between the mark that a restore is under way and the
// layout's version.
func (s *Store) restore(ctx context.Context, backup io.Reader) (BackupInfo, error) {
	mark, err := s.beginRestore(ctx)
	if err != nil {
		return BackupInfo{}, err
	}
	b := &restoreBatch{store: s, mark: mark}
	info, err := ReadBackup(backup, s.cfg.Keyring, func(key string, value []byte) error { return b.put(ctx, key, value) })
	if err != nil {
		return BackupInfo{}, err
	}
	if err := b.flush(ctx); err != nil {
		return BackupInfo{}, err
	}
	b.ops = []clientv3.Op{clientv3.OpPut(s.keys.version(), strconv.Itoa(layoutVersion))}
	return info, b.flush(ctx)
}

// beginRestore sets the mark in an empty store, and gives the mark's revision.
func (s *Store) beginRestore(ctx context.Context) (mark int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	present, err := s.client.Get(ctx, s.keys.version())
	if err != nil {
		return 0, s.wrap(ctx, err)
	}
	var found int64
	if len(present.Kvs) > 0 {
		if string(present.Kvs[0].Value) != restoring {
			return 0, s.errNotEmpty()
		}
		found = present.Kvs[0].ModRevision
	}
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(s.keys.version()), "=", found)).
		Then(clientv3.OpPut(s.keys.version(), restoring)).
		Commit()
	if err != nil {
		return 0, s.wrap(ctx, err)
	}
	if !resp.Succeeded {
		return 0, errAnotherRestore
	}
	mark = resp.Header.GetRevision()
	for _, space := range []string{s.keys.data(""), s.keys.removed("")} {
		if found == 0 { // nothing of ours can be there
			n, err := s.client.Get(ctx, space, clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				return 0, s.wrap(ctx, err)
			}
			if n.Count > 0 {
				_, err := s.client.Delete(ctx, s.keys.version())
				return 0, errors.Join(s.errNotEmpty(), err)
			}
			continue
		}
		if _, err := s.client.Delete(ctx, space, clientv3.WithPrefix()); err != nil {
			return 0, s.wrap(ctx, err)
		}
	}
	return mark, nil
}

var errAnotherRestore = errors.New("another restore into the same store is under way")

func (s *Store) errNotEmpty() error {
	if s.engine != nil {
		return fmt.Errorf("%w: %s holds a cloud; restore into another directory, or move this one away", ErrNotEmpty, s.cfg.Dir)
	}
	return fmt.Errorf("%w: there are keys under %s in etcd; restore under another prefix, or into another cluster", ErrNotEmpty, s.cfg.Prefix)
}

// restoreBatch collects writes up to what fits a transaction.
type restoreBatch struct {
	store *Store
	mark  int64
	ops   []clientv3.Op
	size  int
}

func (b *restoreBatch) put(ctx context.Context, key string, value []byte) error {
	size := len(key) + len(value) + 64
	if len(b.ops) >= MaxOps || len(b.ops) > 0 && b.size+size > MaxBytes-restoreMargin {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.ops = append(b.ops, clientv3.OpPut(b.store.keys.data(key), string(value)))
	b.size += size
	return nil
}

// flush commits what was collected, provided that the mark is still this
// restore's own.
func (b *restoreBatch) flush(ctx context.Context) error {
	s := b.store
	if len(b.ops) == 0 {
		return nil
	}
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(s.keys.version()), "=", b.mark)).
		Then(b.ops...).
		Commit()
	if err != nil {
		return s.wrap(ctx, err)
	}
	if !resp.Succeeded {
		return errAnotherRestore
	}
	b.ops, b.size = nil, 0
	return nil
}
