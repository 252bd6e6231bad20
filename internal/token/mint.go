package token

import (
	"encoding/json"
	"fmt"
)

// Mint signs an access token. Version 1.0 tokens name their key by kid and x5t
// in the header, version 2.0 tokens by kid alone, as Entra's do.
//
// It reads memory only. It fails with store.ErrStale when this replica's view
// of the store is too old to be trusted, with [ErrNoKey] when there is no key,
// and for claims that no verifier would accept or that last longer than
// [MaxLifetime]. The errors never contain the token.
func (k *Keys) Mint(c Claims) (string, error) {
	if err := k.st.Fresh(); err != nil {
		return "", fmt.Errorf("minting: %w", err)
	}
	w, err := c.wire()
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(w)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	key := k.set.Load().signer(k.now())
	if key == nil {
		return "", ErrNoKey
	}
	signer := key.v1
	if c.Version == Version2 {
		signer = key.v2
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing with key %s: %w", key.ID, err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("serializing: %w", err)
	}
	if len(raw) > maxTokenBytes {
		return "", fmt.Errorf("token: the token of %d bytes is longer than a verifier accepts", len(raw))
	}
	return raw, nil
}
