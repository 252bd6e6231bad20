package store

import (
	"context"
	"fmt"
	"io"
)

// backupPage is how many keys are read at once.
const backupPage = 256

// Backup writes a backup of all keys to w: the store's state at one revision,
// while writes go on. Locks are not in it, nor are the sealing keys, without
// which its sealed values stay closed. notes are given back by [ReadBackup].
//
// It fails with ErrCompacted when it takes longer than the past is kept. After
// any error what was written is no backup.
func (s *Store) Backup(ctx context.Context, w io.Writer, notes map[string]string) (BackupInfo, error) {
	fail := func(err error) (BackupInfo, error) { return BackupInfo{}, fmt.Errorf("backing up: %w", err) }
	page, err := s.List(ctx, "", ListOptions{Limit: backupPage})
	if err != nil {
		return fail(err)
	}
	head := backupHeader{Created: s.cfg.Now().UTC().Round(0), Revision: page.Revision, Layout: layoutVersion, Notes: notes}
	b := newBackupWriter(w, head)
	for {
		after := ""
		for _, e := range page.Entries {
			after = e.Key
			if err := b.add(e.Key, e.Value); err != nil {
				return fail(err)
			}
		}
		if !page.More {
			break
		}
		page, err = s.List(ctx, "", ListOptions{After: after, Limit: backupPage, Revision: head.Revision})
		if err != nil {
			return fail(err)
		}
	}
	if err := b.end(s.cfg.Keyring.first()); err != nil {
		return fail(err)
	}
	return BackupInfo{
		Created: head.Created, Revision: head.Revision, Notes: notes, Keys: b.foot.Keys, SealedBy: b.foot.SealedBy,
	}, nil
}
