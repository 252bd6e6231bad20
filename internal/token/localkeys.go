package token

import (
	"crypto/rsa"
	"errors"
	"slices"
)

// LocalKeys are the keys of an issuer of which the cloud itself has a copy, as
// that of an attached cluster, parsed once. They are never changed.
type LocalKeys struct {
	keys []foreignKey
	ids  []string
}

// NewLocalKeys takes those of the keys by which tokens are accepted, and passes
// over the others; see [VerificationKey.Usable].
func NewLocalKeys(keys []VerificationKey) *LocalKeys {
	l := &LocalKeys{}
	for _, key := range keys {
		if public, ok := key.Public.(*rsa.PublicKey); ok && key.Usable() == nil {
			l.keys = append(l.keys, foreignKey{id: key.ID, public: public})
			l.ids = append(l.ids, key.ID)
		}
	}
	return l
}

// IDs gives the IDs of the keys, in their order.
func (l *LocalKeys) IDs() []string {
	if l == nil {
		return nil
	}
	return slices.Clone(l.ids)
}

// verify checks an assertion's signature. No keys at all is an issuer that is
// not there.
func (l *LocalKeys) verify(a *Assertion) error {
	if l == nil || len(l.keys) == 0 {
		return &UnreachableError{Issuer: a.Issuer,
			Err: errors.New("it is one of this cloud's own, and no attached cluster has it, or has keys")}
	}
	return a.signedBy(l.keys)
}
