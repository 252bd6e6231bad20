package azure

import "strings"

// Fold maps s to the form under which Azure compares names: ASCII letters in
// lower case, every other byte as it is. It is the only folding in Lanyard.
//
// Unicode folding is wrong here: the Kelvin sign (U+212A) folds to "k" and the
// long s (U+017F) to "s", so that two names which Azure keeps apart would
// become one key, and a grant on the first would open the second.
func Fold(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			var b strings.Builder
			b.Grow(len(s))
			b.WriteString(s[:i])
			writeFolded(&b, s[i:])
			return b.String()
		}
	}
	return s
}

// EqualFold reports whether a and b are the same name to Azure. See [Fold].
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// HasPrefixFold reports whether s begins with prefix, as [EqualFold] compares.
func HasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && EqualFold(s[:len(prefix)], prefix)
}

// CutSuffixFold removes suffix from s where s ends with it, as [EqualFold]
// compares.
func CutSuffixFold(s, suffix string) (before string, found bool) {
	if len(s) < len(suffix) || !EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

func writeFolded(b *strings.Builder, s string) {
	for i := 0; i < len(s); i++ {
		b.WriteByte(lower(s[i]))
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// NormalizeLocation gives a region's canonical name, as Azure Resource Manager
// stores it: without spaces and in lower case ("West Europe" is "westeurope").
func NormalizeLocation(location string) string {
	return Fold(strings.ReplaceAll(location, " ", ""))
}
