package cluster

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Limits of an uploaded key set. A cluster has one key, and two or three while it
// rotates them.
const (
	maxKeySetBytes = 64 << 10
	maxKeys        = 32
	maxKeyID       = 256 // bytes: error messages repeat it
)

const (
	// keyGrace is for how long a key that an agent no longer reports still counts.
	// The API servers of one cluster restart one after another when keys rotate,
	// and an agent asks one of them or another: what the one doesn't publish any
	// more, the other still signs with. Quarter of an hour is ample for a rolling
	// restart, and short beside the life of the tokens.
	keyGrace = 15 * time.Minute
	// keySeenStep is how exactly the time is kept at which a key was last reported,
	// so that a report is not a write each time.
	keySeenStep = time.Minute
)

// readKeys reads an uploaded JWK set, of public keys alone: those by which tokens
// are accepted, and the IDs of those by which none is. The error is the client's.
func readKeys(text []byte) (usable []token.VerificationKey, unusable []string, err error) {
	if len(text) == 0 {
		return nil, nil, errKeys("There are no keys: they are the JWK set that the API server publishes at /openid/v1/jwks.")
	}
	if len(text) > maxKeySetBytes {
		return nil, nil, errKeys("The key set has %d bytes; at most %d are taken.", len(text), maxKeySetBytes)
	}
	if holdsPrivate(text) {
		return nil, nil, errKeys("The key set holds a private or a symmetric key. Whoever has seen it can issue tokens of the cluster: " +
			"replace that key, and send the public keys alone, as the API server publishes them at /openid/v1/jwks.")
	}
	all, err := token.ParseKeySet(text)
	if err != nil {
		return nil, nil, errKeys("The keys are not a JWK set of an API server: %s.", err)
	}
	if len(all) > maxKeys {
		return nil, nil, errKeys("The key set has %d keys; at most %d are taken.", len(all), maxKeys)
	}
	ids := map[string]bool{}
	var why error
	for _, key := range all {
		if len(key.ID) > maxKeyID {
			return nil, nil, errKeys("A key ID has %d bytes; at most %d are taken.", len(key.ID), maxKeyID)
		}
		if ids[key.ID] {
			return nil, nil, errKeys("Two keys of the set have the ID '%s'.", key.ID)
		}
		ids[key.ID] = true
		if err := checkKey(key); err != nil {
			unusable, why = append(unusable, key.ID), errors.Join(why, fmt.Errorf("key '%s': %w", key.ID, err))
			continue
		}
		usable = append(usable, key)
	}
	if len(usable) == 0 {
		if why == nil {
			why = errors.New("the set is empty")
		}
		return nil, nil, errKeys("None of the keys can be used: federated credentials take tokens signed with RS256 alone, "+
			"by an RSA key that kube-apiserver gets with --service-account-signing-key-file. %s.", why)
	}
	return usable, unusable, nil
}

// checkKey refuses what is not a sound public key for RS256.
func checkKey(key token.VerificationKey) error {
	if err := key.Usable(); err != nil {
		return err
	}
	public, ok := key.Public.(*rsa.PublicKey)
	if !ok || public.E < 3 || public.E%2 == 0 {
		return errors.New("its exponent is not that of an RSA key")
	}
	return nil
}

// privateMembers are those of a JWK that must be nobody's but its owner's
// (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// holdsPrivate reports whether an object of the set's list has a private member,
// whatever else is wrong with the set. Case does not count: a key that is spelled
// wrongly has been seen all the same.
func holdsPrivate(text []byte) bool {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	_ = json.Unmarshal(text, &set) // what could be read counts
	for _, key := range set.Keys {
		for name := range key {
			if slices.Contains(privateMembers, azure.Fold(name)) {
				return true
			}
		}
	}
	return false
}

func errKeys(format string, args ...any) error {
	return azure.Errorf(http.StatusBadRequest, "InvalidKeys", format, args...)
}

