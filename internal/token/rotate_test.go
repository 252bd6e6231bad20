package token

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

// signerOf gives the kid of a token minted now.
func signerOf(t *testing.T, k *Keys, c *standin.Clock) string {
	t.Helper()
	header, _ := decode(t, mint(t, k, appClaims(c)))
	return header["kid"].(string)
}

// published gives the key IDs of the JWK set.
func published(t *testing.T, k *Keys) []string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(k.JWKS("https://issuer"), &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

func TestRotation(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	v := armVerifier(k, c)
	first := k.List()[0].ID
	second, err := k.Rotate(t.Context(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	step := func(when string, signer string, ids ...string) {
		t.Helper()
		if got := signerOf(t, k, c); got != signer {
			t.Errorf("%s: %s signs, want %s", when, got, signer)
		}
		got := published(t, k)
		if len(got) != len(ids) {
			t.Fatalf("%s: published %v, want %v", when, got, ids)
		}
		for i := range ids {
			if got[i] != ids[i] {
				t.Errorf("%s: published %v, want %v", when, got, ids)
			}
		}
	}
	step("after rotating", first, second.ID, first)
	c.Advance(24*time.Hour - time.Second)
	step("before the lead ends", first, second.ID, first)

	last := appClaims(c)
	last.Expiry = last.IssuedAt + int64(MaxLifetime/time.Second)
	raw := mint(t, k, last)
	c.Advance(time.Second)
	step("when the lead ends", second.ID, second.ID, first)

	c.Advance(MaxLifetime - 2*time.Second)
	if _, err := v.Verify(raw); err != nil {
		t.Errorf("the last token of the old key, before it ends: %v", err)
	}
	// A replica whose clock lags may have signed later.
	c.Advance(ClockSkew + time.Second)
	step("just before the old key's end", second.ID, second.ID, first)
	c.Advance(time.Second)
	step("after the last token's end", second.ID, second.ID)
	if key := k.List(); len(key) != 1 || key[0].ID != second.ID {
		t.Errorf("keys: %v", key)
	}
}

// A token of a retired key is refused though its own time is not over, and
// though it was accepted before.
func TestRetiredKeyIsRefused(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	v := armVerifier(k, c)
	first := k.List()[0].ID
	key := private(t, k, first)
	if _, err := k.Rotate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	_, claims := decode(t, mint(t, k, appClaims(c)))
	claims["exp"] = c.Now().AddDate(1, 0, 0).Unix()
	raw := forge(t, key, map[string]any{"alg": "RS256", "typ": "JWT", "kid": first}, claims)
	if _, err := v.Verify(raw); err != nil {
		t.Fatalf("before the retirement: %v", err)
	}
	c.Advance(MaxLifetime + ClockSkew)
	wantReason(t, v, raw, BadSignature)
}

// When the store lost the signing key, the one that it replaced signs again, but
// no token that would be refused.
func TestSuccessorLost(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	first := k.List()[0].ID
	second, err := k.Rotate(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.st.Update(t.Context(), func(tx *store.Tx) error {
		tx.Delete(keyPrefix + second.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := signerOf(t, k, c); got != first {
		t.Errorf("%s signs, want %s", got, first)
	}
	c.Advance(MaxLifetime + ClockSkew)
	if _, err := k.Mint(appClaims(c)); !errors.Is(err, ErrNoKey) {
		t.Errorf("minting: %v, want ErrNoKey", err)
	}
}

func TestRotateRefusals(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	if _, err := k.Rotate(t.Context(), -time.Second); err == nil {
		t.Error("a negative lead was accepted")
	}
	if _, err := k.Rotate(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Rotate(t.Context(), 0); !errors.Is(err, ErrRotating) {
		t.Errorf("a rotation during another: %v, want ErrRotating", err)
	}
	if n := len(k.List()); n != 2 {
		t.Errorf("%d keys, want 2", n)
	}
	c.Advance(time.Hour)
	if _, err := k.Rotate(t.Context(), 0); err != nil {
		t.Errorf("when the lead has ended: %v", err)
	}
}

func TestRotateRemovesRetiredKeys(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	for range 3 {
		if _, err := k.Rotate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		c.Advance(MaxLifetime + ClockSkew)
	}
	page, err := k.st.List(t.Context(), keyPrefix, store.ListOptions{KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	// The signer, and the one that it replaced, which the next rotation removes.
	if len(page.Entries) != 2 {
		t.Errorf("%d keys in the store, want 2", len(page.Entries))
	}
}

func TestRotateIsBounded(t *testing.T) {
	t.Parallel()
	k, c := newKeys(t)
	for range maxKeys - 1 {
		if _, err := k.Rotate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Second)
	}
	if _, err := k.Rotate(t.Context(), 0); !errors.Is(err, ErrTooManyKeys) {
		t.Errorf("rotation %d: %v, want ErrTooManyKeys", maxKeys, err)
	}
	if n := len(published(t, k)); n != maxKeys {
		t.Errorf("%d keys published, want %d", n, maxKeys)
	}
}
