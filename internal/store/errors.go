package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: the key is absent.
	ErrNotFound = errors.New("store: key not found")
	// ErrExists is what Tx.Create fails with when it is given no error of its own.
	ErrExists = errors.New("store: key exists")
	// ErrConflict: a transaction lost against others too often.
	ErrConflict = errors.New("store: too many concurrent changes")
	// ErrLocked: another holder has the lock, or the lock's lease has ended.
	ErrLocked = errors.New("store: locked")
	// ErrStale: the views have made no progress for too long to be trusted.
	ErrStale = errors.New("store: views are stale")
	// ErrInUse: another process has the data directory.
	ErrInUse = errors.New("store: data directory in use")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("store: closed")
	// ErrCompacted: the revision asked for is no longer kept.
	ErrCompacted = errors.New("store: revision compacted")
	// ErrTooLarge: a value, or a transaction, is larger than etcd takes.
	ErrTooLarge = errors.New("store: too large")
	// ErrQuota: the database is full. Reads go on; with the embedded engine
	// deletes do too.
	ErrQuota = errors.New("store: database over its quota")
	// ErrSealed: a sealed value can't be opened.
	ErrSealed = errors.New("store: sealed value can't be opened")
)

// wrap turns etcd's errors into the package's own. ctx is the one of the call.
func (s *Store) wrap(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		// The cause says more than what the engine made of it.
		return context.Cause(ctx)
	}
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		if s.engine != nil {
			return s.errFull()
		}
		return fmt.Errorf("%w: compact and defragment the etcd cluster or raise its --quota-backend-bytes, then run etcdctl alarm disarm", ErrQuota)
	case errors.Is(err, rpctypes.ErrCompacted):
		return ErrCompacted
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w for the etcd cluster: %w", ErrTooLarge, err)
	}
	return err
}

// errFull is ErrQuota of the embedded engine.
func (s *Store) errFull() error {
	return fmt.Errorf("%w of %d bytes: delete what is not needed, or raise the quota and restart", ErrQuota, s.cfg.QuotaBytes)
}
