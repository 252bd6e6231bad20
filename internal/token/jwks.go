package token

import (
	"encoding/base64"
	"encoding/json"
	"math/big"
	"sync"
	"time"
)

// maxCachedJWKS bounds the documents kept, one for each issuer that was asked
// for, which is one or two for each tenant.
const maxCachedJWKS = 1024

// jwksKey names one state of the published document. The number of keys that
// are not retired tells which those are, since keys of one set retire in a
// fixed order; so the document needs no clock of its own.
type jwksKey struct {
	issuer string
	live   int
}

type jwksCache struct {
	mu   sync.Mutex
	docs map[jwksKey]json.RawMessage
}

// publishedKey is a key in Entra's form of the JWK set.
type publishedKey struct {
	KeyType     string   `json:"kty"`
	Use         string   `json:"use"`
	KeyID       string   `json:"kid"`
	Thumbprint  string   `json:"x5t"`
	Modulus     string   `json:"n"`
	Exponent    string   `json:"e"`
	Certificate []string `json:"x5c"`
	Issuer      string   `json:"issuer"`
}

// JWKS gives the JWK set of all keys that are not retired, those too that do not
// sign yet, newest first. Each key has kty, use, kid, x5t, n, e, x5c and, as
// Entra's documents do, the issuer as given. The bytes are shared between calls
// and must not be changed.
func (k *Keys) JWKS(issuer string) json.RawMessage {
	return k.set.Load().document(issuer, k.now())
}

func (s *keySet) document(issuer string, now time.Time) json.RawMessage {
	live := make([]*signingKey, 0, len(s.keys))
	for _, key := range s.keys {
		if !key.retired(now) {
			live = append(live, key)
		}
	}
	name := jwksKey{issuer, len(live)}
	s.jwks.mu.Lock()
	defer s.jwks.mu.Unlock()
	if doc, ok := s.jwks.docs[name]; ok {
		return doc
	}
	doc := encodeJWKS(issuer, live)
	if s.jwks.docs == nil || len(s.jwks.docs) >= maxCachedJWKS {
		s.jwks.docs = map[jwksKey]json.RawMessage{}
	}
	s.jwks.docs[name] = doc
	return doc
}

func encodeJWKS(issuer string, keys []*signingKey) json.RawMessage {
	set := struct {
		Keys []publishedKey `json:"keys"`
	}{Keys: make([]publishedKey, 0, len(keys))}
	for _, key := range keys {
		set.Keys = append(set.Keys, publishedKey{
			KeyType:     "RSA",
			Use:         "sig",
			KeyID:       key.ID,
			Thumbprint:  key.ID,
			Modulus:     base64.RawURLEncoding.EncodeToString(key.public.N.Bytes()),
			Exponent:    base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.public.E)).Bytes()),
			Certificate: []string{base64.StdEncoding.EncodeToString(key.certificate)},
			Issuer:      issuer,
		})
	}
	// A struct of strings always encodes.
	doc, _ := json.Marshal(set)
	return doc
}
