package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Entry is one key at one revision.
type Entry struct {
	// Key is the key without the store's prefix.
	Key string
	// Value is what was put; it must not be modified.
	Value []byte
	// Revision is that of the last change: the ETag. It is 0 in a transaction
	// that has written the key and is not yet committed.
	Revision int64
	// Created is the revision at which the key appeared.
	Created int64
}

// Get reads a key linearizably: it sees every write that ended before the call,
// on whichever replica. It fails with ErrNotFound when the key is absent.
func (s *Store) Get(ctx context.Context, key string) (_ Entry, err error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer done()
	defer s.metrics.observe(opGet, time.Now(), &err)
	e, _, err := s.getAt(ctx, key, 0)
	return e, err
}

// getAt reads a key at a revision, or linearizably when that is 0, and tells
// the revision at which it read.
func (s *Store) getAt(ctx context.Context, key string, rev int64) (Entry, int64, error) {
	if key == "" {
		return Entry{}, 0, errEmptyKey
	}
	resp, err := s.rangeAt(ctx, s.keys.data(key), rev)
	if err != nil {
		return Entry{}, 0, fmt.Errorf("reading %s: %w", key, err)
	}
	if rev == 0 {
		rev = resp.Header.GetRevision()
	}
	if len(resp.Kvs) == 0 {
		return Entry{}, rev, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	return s.entry(resp.Kvs[0]), rev, nil
}

var errEmptyKey = errors.New("store: empty key")

// rangeAt reads at a revision, or linearizably when that is 0. What is at a
// past revision never changes, so any member may answer for it; a member that
// hasn't reached the revision makes it ask the leader.
func (s *Store) rangeAt(ctx context.Context, etcdKey string, rev int64, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if rev == 0 {
		resp, err := s.client.Get(ctx, etcdKey, opts...)
		return resp, s.wrap(ctx, err)
	}
	opts = append(opts, clientv3.WithRev(rev))
	resp, err := s.client.Get(ctx, etcdKey, append(opts, clientv3.WithSerializable())...)
	if errors.Is(err, rpctypes.ErrFutureRev) {
		resp, err = s.client.Get(ctx, etcdKey, opts...)
	}
	return resp, s.wrap(ctx, err)
}

func (s *Store) entry(kv *mvccpb.KeyValue) Entry {
	key, _ := s.keys.key(kv.Key)
	return Entry{Key: key, Value: kv.Value, Revision: kv.ModRevision, Created: kv.CreateRevision}
}

// ListOptions narrows List.
type ListOptions struct {
	// After gives only keys greater than this one, in byte order: the last key
	// of the page before.
	After string
	// Limit is the most entries to give, 0: all.
	Limit int
	// KeysOnly leaves the values out.
	KeysOnly bool
	// Revision reads the past, so that all pages show one state; 0: now.
	// List fails with ErrCompacted when it is no longer kept.
	Revision int64
}

// Page is a part of a listing.
type Page struct {
	// Entries are in the byte order of their keys.
	Entries []Entry
	// Revision is the one that the page shows.
	Revision int64
	// More: there are further keys after the last entry.
	More bool
}

// List gives the keys under prefix in order, linearizably. An empty prefix
// gives all keys.
func (s *Store) List(ctx context.Context, prefix string, opts ListOptions) (_ Page, err error) {
	if opts.Limit < 0 || opts.Revision < 0 {
		return Page{}, errors.New("store: negative limit or revision")
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return Page{}, err
	}
	defer done()
	defer s.metrics.observe(opList, time.Now(), &err)
	return s.listAt(ctx, prefix, opts)
}

// chunk is how many keys are asked for at once, so that a long listing is not
// one message.
const chunk = 1000

func (s *Store) listAt(ctx context.Context, prefix string, opts ListOptions) (Page, error) {
	page := Page{Revision: opts.Revision}
	start := s.keys.data(prefix)
	end := clientv3.GetPrefixRangeEnd(start)
	if after := s.keys.data(opts.After); opts.After != "" && after >= start {
		start = after + "\x00"
	}
	for start < end {
		n := chunk
		if opts.Limit > 0 {
			n = min(n, opts.Limit-len(page.Entries))
		}
		get := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(int64(n))}
		if opts.KeysOnly {
			get = append(get, clientv3.WithKeysOnly())
		}
		resp, err := s.rangeAt(ctx, start, page.Revision, get...)
		if err != nil {
			return Page{}, fmt.Errorf("listing %s: %w", prefix, err)
		}
		if page.Revision == 0 {
			page.Revision = resp.Header.GetRevision()
		}
		for _, kv := range resp.Kvs {
			page.Entries = append(page.Entries, s.entry(kv))
		}
		page.More = resp.More
		if !resp.More || opts.Limit > 0 && len(page.Entries) >= opts.Limit {
			return page, nil
		}
		start = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	// After lies behind every key of the prefix, yet the caller gets a revision.
	if page.Revision == 0 {
		_, rev, err := s.revision(ctx)
		if err != nil {
			return Page{}, fmt.Errorf("listing %s: %w", prefix, err)
		}
		page.Revision = rev
	}
	return page, nil
}

// revision reads the cluster's identity and its current revision, linearizably.
func (s *Store) revision(ctx context.Context) (cluster uint64, rev int64, err error) {
	resp, err := s.client.Get(ctx, s.keys.version(), clientv3.WithCountOnly())
	if err != nil {
		return 0, 0, s.wrap(ctx, err)
	}
	return resp.Header.GetClusterId(), resp.Header.GetRevision(), nil
}