// encodeKeys gives the JWK set that is stored and published.
func encodeKeys(keys []token.VerificationKey) (json.RawMessage, error) {
	text, err := token.EncodeKeySet(keys)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, fmt.Errorf("encoding the key set: %w", err)
	}
	return compact.Bytes(), nil
}

// keyChange is what an upload does to a cluster's keys.
type keyChange struct{ added, removed []string }

func (c keyChange) empty() bool { return len(c.added)+len(c.removed) == 0 }

// replaceKeys makes the keys those that an operator gives, exactly.
func (r *record) replaceKeys(keys []token.VerificationKey, now time.Time) (keyChange, error) {
	old, err := r.keys()
	if err != nil {
		return keyChange{}, err
	}
	change := keyChange{added: missing(keys, old), removed: missing(old, keys)}
	r.KeysSeen = map[string]time.Time{}
	for _, key := range keys {
		r.KeysSeen[key.ID] = now
	}
	r.KeySet, err = encodeKeys(keys)
	return change, err
}

// mergeKeys takes keys that an agent reports: new ones count at once, and those
// that were not reported for keyGrace no more. A report cannot put another key in
// the place of a known one. written tells whether the record has changed.
func (r *record) mergeKeys(reported []token.VerificationKey, now time.Time) (change keyChange, written bool, err error) {
	old, err := r.keys()
	if err != nil {
		return keyChange{}, false, err
	}
	seen := maps.Clone(r.KeysSeen)
	if seen == nil {
		seen = map[string]time.Time{}
	}
	var merged []token.VerificationKey
	for _, key := range old {
		i := slices.IndexFunc(reported, func(other token.VerificationKey) bool { return other.ID == key.ID })
		switch {
		case i >= 0 && !sameKey(reported[i], key):
			return keyChange{}, false, azure.Errorf(http.StatusConflict, "KeyIDTaken",
				"Another key than the one reported has the ID '%s'. If the cluster's keys were replaced, enrol it anew.", key.ID)
		case i >= 0:
			if now.Sub(seen[key.ID]) >= keySeenStep {
				seen[key.ID], written = now, true
			}
		case now.Sub(seen[key.ID]) >= keyGrace:
			delete(seen, key.ID)
			continue
		}
		merged = append(merged, key)
	}
	change.removed = missing(old, merged)
	change.added = missing(reported, old)
	for _, key := range reported {
		if slices.Contains(change.added, key.ID) {
			merged, seen[key.ID] = append(merged, key), now
		}
	}
	if len(merged) > maxKeys {
		return keyChange{}, false, azure.Errorf(http.StatusConflict, "TooManyKeys",
			"The cluster would have %d keys, with those that were reported in the last %v; at most %d are kept.", len(merged), keyGrace, maxKeys)
	}
	if change.empty() && !written {
		return change, false, nil
	}
	r.KeysSeen = seen
	r.KeySet, err = encodeKeys(merged)
	return change, true, err
}

// keys gives the stored keys.
func (r *record) keys() ([]token.VerificationKey, error) {
	if len(r.KeySet) == 0 {
		return nil, nil
	}
	keys, err := token.ParseKeySet(r.KeySet)
	if err != nil {
		return nil, fmt.Errorf("the stored keys of cluster %s: %w", r.ID, err)
	}
	return keys, nil
}

// missing gives the IDs of the keys that are not among others.
func missing(keys, others []token.VerificationKey) []string {
	var ids []string
	for _, key := range keys {
		if !slices.ContainsFunc(others, func(other token.VerificationKey) bool { return sameKey(key, other) }) {
			ids = append(ids, key.ID)
		}
	}
	return ids
}

// sameKey reports whether both are the same key under the same ID.
func sameKey(a, b token.VerificationKey) bool {
	public, ok := a.Public.(*rsa.PublicKey)
	return ok && a.ID == b.ID && public.Equal(b.Public)
}
