package token

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
)

// Minting and verifying beside the one RSA operation that each is made of.

func BenchmarkMint(b *testing.B) {
	k, c := newKeys(b)
	claims := appClaims(c)
	key := private(b, k, k.List()[0].ID)
	b.Run("Mint", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Mint(claims); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare SignPKCS1v15", func(b *testing.B) {
		sum := sha256.Sum256([]byte(mint(b, k, claims)))
		for b.Loop() {
			if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k, c := newKeys(b)
	raw := mint(b, k, appClaims(c))
	v := armVerifier(k, c)
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		set, now := k.set.Load(), c.Now()
		for b.Loop() {
			if _, _, err := v.verify(raw, set, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare VerifyPKCS1v15", func(b *testing.B) {
		key := private(b, k, k.List()[0].ID)
		head, body, sig := cut(raw)
		sum := sha256.Sum256([]byte(head + "." + body))
		signature, err := decodeSegment(sig, false)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
				b.Fatal(err)
			}
		}
	})
}
