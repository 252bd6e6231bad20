package rbac

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestPutDefinition(t *testing.T) {
	f := newFixture(t)
	d := RoleDefinition{
		ID: strings.ToUpper(guidN(1)), RoleName: "Vault Reader", Description: "reads vaults", UpdatedBy: alice,
		AssignableScopes: []string{sub + "/", strings.ToUpper(sub), managementGroup("m"), managementGroup("M")},
		Permissions:      []Permission{{Actions: []string{"*/read"}, Condition: "Exists @Request[x]"}, {}},
	}
	want := RoleDefinition{
		ID: guidN(1), TenantID: contoso, RoleName: "Vault Reader", Description: "reads vaults", Custom: true,
		AssignableScopes: []string{sub, managementGroup("m")},
		Permissions: []Permission{
			{Actions: []string{"*/read"}, NotActions: []string{}, DataActions: []string{}, NotDataActions: []string{}, Condition: "Exists @Request[x]", ConditionVersion: "2.0"},
			{Actions: []string{}, NotActions: []string{}, DataActions: []string{}, NotDataActions: []string{}},
		},
		CreatedOn: standin.Start, UpdatedOn: standin.Start, CreatedBy: alice, UpdatedBy: alice,
	}
	expect := func(got RoleDefinition, created, wantCreated bool, err error) {
		t.Helper()
		if err != nil || created != wantCreated {
			t.Fatalf("created %v, %v", created, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("given (-want +got):\n%s", diff)
		}
		if got, err = f.GetDefinition(t.Context(), contoso, compact(d.ID)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		if got, ok := f.Role(contoso, d.ID); !ok || !cmp.Equal(want, got) {
			t.Errorf("the view has %+v", got)
		}
	}
	got, created, err := f.define(d)
	expect(got, created, true, err)

	f.clock.Advance(time.Hour)
	d.RoleName, d.Permissions, d.UpdatedBy = "Vaults", nil, bob
	d.AssignableScopes = []string{sub}
	got, created, err = f.define(d)
	want.RoleName, want.Permissions, want.AssignableScopes = "Vaults", []Permission{}, []string{sub}
	want.UpdatedOn, want.UpdatedBy = f.clock.Now(), bob
	expect(got, created, false, err)

	all, err := f.ListDefinitions(t.Context(), contoso)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]RoleDefinition{want}, all); diff != "" {
		t.Error(diff)
	}
	if all, err := f.ListDefinitions(t.Context(), fabrikam); err != nil || len(all) != 0 {
		t.Errorf("the other tenant has %v, %v", all, err)
	}
}

