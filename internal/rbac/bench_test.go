package rbac

import (
	"fmt"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The assignments of a full subscription: 4,000, of which a few are alice's.
func fullSubscription(b *testing.B) []Assignment {
	b.Helper()
	roles := []string{reader, azure.RoleContributor, azure.RoleKeyVaultSecretsUser}
	assignments := []Assignment{
		assign(b, alice, reader, sub),
		assign(b, alice, azure.RoleContributor, sub+"/resourceGroups/rg7"),
		assign(b, alice, azure.RoleKeyVaultSecretsUser, vault1),
	}
	for i := len(assignments); i < 4000; i++ {
		principal := fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", i/4)
		assignments = append(assignments, assign(b, principal, roles[i%3], fmt.Sprintf("%s/resourceGroups/rg%d", sub, i)))
	}
	return assignments
}

func benchmarkAllow(b *testing.B, assignments []Assignment, q Question, want bool) {
	b.Helper()
	p := NewPolicy(assignments, nil)
	if d := p.Allow(q); d.Allowed != want {
		b.Fatal(d.Reason)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Allow(q)
	}
}

func BenchmarkAllow(b *testing.B) {
	secret := scopeOf(b, vault1+"/secrets/s")
	full := fullSubscription(b)
	var mine []Assignment // all 4,000 are one principal's
	for i := range 4000 {
		mine = append(mine, assign(b, alice, azure.RoleContributor, fmt.Sprintf("%s/resourceGroups/rg%d", sub, i)))
	}
	ask := func(principal string) Question {
		return Question{Principals: []string{principal}, Action: getSecret, Data: true, Scope: secret}
	}
	groups := ask(alice)
	groups.Principals = nil
	for i := range 20 {
		groups.Principals = append(groups.Principals, fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", 900+i))
	}
	groups.Principals = append(groups.Principals, alice)

	b.Run("allowed", func(b *testing.B) { benchmarkAllow(b, full, ask(alice), true) })
	b.Run("allowed-20-groups", func(b *testing.B) { benchmarkAllow(b, full, groups, true) })
	b.Run("denied", func(b *testing.B) { benchmarkAllow(b, full, ask("eeeeeeee-0000-4000-8000-000000000900"), false) })
	b.Run("denied-4000-own", func(b *testing.B) { benchmarkAllow(b, mine, ask(alice), false) })
	// What any answer from memory costs at least: the scope's key and one lookup.
	b.Run("bare-lookup", func(b *testing.B) {
		m := map[string]bool{secret.Key(): true}
		b.ReportAllocs()
		for b.Loop() {
			if !m[secret.Key()] {
				b.Fatal("not found")
			}
		}
	})
}

// Check, with its audit record.
func BenchmarkCheck(b *testing.B) {
	f := newFixture(b)
	f.mu.Lock()
	f.tenants[contoso] = NewPolicy(fullSubscription(b), nil)
	f.mu.Unlock()
	r := Request{Caller: callerOf(alice), Action: getSecret, Data: true, Scope: scopeOf(b, vault1+"/secrets/s")}
	ctx := b.Context()
	for name, scope := range map[string]azure.ResourceID{"allowed": r.Scope, "denied": scopeOf(b, vault1+"0/secrets/s")} {
		r.Scope = scope
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d, err := f.Check(ctx, r); err != nil || d.Allowed != (name == "allowed") {
					b.Fatal(d, err)
				}
			}
		})
	}
}

func BenchmarkBuiltInsFirstUse(b *testing.B) {
	line := ""
	for _, def := range BuiltIns() {
		if def.ID == azure.RoleContributor {
			line = fmt.Sprintf(`{"id":%q,"roleName":"Contributor","permissions":[{"actions":["*"],"notActions":["Microsoft.Authorization/*/Write"]}]}`, def.ID)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		decodeBuiltIn(line)
	}
}
