package rbac

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// A question about another tenant's root is denied, whatever the caller may do
// at its own, and the record says so.
func TestCheckAtAnothersRoot(t *testing.T) {
	f := newFixture(t)
	f.grant(bob, owner, "/")
	const action = "Microsoft.Authorization/tenants/write"
	for tenant, want := range map[string]bool{"": true, contoso: true, strings.ToUpper(contoso): true, fabrikam: false} {
		d, err := f.Check(t.Context(), Request{Caller: callerOf(bob), Action: action, Scope: azure.Root(), TenantID: tenant})
		if err != nil || d.Allowed != want {
			t.Errorf("at the root of %q: %+v, %v", tenant, d, err)
		}
	}
	denied := 0
	for _, r := range f.records() {
		if r.Action == action && r.Result == audit.ResultDenied && strings.Contains(r.Reason, "belongs to another tenant") {
			denied++
		}
	}
	if denied != 1 {
		t.Errorf("%d records of a denial, want 1", denied)
	}
}

// All that a tenant had goes, in several transactions, and nothing of another's.
func TestDeleteTenant(t *testing.T) {
	f := newFixture(t)
	for i := range 40 {
		f.grant(guidN(100+i), owner, "/")
		f.grant(guidN(100+i), reader, sub)
		if _, _, err := f.define(RoleDefinition{
			ID: guidN(200 + i), RoleName: fmt.Sprintf("Role %d", i), AssignableScopes: []string{sub},
			Permissions: []Permission{{Actions: []string{"*/read"}}},
		}); err != nil {
			t.Fatal(err)
		}
		f.grant(guidN(100+i), guidN(200+i), sub)
	}
	if _, _, err := f.put(Assignment{TenantID: fabrikam, Scope: azure.Root(), RoleDefinitionID: owner, PrincipalID: bob, PrincipalType: azure.ServicePrincipal}); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for more := true; more; steps++ {
		f.update(func(tx *store.Tx) (err error) {
			more, err = f.DeleteTenant(tx, strings.ToUpper(contoso))
			return err
		})
	}
	if steps < 3 {
		t.Errorf("%d steps", steps)
	}
	page, err := f.store.List(t.Context(), keyPrefix, store.ListOptions{KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Entries {
		if !strings.HasPrefix(e.Key, keyPrefix+fabrikam) {
			t.Errorf("%s is left", e.Key)
		}
	}
	if len(page.Entries) == 0 {
		t.Error("the other tenant's went too")
	}
	if d := f.check(callerOf(guidN(100)), "a/read", false, "/"); d.Allowed {
		t.Error("a role assignment still counts")
	}
}
