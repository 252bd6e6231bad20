package directory

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"time"
)

// A client secret looks like one of Microsoft Entra's, 40 characters with
// "8Q~" from the fourth on, so that secret scanners recognise it. The others are
// random letters and digits: 37 of 62 are 220 bits.
const (
	secretMarker   = "8Q~"
	secretHead     = 3
	secretTail     = 34
	secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	saltSize       = 16
)

// newSecret makes a secret and its text.
func newSecret() (Secret, string) {
	text := randomText(secretHead) + secretMarker + randomText(secretTail)
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return Secret{
		KeyID: newGUID(),
		Hint:  text[:secretHead],
		Hash:  hashSecret(salt, text),
		Salt:  salt,
	}, text
}

// randomText gives n characters, each equally likely.
func randomText(n int) string {
	const limit = 256 / len(secretAlphabet) * len(secretAlphabet)
	text := make([]byte, 0, n)
	buf := make([]byte, n)
	for len(text) < n {
		rand.Read(buf) // never fails
		for _, b := range buf {
			if int(b) < limit && len(text) < n {
				text = append(text, secretAlphabet[int(b)%len(secretAlphabet)])
			}
		}
	}
	return string(text)
}

// hashSecret is SHA-256 over salt and text. A slow hash would add nothing: it
// makes guessing costly where people choose the secret, while 220 random bits
// cannot be guessed at any speed, and every token request would pay for it.
func hashSecret(salt []byte, text string) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// CheckSecret tells whether text is one of the application's secrets that are
// valid at now. expired is true where it is a secret of the past and of no
// valid one. The time taken does not depend on which secret it is, if any.
func (a *Application) CheckSecret(text string, now time.Time) (ok, expired bool) {
	for _, s := range a.Secrets {
		same := subtle.ConstantTimeCompare(hashSecret(s.Salt, text), s.Hash) == 1
		begun, ended := !now.Before(s.Start), !now.Before(s.End)
		ok = ok || (same && begun && !ended)
		expired = expired || (same && ended)
	}
	return ok, expired && !ok
}
