package cluster

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// view is all records in memory. Entries are replaced, never changed.
type view struct {
	clusters map[string]*entry // by ID
	// issuers are the assigned ones whose tokens are accepted, by URL.
	issuers     map[string]*entry
	trusted     map[string]*TrustedIssuer // by folded name
	trustedKeys map[trust]*token.LocalKeys
	seen        map[string]time.Time
	reports     map[string]map[string]*report // by cluster, then component/pod
}

// entry is a cluster and what follows from its record.
type entry struct {
	record
	// keys are those of the assigned issuer; nil when its tokens are not accepted.
	keys     *token.LocalKeys
	revision int64 // of the record
	// discovery and keySet are the issuer's documents; nil when there are none.
	discovery, keySet []byte
}

// trust names the keys that a tenant is to use for an issuer.
type trust struct{ tenantID, issuer string }

func newView() *view {
	return &view{
		clusters: map[string]*entry{}, issuers: map[string]*entry{},
		trusted: map[string]*TrustedIssuer{}, trustedKeys: map[trust]*token.LocalKeys{},
		seen: map[string]time.Time{}, reports: map[string]map[string]*report{},
	}
}

// apply brings the view up to date. Keys are parsed before the lock is taken.
func (c *Clusters) apply(changes []store.Change, reset bool) {
	var updates []func(*view)
	changed := map[string]bool{}
	var revision int64
	for _, change := range changes {
		revision = max(revision, change.Revision)
		kind, rest, _ := strings.Cut(strings.TrimPrefix(change.Key, prefix), "/")
		if kind == records {
			changed[rest] = true
		}
		update, err := decode(kind, rest, change)
		if err != nil {
			// What cannot be read counts as absent: a cluster without a record has
			// no keys and no agents.
			c.log.Error("a cluster's record cannot be read", "key", change.Key, "revision", change.Revision, "error", err)
			update, _ = decode(kind, rest, store.Change{})
		}
		if update != nil {
			updates = append(updates, update)
		}
	}
	tell := c.change(updates, reset)
	if !reset && len(changed) == 0 {
		return
	}
	ids := slices.Collect(maps.Keys(changed))
	if reset {
		ids = nil
	}
	for _, f := range tell {
		f(ids, revision)
	}
}

// change brings the updates into the view, and gives whom to tell.
func (c *Clusters) change(updates []func(*view), reset bool) []func([]string, int64) {
	into := c.view // written by this goroutine alone
	if reset {
		into = newView()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, update := range updates {
		update(into)
	}
	c.view = into
	return c.onChange
}

// decode makes of a change what it does to the view; nil for keys that the view
// does not need.
func decode(kind, rest string, change store.Change) (func(*view), error) {
	value := change.Value
	switch kind {
	case records:
		e, err := decodeEntry(value, change.Revision)
		return func(v *view) { v.setCluster(rest, e) }, err
	case seenTimes:
		s, err := decodeAs[seen](value)
		return func(v *view) {
			delete(v.seen, rest)
			if s != nil {
				v.seen[rest] = s.Time
			}
		}, err
	case reports:
		id, source, _ := strings.Cut(rest, "/")
		r, err := decodeAs[report](value)
		return func(v *view) { v.setReport(id, source, r) }, err
	case trusted:
		t, err := decodeAs[TrustedIssuer](value)
		var keys *token.LocalKeys
		if err == nil && t != nil {
			keys, err = parseLocal(t.KeySet)
		}
		return func(v *view) { v.setTrusted(rest, t, keys) }, err
	}
	return nil, nil
}

// decodeAs decodes a value; nil for a deletion.
func decodeAs[T any](value []byte) (*T, error) {
	if value == nil {
		return nil, nil
	}
	v := new(T)
	if err := json.Unmarshal(value, v); err != nil {
		return nil, err
	}
	return v, nil
}

func parseLocal(keySet []byte) (*token.LocalKeys, error) {
	keys, err := token.ParseKeySet(keySet)
	if err != nil {
		return nil, err
	}
	return token.NewLocalKeys(keys), nil
}

// decodeEntry reads a record and makes what the view has of it.
func decodeEntry(value []byte, revision int64) (*entry, error) {
	r, err := decodeAs[record](value)
	if r == nil || err != nil {
		return nil, err
	}
	e := &entry{record: *r, revision: revision}
	if !r.assigned() || len(r.KeySet) == 0 {
		return e, nil
	}
	if e.keys, err = parseLocal(r.KeySet); err != nil {
		return nil, err
	}
	e.keySet = r.KeySet
	e.discovery, err = discoveryDocument(r.IssuerURL)
	return e, err
}

func (v *view) setCluster(id string, e *entry) {
	if old := v.clusters[id]; old != nil {
		delete(v.issuers, old.IssuerURL)
	}
	if e == nil {
		delete(v.clusters, id)
		return
	}
	v.clusters[id] = e
	if e.keys != nil {
		v.issuers[e.IssuerURL] = e
	}
}

func (v *view) setTrusted(name string, t *TrustedIssuer, keys *token.LocalKeys) {
	if old := v.trusted[name]; old != nil {
		delete(v.trustedKeys, trust{azure.Fold(old.TenantID), old.IssuerURL})
	}
	if t == nil {
		delete(v.trusted, name)
		return
	}
	v.trusted[name] = t
	v.trustedKeys[trust{azure.Fold(t.TenantID), t.IssuerURL}] = keys
}

func (v *view) setReport(id, source string, r *report) {
	if r == nil {
		delete(v.reports[id], source)
		if len(v.reports[id]) == 0 {
			delete(v.reports, id)
		}
		return
	}
	if v.reports[id] == nil {
		v.reports[id] = map[string]*report{}
	}
	v.reports[id][source] = r
}
