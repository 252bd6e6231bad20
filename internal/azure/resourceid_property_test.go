package azure

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// segment draws names that a parser may take for structure.
func segment() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"providers", "Providers", "subscriptions", "resourceGroups", "a", "A", "rg1", "rg10",
			"k", kelvin, "s", longS, "a b", "[x]", "*", "ä"}),
		rapid.StringMatching(`[a-zA-Z0-9._()-]{0,10}[a-zA-Z0-9]`),
	)
}

// typeName draws the names of types and namespaces.
func typeName() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"A.B", "a.b", "Microsoft.X", "things", "Things", "resourceGroups", "subscriptions"})
}

// level is one way down from a scope, and the parent that the new ID must have.
func level(t *rapid.T, id ResourceID) ResourceID {
	if id.lastLevel() >= 0 && rapid.Bool().Draw(t, "child") {
		return id.Child(typeName().Draw(t, "type"), segment().Draw(t, "name"))
	}
	return id.Resource(typeName().Draw(t, "namespace"), typeName().Draw(t, "type"), segment().Draw(t, "name"))
}

func drawID(t *rapid.T) ResourceID {
	id := Root()
	switch rapid.IntRange(0, 2).Draw(t, "start") {
	case 1:
		id = SubscriptionScope(segment().Draw(t, "subscription"))
	case 2:
		id = ResourceGroupScope(segment().Draw(t, "subscription"), segment().Draw(t, "group"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "depth") {
		id = level(t, id)
	}
	return id
}

func TestResourceIDProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawID(t)
		parsed, err := ParseResourceID(id.String())
		if err != nil {
			t.Fatalf("an ID that was built does not parse: %v", err)
		}
		if parsed.String() != id.String() || !parsed.Equal(id) {
			t.Fatalf("%q parses to %q", id, parsed)
		}
		upper := strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				return r - 'a' + 'A'
			}
			return r
		}, id.String())
		shouted, err := ParseResourceID(upper)
		if err != nil || !shouted.Equal(id) || shouted.Key() != id.Key() || !EqualFold(shouted.Type(), id.Type()) {
			t.Fatalf("%q in capitals is %q, %v", id, shouted, err)
		}
		below := level(t, id)
		if !below.Parent().Equal(id) {
			t.Fatalf("the parent of %q is %q, want %q", below, below.Parent(), id)
		}
		if below.Scope().String() != id.String() && below.Scope().String() != id.Scope().String() {
			t.Fatalf("the scope of %q is %q", below, below.Scope())
		}
		if !id.Contains(below) || below.Contains(id) {
			t.Fatalf("%q and %q do not contain one another as they should", id, below)
		}
		n := 0
		for a := range below.Ancestors() {
			n++
			if !a.Contains(below) {
				t.Fatalf("%q does not contain %q", a, below)
			}
			if again, err := ParseResourceID(a.String()); err != nil || !again.Equal(a) {
				t.Fatalf("the ancestor %q of %q is no ID: %v", a, below, err)
			}
		}
		if n < 2 {
			t.Fatalf("%q has %d ancestors", below, n)
		}
	})
}

// keyContains is what the store relies on: a scope is a prefix of the keys below it.
func keyContains(a, b ResourceID) bool {
	if a.IsRoot() {
		return strings.HasPrefix(b.Key(), "/")
	}
	return b.Key() == a.Key() || strings.HasPrefix(b.Key(), a.Key()+"/")
}

func TestKeyIsPrefixExactlyWhenScopeContains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawID(t)
		b := a
		switch rapid.IntRange(0, 2).Draw(t, "relation") {
		case 0:
			b = drawID(t)
		case 1:
			b = level(t, a)
		case 2:
			b = a.Parent()
		}
		if got, want := a.Contains(b), keyContains(a, b); got != want {
			t.Fatalf("%q contains %q = %v, the keys say %v", a, b, got, want)
		}
		if got, want := a.Equal(b), a.Key() == b.Key(); got != want {
			t.Fatalf("%q equals %q = %v, the keys say %v", a, b, got, want)
		}
	})
}

func FuzzParseResourceID(f *testing.F) {
	for _, seed := range []string{
		"", "/", "//", "/subscriptions", testSub, testSub + "/", testSub + "/resourceGroups/rg",
		testSub + "/resourceGroups/providers/providers/A.B/t/providers/providers/C.D/e/x",
		"/providers/Microsoft.Management/managementGroups/mg",
		"/providers/A.B/t/n/providers", "/subscriptions/" + kelvin, "/subscriptions/\xff", "/providers/A.B/t/n/c/m",
		"/SUBSCRIPTIONS/s/RESOURCEGROUPS/g/PROVIDERS/a/b/c", "/a/b", "/providers/providers/providers/providers",
	} {
		f.Add(seed, testSub)
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		id, err := ParseResourceID(s)
		if err != nil {
			return
		}
		if want := strings.TrimSuffix(s, "/"); id.String() != want && s != "/" {
			t.Fatalf("%q prints as %q", s, id)
		}
		again, err := ParseResourceID(id.String())
		if err != nil || again.String() != id.String() || again.Key() != id.Key() {
			t.Fatalf("%q parses, but %q gives %q, %v", s, id, again, err)
		}
		folded, err := ParseResourceID(id.Key())
		if err != nil || !folded.Equal(id) {
			t.Fatalf("the key of %q gives %q, %v", id, folded, err)
		}
		if !EqualFold(id.Type(), folded.Type()) || !EqualFold(id.Name(), folded.Name()) {
			t.Fatalf("%q and its key differ in type or name", id)
		}
		steps := 0
		for a := range id.Ancestors() {
			if steps++; steps > len(s)+1 || !a.Contains(id) {
				t.Fatalf("the walk from %q does not lead up: %q", id, a)
			}
		}
		b, err := ParseResourceID(other)
		if err != nil {
			return
		}
		if got, want := id.Contains(b), keyContains(id, b); got != want {
			t.Fatalf("%q contains %q = %v, the keys say %v", id, b, got, want)
		}
	})
}