func TestPutDefinitionRefuses(t *testing.T) {
	f := newFixture(t)
	good := RoleDefinition{
		ID: guidN(1), TenantID: contoso, RoleName: "Role", Custom: true, AssignableScopes: []string{sub},
		Permissions: []Permission{{Actions: []string{"*/read"}}},
	}
	action := func(a string) func(d *RoleDefinition) {
		return func(d *RoleDefinition) { d.Permissions = []Permission{{NotActions: []string{a}}} }
	}
	dataAction := func(a string) func(d *RoleDefinition) {
		return func(d *RoleDefinition) { d.Permissions = []Permission{{DataActions: []string{a}}} }
	}
	scopes := func(s ...string) func(d *RoleDefinition) {
		return func(d *RoleDefinition) { d.AssignableScopes = s }
	}
	noAction := func(a string) string {
		return "'" + a + "' does not match any of the actions supported by the providers."
	}
	invalidID := func(s string, i string) string {
		return "Property id '" + s + "' at path 'properties.assignableScopes[" + i + "]' is invalid. Expect fully qualified resource Id that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'."
	}
	const scopesInvalid = "The assignable scopes of the role definition are not valid: "
	for _, test := range []struct {
		name    string
		change  func(d *RoleDefinition)
		status  int
		code    string
		message string
	}{
		{"an ID that is no GUID", func(d *RoleDefinition) { d.ID = "mine" }, 400, "InvalidRoleDefinitionId",
			"The role definition ID 'mine' is not valid. The role definition ID must be a GUID."},
		{"another type", func(d *RoleDefinition) { d.Custom = false }, 400, "InvalidRoleDefinitionType",
			"The role definition type is not valid. It must be 'CustomRole'."},
		{"a built-in role's ID", func(d *RoleDefinition) { d.ID = strings.ToUpper(reader) }, 409, "RoleDefinitionExists",
			"A role definition with the ID '" + reader + "' already exists: it is the built-in role 'Reader'."},
		{"a built-in role's name", func(d *RoleDefinition) { d.RoleName = "reader" }, 409, "RoleDefinitionWithSameNameExists",
			"A custom role with the same name already exists in this directory. Use a different name"},
		{"no name", func(d *RoleDefinition) { d.RoleName = " " }, 400, "RoleDefinitionNameNullOrEmpty",
			"The role definition name can't be null or empty."},
		{"a long name", func(d *RoleDefinition) { d.RoleName = strings.Repeat("ä", 513) }, 400, "InvalidRoleDefinitionName",
			"The role definition name is longer than 512 characters."},
		{"a long description", func(d *RoleDefinition) { d.Description = strings.Repeat("x", 2049) }, 400, "InvalidRoleDefinitionDescription",
			"The description of the role definition is longer than 2048 bytes."},
		{"no scopes", scopes(), 400, "MissingAssignableScopes", "The role definition must have at least one assignable scope."},
		{"the root", scopes(sub, "/"), 400, "InvalidAssignableScopes", scopesInvalid + "the root scope '/' is for built-in roles only."},
		{"a wildcard", scopes(sub + "/resourceGroups/*"), 400, "InvalidAssignableScopes", scopesInvalid + "'" + sub + "/resourceGroups/*' has a wildcard."},
		{"two management groups", scopes(managementGroup("a"), managementGroup("b")), 400, "InvalidAssignableScopes", scopesInvalid + "only one management group is possible."},
		{"too many", scopes(slices.Repeat([]string{sub}, 2001)...), 400, "InvalidAssignableScopes", scopesInvalid + "it has 2001, and at most 2000 are possible."},
		{"no ID", scopes(sub, "Invalid_Scope"), 400, "LinkedInvalidPropertyId", invalidID("Invalid_Scope", "1")},
		{"a tenant resource", scopes("/providers/Microsoft.Billing/accounts/x"), 400, "LinkedInvalidPropertyId", invalidID("/providers/Microsoft.Billing/accounts/x", "0")},
		{"an empty action", action(""), 400, "InvalidActionOrNotAction", noAction("")},
		{"one word", action("read"), 400, "InvalidActionOrNotAction", noAction("read")},
		{"two wildcards", action("Microsoft.*/*/read"), 400, "InvalidActionOrNotAction", noAction("Microsoft.*/*/read")},
		{"a blank", action("Microsoft.KeyVault/vaults read"), 400, "InvalidActionOrNotAction", noAction("Microsoft.KeyVault/vaults read")},
		{"two slashes", action("Microsoft.KeyVault//read"), 400, "InvalidActionOrNotAction", noAction("Microsoft.KeyVault//read")},
		{"a slash first", action("/Microsoft.KeyVault/read"), 400, "InvalidActionOrNotAction", noAction("/Microsoft.KeyVault/read")},
		{"a slash second", action("*//read"), 400, "InvalidActionOrNotAction", noAction("*//read")},
		{"letters beyond ASCII", action("Microsoft.\u212AeyVault/vaults/read"), 400, "InvalidActionOrNotAction", noAction("Microsoft.\u212AeyVault/vaults/read")},
		{"a long data action", dataAction("a/" + strings.Repeat("b", 511)), 400, "InvalidDataActionOrNotDataAction", noAction("a/" + strings.Repeat("b", 511))},
		{"a condition that can't be read", func(d *RoleDefinition) { d.Permissions[0].Condition = "x" }, 400, "InvalidRoleAssignmentCondition",
			"The given role definition condition is invalid. It can't be read: at character 2: an operator such as StringEquals is expected, not the end."},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := good
			d.Permissions = slices.Clone(good.Permissions)
			test.change(&d)
			_, err := f.store.Update(t.Context(), func(tx *store.Tx) error {
				_, _, err := f.PutDefinition(tx, d)
				return err
			})
			wantError(t, err, test.status, test.code, test.message)
		})
	}
	if keys := f.keys(keyPrefix); len(keys) > 0 {
		t.Errorf("something was stored: %v", keys)
	}
	// Data actions and a management group may be in one role: it can't be
	// assigned at the management group, but in the subscriptions.
	good.AssignableScopes = []string{sub, managementGroup("m")}
	good.Permissions = []Permission{{DataActions: []string{"*"}}}
	if _, _, err := f.define(good); err != nil {
		t.Error(err)
	}
}

