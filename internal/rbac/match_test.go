package rbac

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	const identities = "Microsoft.ManagedIdentity/userAssignedIdentities"
	tests := []struct {
		pattern, action string
		want            bool
	}{
		{"*", "Microsoft.KeyVault/vaults/read", true},
		{"*", "", true},
		{"*/read", "Microsoft.KeyVault/vaults/read", true},
		{"*/read", "Microsoft.KeyVault/vaults/readAll", false},
		{"*/read", "Microsoft.KeyVault/vaults/write", false},
		{identities + "/*/assign/action", identities + "/assign/action", true},
		{identities + "/*/assign/action", identities + "/x/y/assign/action", true},
		{identities + "/*/assign/action", identities + "/unassign/action", false},
		{identities + "/*/assign/action", identities + "/reassign/action", false},
		{identities + "/*/assign/action", identities + "assign/action", false},
		{identities + "/*/read", identities + "/read", true},
		{"Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/read", true},
		{"Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/secrets/versions/read", true},
		{"Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaultsread", false},
		{"Microsoft.Support/*", "Microsoft.Support/", true},
		{"Microsoft.Support/*", "Microsoft.Support", false},
		{"Microsoft.Support/*", "Microsoft.Support/a/b/read", true},
		{"Microsoft.Support/*", "Microsoft.SupportX/read", false},
		{"Microsoft.Support/read", "microsoft.support/READ", true},
		{"MICROSOFT.support/*", "Microsoft.Support/read", true},
		{"Microsoft.Network/virtualNetworks/read ", "Microsoft.Network/virtualNetworks/read", true},
		{"a/*/*/read", "a/read", true},
		{"a/*/*/read", "a/b/read", true},
		{"a/*/b/*/read", "a/b/read", true},
		{"a/*/b/*/read", "a/xb/read", false},
		{"a/**/read", "a/read", false},
		{"a/**/read", "a//read", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c", false},
		{"a*a", "a", false},
		{"/*/", "/", true},
		{"/*/", "//", true},
		{"/*/", "", false},
		{"", "", true},
		{"", "a", false},
		{"Microsoft.KeyVault/vaults/read", "Microsoft.\u212AeyVault/vaults/read", false}, // Kelvin sign
		{"a.b/read", "axb/read", false},
		{"a/[b]/read", "a/b/read", false},
	}
	for _, test := range tests {
		if got := Match(test.pattern, test.action); got != test.want {
			t.Errorf("Match(%q, %q) = %v, want %v", test.pattern, test.action, got, test.want)
		}
	}
}

// oracleMatch is Match again, from the words of the rule and segment by segment:
// "*" is ".*", and a whole "*" segment between two others may be missing.
func oracleMatch(pattern, action string) bool {
	segments := strings.Split(strings.TrimSpace(pattern), "/")
	var re strings.Builder
	re.WriteString(`(?is)\A`)
	for i, seg := range segments {
		last := i == len(segments)-1
		switch {
		case seg == "*" && i > 0 && !last:
			re.WriteString(`(?:.*/)?`)
			continue
		default:
			for j, lit := range strings.Split(seg, "*") {
				if j > 0 {
					re.WriteString(`.*`)
				}
				re.WriteString(regexp.QuoteMeta(lit))
			}
		}
		if !last {
			re.WriteString(`/`)
		}
	}
	re.WriteString(`\z`)
	return regexp.MustCompile(re.String()).MatchString(action)
}

func TestMatchAgainstOracle(t *testing.T) {
	segment := rapid.SampledFrom([]string{"*", "a", "B", "ab", "aa", "a*", "*b", "a*b", "**", "", "read", "action"})
	literal := rapid.SampledFrom([]string{"a", "b", "ab", "AA", "aab", "", "read", "action"})
	path := func(g *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(g, 1, 6).Draw(t, "segments"), "/")
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		pattern, action := path(segment).Draw(t, "pattern"), path(literal).Draw(t, "action")
		if got, want := Match(pattern, action), oracleMatch(pattern, action); got != want {
			t.Fatalf("Match(%q, %q) = %v, the oracle says %v", pattern, action, got, want)
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("a/*/read", "a/read")
	f.Add("*", "")
	f.Add("/*/*/", "//")
	f.Add("a/*/*", "a/b/")
	f.Fuzz(func(t *testing.T, pattern, action string) {
		got := Match(pattern, action)
		if len(pattern) > 200 || !isASCII(pattern+action) || strings.TrimSpace(pattern) != pattern {
			return // the oracle folds beyond ASCII
		}
		if want := oracleMatch(pattern, action); got != want {
			t.Errorf("Match(%q, %q) = %v, the oracle says %v", pattern, action, got, want)
		}
	})
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] > 0x7e {
			return false
		}
	}
	return true
}
