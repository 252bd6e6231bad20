package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// layoutVersion is the arrangement of keys under the prefix. A program refuses
// a store of a version that it doesn't know.
const layoutVersion = 1

// keyspace maps the callers' keys to etcd's. Under the prefix lie
//
//	d/KEY    the callers' keys
//	x/DIR    deletion markers (see marker)
//	l/NAME   locks
//	v        the layout version
type keyspace struct{ prefix string }

func (k keyspace) data(key string) string    { return k.prefix + "d/" + key }
func (k keyspace) removed(dir string) string { return k.prefix + "x/" + dir }
func (k keyspace) lock(name string) string   { return k.prefix + "l/" + name }
func (k keyspace) locks() string             { return k.prefix + "l/" }
func (k keyspace) version() string           { return k.prefix + "v" }

// key gives the caller's key of an etcd key, false if it isn't one.
func (k keyspace) key(etcdKey []byte) (string, bool) {
	n := len(k.prefix) + len("d/")
	if len(etcdKey) < n || string(etcdKey[len(k.prefix):n]) != "d/" {
		return "", false
	}
	return string(etcdKey[n:]), true
}

// markerDepth is how many segments of a key's directory its deletion marker
// keeps. Deeper ones would make a marker for each resource that ever had a
// child; shallower ones would make unrelated transactions collide.
const markerDepth = 3

// marker names the deletion marker that a delete of key writes: the key's
// directory, cut to markerDepth segments. Since etcd can't compare the absence
// of keys in a range, a transaction that has listed a prefix compares the
// markers of all directories that the prefix touches instead.
func marker(key string) string {
	end := 0
	for range markerDepth {
		i := strings.IndexByte(key[end:], '/')
		if i < 0 {
			break
		}
		end += i + 1
	}
	return key[:end]
}

// markersOf gives the markers of the keys under prefix: the exact one, and
// whether also all markers that start with prefix itself.
func markersOf(prefix string) (exact string, below bool) {
	return marker(prefix), strings.Count(prefix, "/") < markerDepth
}

// checkLayout reads the layout version, and writes it into an empty store.
func (s *Store) checkLayout(ctx context.Context) error {
	key := s.keys.version()
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, strconv.Itoa(layoutVersion))).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		return s.wrap(ctx, err)
	}
	if resp.Succeeded {
		return nil
	}
	kvs := resp.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 1 && string(kvs[0].Value) == strconv.Itoa(layoutVersion) {
		return nil
	}
	if len(kvs) == 1 && string(kvs[0].Value) == restoring {
		return errors.New("a restore into this store was not completed: restore the backup again")
	}
	return fmt.Errorf("the store's layout is not version %d: it was written by another release", layoutVersion)
}