func TestRoleNamesAreUnique(t *testing.T) {
	f := newFixture(t)
	role := func(n int, name string) RoleDefinition {
		return RoleDefinition{ID: guidN(n), RoleName: name, AssignableScopes: []string{sub}}
	}
	const taken = "A custom role with the same name already exists in this directory. Use a different name"
	for _, d := range []RoleDefinition{role(1, "One"), role(2, "Two"), role(1, "ONE")} { // the last is a change
		if _, _, err := f.define(d); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := f.define(role(3, "one"))
	wantError(t, err, 409, "RoleDefinitionWithSameNameExists", taken)
	_, _, err = f.define(role(2, "One"))
	wantError(t, err, 409, "RoleDefinitionWithSameNameExists", taken)
	_, _, err = f.define(role(2, "Owner"))
	wantError(t, err, 409, "RoleDefinitionWithSameNameExists", taken)
	other := role(4, "One")
	other.TenantID = fabrikam
	if _, _, err := f.define(other); err != nil {
		t.Errorf("the name in another tenant: %v", err)
	}
	// A changed name is free again, and so is a deleted role's.
	if _, _, err := f.define(role(1, "First")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.define(role(2, "one")); err != nil {
		t.Errorf("the name that was given up: %v", err)
	}
	if err := f.undefine(guidN(2)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.define(role(3, "One")); err != nil {
		t.Errorf("the name of the deleted role: %v", err)
	}
}

func TestCustomRoleLimit(t *testing.T) {
	f := newFixture(t)
	f.limits.CustomRoles = 2
	role := func(n int) RoleDefinition {
		return RoleDefinition{ID: guidN(n), RoleName: guidN(n), AssignableScopes: []string{sub}}
	}
	for _, n := range []int{1, 2, 2} {
		if _, _, err := f.define(role(n)); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := f.define(role(3))
	wantError(t, err, 400, "RoleDefinitionLimitExceeded", "Role definition limit exceeded. No more role definitions can be created.")
	if err := f.undefine(guidN(1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.define(role(3)); err != nil {
		t.Error(err)
	}
}

func TestDeleteDefinition(t *testing.T) {
	f := newFixture(t)
	d, _, err := f.define(RoleDefinition{ID: guidN(1), RoleName: "Role", AssignableScopes: []string{sub}})
	if err != nil {
		t.Fatal(err)
	}
	a := f.grant(alice, d.ID, vault1)
	wantError(t, f.undefine(d.ID), 400, "RoleDefinitionHasAssignments",
		"There are existing role assignments referencing role (code: RoleDefinitionHasAssignments).")
	if err := f.delete(a.Name); err != nil {
		t.Fatal(err)
	}
	if err := f.undefine(strings.ToUpper(d.ID)); err != nil {
		t.Fatal(err)
	}
	const gone = "The specified role definition with ID '" + "c0000000-0000-4000-8000-000000000001" + "' does not exist."
	wantError(t, f.undefine(d.ID), 404, "RoleDefinitionDoesNotExist", gone)
	_, err = f.GetDefinition(t.Context(), contoso, d.ID)
	wantError(t, err, 404, "RoleDefinitionDoesNotExist", gone)
	_, err = f.GetDefinition(t.Context(), contoso, "Owner")
	wantError(t, err, 404, "RoleDefinitionDoesNotExist", "The specified role definition with ID 'Owner' does not exist.")
	wantError(t, f.undefine(owner), 400, "InvalidRoleDefinitionType",
		"The role definition '"+owner+"' (Owner) is built-in and can't be deleted.")
	if r, err := f.GetDefinition(t.Context(), contoso, owner); err != nil || r.RoleName != "Owner" {
		t.Errorf("Owner is %+v, %v", r, err)
	}
	if keys := f.keys(keyPrefix); len(keys) > 0 {
		t.Errorf("keys are left: %v", keys)
	}
}

// A role that is assigned while it is deleted either stays or can't be assigned.
func TestDeleteDefinitionIsGuarded(t *testing.T) {
	f := newFixture(t)
	d, _, err := f.define(RoleDefinition{ID: guidN(1), RoleName: "Role", AssignableScopes: []string{sub}})
	if err != nil {
		t.Fatal(err)
	}
	var deleted, assigned error
	var wg sync.WaitGroup
	wg.Go(func() { deleted = f.undefine(d.ID) })
	wg.Go(func() {
		_, assigned = f.store.Update(context.Background(), func(tx *store.Tx) error {
			_, _, err := f.PutAssignment(tx, Assignment{Name: name1, TenantID: contoso, Scope: scopeOf(t, sub), RoleDefinitionID: d.ID,
				PrincipalID: alice, PrincipalType: azure.User})
			return err
		})
	})
	wg.Wait()
	if (deleted == nil) == (assigned == nil) {
		t.Errorf("the deletion gave %v, the assignment %v", deleted, assigned)
	}
	for _, err := range []error{deleted, assigned} {
		if _, ok := errors.AsType[*azure.Error](err); err != nil && !ok {
			t.Error(err)
		}
	}
}

func TestAssignableAt(t *testing.T) {
	def := RoleDefinition{AssignableScopes: []string{sub + "/resourceGroups/rg1", managementGroup(contoso), "nonsense"}}
	for scope, want := range map[string]bool{
		vault1:                    true,
		"/subscriptions/whatever": true, // in the root group of the tenant
		managementGroup("m"):      true,
		"/":                       false,
	} {
		if got := assignableAt(&def, contoso, scopeOf(t, scope)); got != want {
			t.Errorf("at %s: %v", scope, got)
		}
	}
	if assignableAt(&def, fabrikam, scopeOf(t, "/subscriptions/whatever")) {
		t.Error("another tenant's ID makes a root group")
	}
	builtIn := RoleDefinition{AssignableScopes: []string{"/"}}
	if !assignableAt(&builtIn, contoso, azure.Root()) {
		t.Error("a built-in role can't be assigned at the root")
	}
}
