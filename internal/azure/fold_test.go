package azure

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Letters that Unicode folds to ASCII ones, and that Azure's names keep apart.
const (
	kelvin = "\u212a" // folds to "k"
	longS  = "\u017f" // folds to "s"
)

func TestFold(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"already-lower_1.0", "already-lower_1.0"},
		{"RG-One", "rg-one"},
		{"aZ[`{@", "az[`{@"},
		{"tailZ", "tailz"},
		{kelvin + "ey", kelvin + "ey"},
		{"KEY" + kelvin, "key" + kelvin},
		{"vault" + longS, "vault" + longS},
		{"ÄÖÜ", "ÄÖÜ"},
		{"\xffA\xfe", "\xffa\xfe"},
	} {
		if got := Fold(tt.in); got != tt.want {
			t.Errorf("Fold(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestFoldKeepsLookalikesApart(t *testing.T) {
	for _, pair := range [][2]string{
		{"key", kelvin + "ey"},
		{"KEY", kelvin + "ey"},
		{"vaults", "vault" + longS},
		{"straße", "STRASSE"},
		{"ä", "Ä"},
		{"ı", "I"},
	} {
		a, b := pair[0], pair[1]
		if EqualFold(a, b) || EqualFold(b, a) {
			t.Errorf("EqualFold(%q, %q) = true", a, b)
		}
		if Fold(a) == Fold(b) {
			t.Errorf("Fold makes one key of %q and %q", a, b)
		}
		if HasPrefixFold(b, a) {
			t.Errorf("HasPrefixFold(%q, %q) = true", b, a)
		}
		if _, found := CutSuffixFold(b, a); found {
			t.Errorf("CutSuffixFold(%q, %q) found it", b, a)
		}
	}
}

func TestFoldDoesNotAllocateForFoldedText(t *testing.T) {
	const s = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590"
	if n := testing.AllocsPerRun(100, func() { Fold(s) }); n != 0 {
		t.Errorf("Fold of folded text made %v allocations", n)
	}
}

func TestPrefixAndSuffixFold(t *testing.T) {
	for _, tt := range []struct {
		s, part        string
		prefix, suffix bool
		before         string
	}{
		{"Microsoft.KeyVault", "MICROSOFT.", true, false, "Microsoft.KeyVault"},
		{"Microsoft.KeyVault", ".keyvault", false, true, "Microsoft"},
		{"abc", "", true, true, "abc"},
		{"abc", "ABC", true, true, ""},
		{"abc", "abcd", false, false, "abc"},
		{"", "", true, true, ""},
		{"", "a", false, false, ""},
	} {
		if got := HasPrefixFold(tt.s, tt.part); got != tt.prefix {
			t.Errorf("HasPrefixFold(%q, %q) = %v", tt.s, tt.part, got)
		}
		before, found := CutSuffixFold(tt.s, tt.part)
		if found != tt.suffix || before != tt.before {
			t.Errorf("CutSuffixFold(%q, %q) = %q, %v", tt.s, tt.part, before, found)
		}
	}
}

func TestNormalizeLocation(t *testing.T) {
	for in, want := range map[string]string{
		"West Europe": "westeurope",
		"westeurope":  "westeurope",
		" East US 2 ": "eastus2",
		"":            "",
	} {
		if got := NormalizeLocation(in); got != want {
			t.Errorf("NormalizeLocation(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFoldProperties(t *testing.T) {
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.SampledFrom([]rune("aAkKsSzZ\u212a\u017f-/"))),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		if Fold(Fold(a)) != Fold(a) {
			t.Fatalf("Fold is not idempotent on %q", a)
		}
		if len(Fold(a)) != len(a) {
			t.Fatalf("Fold changes the length of %q", a)
		}
		if got, want := EqualFold(a, b), Fold(a) == Fold(b); got != want {
			t.Fatalf("EqualFold(%q, %q) = %v, but Fold says %v", a, b, got, want)
		}
		if got, want := HasPrefixFold(a, b), strings.HasPrefix(Fold(a), Fold(b)); got != want {
			t.Fatalf("HasPrefixFold(%q, %q) = %v, but Fold says %v", a, b, got, want)
		}
		before, found := CutSuffixFold(a, b)
		if want := strings.HasSuffix(Fold(a), Fold(b)); found != want {
			t.Fatalf("CutSuffixFold(%q, %q) found = %v, but Fold says %v", a, b, found, want)
		}
		if !strings.HasPrefix(a, before) {
			t.Fatalf("CutSuffixFold(%q, %q) = %q, which is no prefix", a, b, before)
		}
	})
}
