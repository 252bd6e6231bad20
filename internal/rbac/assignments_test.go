package rbac

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

// name1 and name2 are names of assignments.
const (
	name1 = "aaaaaaaa-0000-4000-8000-000000000001"
	name2 = "aaaaaaaa-0000-4000-8000-000000000002"
)

func TestPutAssignment(t *testing.T) {
	f := newFixture(t)
	mi := f.identity("mi")
	a := Assignment{
		Name: strings.ToUpper(name1), Scope: scopeOf(t, vault1), RoleDefinitionID: strings.ToUpper(reader),
		PrincipalID: compact(strings.ToUpper(mi.ObjectID)), Description: "first", UpdatedBy: alice,
		DelegatedManagedIdentityResourceID: vault1,
	}
	want := Assignment{
		Name: a.Name, TenantID: contoso, Scope: a.Scope, RoleDefinitionID: reader, PrincipalID: mi.ObjectID,
		PrincipalType: azure.ServicePrincipal, Description: "first", DelegatedManagedIdentityResourceID: vault1,
		CreatedOn: standin.Start, UpdatedOn: standin.Start, CreatedBy: alice, UpdatedBy: alice,
	}
	expect := func(got Assignment, created, wantCreated bool, err error) {
		t.Helper()
		if err != nil || created != wantCreated {
			t.Fatalf("created %v, %v", created, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("given (-want +got):\n%s", diff)
		}
		got, err = f.GetAssignment(t.Context(), contoso, name1) // in any case
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	}
	got, created, err := f.put(a)
	expect(got, created, true, err)

	// The same again changes nothing.
	f.clock.Advance(time.Hour)
	a.UpdatedBy = bob
	got, created, err = f.put(a)
	expect(got, created, false, err)

	// The description and the condition can be changed.
	a.Description, a.Condition = "second", "Exists @Request[x]"
	got, created, err = f.put(a)
	want.Description, want.Condition, want.ConditionVersion = "second", a.Condition, "2.0"
	want.UpdatedOn, want.UpdatedBy = f.clock.Now(), bob
	expect(got, created, false, err)
	if d := f.check(callerOf(mi.ObjectID), readVault, false, vault1); d.Allowed {
		t.Error("the new condition is not in force")
	}

	// The condition can be taken away, also after the principal is gone.
	f.update(func(tx *store.Tx) error { return f.dir.DeletePrincipal(tx, contoso, mi.ObjectID) })
	a.Condition, a.ConditionVersion, a.PrincipalType = "", "2.0", azure.ServicePrincipal
	got, created, err = f.put(a)
	want.Condition, want.ConditionVersion = "", ""
	expect(got, created, false, err)
	// A token of the deleted principal's may still be valid: its role counts.
	if d := f.check(callerOf(mi.ObjectID), readVault, false, vault1); !d.Allowed {
		t.Errorf("denied to the orphan: %s", d.Reason)
	}
}

func TestPutAssignmentRefuses(t *testing.T) {
	f := newFixture(t)
	mi := f.identity("mi")
	people := f.group("people")
	var app, appObject, appPrincipal string
	f.update(func(tx *store.Tx) error {
		a, p, err := f.dir.CreateApplication(tx, contoso, "shop")
		app, appObject, appPrincipal = a.AppID, a.ObjectID, p.ObjectID
		return err
	})
	role, _, err := f.define(RoleDefinition{ID: guidN(1), RoleName: "Vaults", AssignableScopes: []string{sub + "/resourceGroups/rg1", managementGroup("m")},
		Permissions: []Permission{{DataActions: []string{"Microsoft.KeyVault/*"}}}})
	if err != nil {
		t.Fatal(err)
	}
	missing := "99999999-0000-4000-8000-000000000000"
	good := Assignment{Scope: scopeOf(t, sub), RoleDefinitionID: reader, PrincipalID: mi.ObjectID}
	for _, test := range []struct {
		name    string
		change  func(a *Assignment)
		status  int
		code    string
		message string
	}{
		{"a name that is no GUID", func(a *Assignment) { a.Name = "mine" }, 400, "InvalidRoleAssignmentId",
			"The role assignment ID 'mine' is not valid. The role assignment ID must be a GUID."},
		{"a name without dashes", func(a *Assignment) { a.Name = compact(name1) }, 400, "InvalidRoleAssignmentId",
			"The role assignment ID '" + compact(name1) + "' is not valid. The role assignment ID must be a GUID."},
		{"a principal that is no GUID", func(a *Assignment) { a.PrincipalID = "User" }, 400, "InvalidPrincipalId",
			"The Principal ID 'User' is not valid. Principal ID must be a GUID."},
		{"no principal", func(a *Assignment) { a.PrincipalID = "" }, 400, "InvalidPrincipalId",
			"The Principal ID '' is not valid. Principal ID must be a GUID."},
		{"a role that is no GUID", func(a *Assignment) { a.RoleDefinitionID = "Reader" }, 400, "BadRequestFormat",
			"The request was incorrectly formatted."},
		{"a role that does not exist", func(a *Assignment) { a.RoleDefinitionID = missing }, 404, "RoleDefinitionDoesNotExist",
			"The specified role definition with ID '" + compact(missing) + "' does not exist."},
		{"an unknown principal", func(a *Assignment) { a.PrincipalID = missing }, 400, "PrincipalNotFound",
			"Principal " + compact(missing) + " does not exist in the directory " + contoso + ". Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype"},
		{"another type", func(a *Assignment) { a.PrincipalType = azure.User }, 400, "UnmatchedPrincipalType",
			"The PrincipalId '" + compact(mi.ObjectID) + "' has type 'ServicePrincipal' , which is different from specified PrinciaplType 'User'."},
		{"a group as a user", func(a *Assignment) { a.PrincipalID, a.PrincipalType = people.ObjectID, azure.User }, 400, "UnmatchedPrincipalType",
			"The PrincipalId '" + compact(people.ObjectID) + "' has type 'Group' , which is different from specified PrinciaplType 'User'."},
		{"a type that is none", func(a *Assignment) { a.PrincipalType = "Robot" }, 400, "BadRequestFormat",
			"The request was incorrectly formatted. The principal type must be User, Group, ServicePrincipal, ForeignGroup or Device."},
		{"a client ID", func(a *Assignment) { a.PrincipalID = mi.AppID }, 400, "InvalidPrincipalId",
			"The Principal ID '" + mi.AppID + "' is not valid. It is the client ID of the managed identity '" + mi.ResourceID + "', and a role assignment takes the object ID: use '" + mi.ObjectID + "'."},
		{"a client ID with a type", func(a *Assignment) { a.PrincipalID, a.PrincipalType = app, azure.ServicePrincipal }, 400, "InvalidPrincipalId",
			"The Principal ID '" + app + "' is not valid. It is the client ID of the application 'shop', and a role assignment takes the object ID: use '" + appPrincipal + "'."},
		{"an application's object ID", func(a *Assignment) { a.PrincipalID = appObject }, 400, "InvalidPrincipalId",
			"The Principal ID '" + appObject + "' is not valid. It is the application object ID of the application 'shop', and a role assignment takes the object ID: use '" + appPrincipal + "'."},
		{"a custom role elsewhere", func(a *Assignment) { a.RoleDefinitionID = role.ID }, 400, "RoleAssignmentScopeNotAssignableToRoleDefinition",
			"The role definition '" + role.ID + "' (Vaults) can't be assigned at the scope '" + sub + "'. Its assignable scopes are '" + sub + "/resourceGroups/rg1', '" + managementGroup("m") + "'."},
		{"a custom role in rg10", func(a *Assignment) {
			a.RoleDefinitionID, a.Scope = role.ID, scopeOf(t, sub+"/resourceGroups/rg10")
		}, 400, "RoleAssignmentScopeNotAssignableToRoleDefinition",
			"The role definition '" + role.ID + "' (Vaults) can't be assigned at the scope '" + sub + "/resourceGroups/rg10'. Its assignable scopes are '" + sub + "/resourceGroups/rg1', '" + managementGroup("m") + "'."},
		{"data actions at a management group", func(a *Assignment) {
			a.RoleDefinitionID, a.Scope = role.ID, scopeOf(t, managementGroup("m"))
		}, 400, "InvalidCreateRoleAssignmentRequest",
			"Role assignments to Management Groups can not be made to custom role definitions with DataActions"},
		{"a condition that can't be read", func(a *Assignment) { a.Condition = "ActionMatches{'*'} AND" }, 400, "InvalidRoleAssignmentCondition",
			"The given role assignment condition is invalid. It can't be read: at character 23: an attribute, a value or a set is expected, not the end."},
		{"an old condition", func(a *Assignment) { a.Condition, a.ConditionVersion = "Exists @Request[x]", "1.0" }, 400, "InvalidRoleAssignmentCondition",
			`The given role assignment condition is invalid. It can't be read: the condition version "1.0" is not supported; use "2.0".`},
		{"a long description", func(a *Assignment) { a.Description = strings.Repeat("x", 2049) }, 400, "InvalidRoleAssignmentDescription",
			"The description of the role assignment is longer than 2048 bytes."},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := good
			test.change(&a)
			_, _, err := f.put(a)
			wantError(t, err, test.status, test.code, test.message)
		})
	}
	if keys := f.keys(keyPrefix + contoso + "/assignments/"); len(keys) > 0 {
		t.Errorf("something was stored: %v", keys)
	}

	// A principal that is yet to come is accepted with its type.
	good.PrincipalID, good.PrincipalType = missing, "serviceprincipal"
	if a, _, err := f.put(good); err != nil || a.PrincipalType != azure.ServicePrincipal {
		t.Errorf("the type of the principal to come is %q, %v", a.PrincipalType, err)
	}
	// A custom role at and below its scopes.
	for _, scope := range []string{sub + "/resourceGroups/rg1", strings.ToUpper(vault1)} {
		if _, _, err := f.put(Assignment{Scope: scopeOf(t, scope), RoleDefinitionID: role.ID, PrincipalID: mi.ObjectID}); err != nil {
			t.Errorf("at %s: %v", scope, err)
		}
	}
}

// Strict mode has Azure's error for a client ID, and accepts it with a type.
func TestPutAssignmentStrict(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Strict = true })
	mi := f.identity("mi")
	a := Assignment{Scope: scopeOf(t, sub), RoleDefinitionID: reader, PrincipalID: mi.AppID}
	_, _, err := f.put(a)
	if e, ok := errors.AsType[*azure.Error](err); !ok || e.Code != "PrincipalNotFound" {
		t.Errorf("the error is %v", err)
	}
	a.PrincipalType = azure.ServicePrincipal
	if _, _, err := f.put(a); err != nil {
		t.Error(err)
	}
	if d := f.check(callerOf(mi.ObjectID), readVault, false, vault1); d.Allowed {
		t.Error("a role of the client ID is the identity's")
	}
}

func TestAssignmentsAreUnique(t *testing.T) {
	f := newFixture(t)
	a := Assignment{Name: name1, Scope: scopeOf(t, vault1), RoleDefinitionID: reader, PrincipalID: alice, PrincipalType: azure.User}
	if _, _, err := f.put(a); err != nil {
		t.Fatal(err)
	}
	const notPermitted = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
	for name, change := range map[string]func(a *Assignment){
		"scope":                    func(a *Assignment) { a.Scope = scopeOf(t, sub) },
		"principal":                func(a *Assignment) { a.PrincipalID = bob },
		"role":                     func(a *Assignment) { a.RoleDefinitionID = owner },
		"role that does not exist": func(a *Assignment) { a.RoleDefinitionID = guidN(9) },
	} {
		t.Run("same name, other "+name, func(t *testing.T) {
			other := a
			change(&other)
			_, _, err := f.put(other)
			wantError(t, err, 400, "RoleAssignmentUpdateNotPermitted", notPermitted)
		})
	}
	same := a
	same.Name, same.Scope, same.Condition = name2, scopeOf(t, strings.ToUpper(vault1)), "Exists @Request[x]"
	_, _, err := f.put(same)
	wantError(t, err, 409, "RoleAssignmentExists",
		"The role assignment already exists. The ID of the existing role assignment is "+compact(name1)+".")

	// Names are unique in a tenant, not beyond.
	other := a
	other.TenantID, other.Scope = fabrikam, scopeOf(t, "/subscriptions/"+fabrikamSub)
	if _, created, err := f.put(other); err != nil || !created {
		t.Errorf("the name in another tenant: created %v, %v", created, err)
	}
	// Free again after the deletion.
	if err := f.delete(name1); err != nil {
		t.Fatal(err)
	}
	if _, created, err := f.put(same); err != nil || !created {
		t.Errorf("the triple after its deletion: created %v, %v", created, err)
	}
	same.Name, same.Scope = name1, scopeOf(t, sub)
	if _, created, err := f.put(same); err != nil || !created {
		t.Errorf("the name after its deletion: created %v, %v", created, err)
	}
}

// Of many who make the same assignment under their own names at once, one wins.
func TestTriplesAreGuarded(t *testing.T) {
	f := newFixture(t)
	const n = 8
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, errs[i] = f.store.Update(context.Background(), func(tx *store.Tx) error {
				_, _, err := f.PutAssignment(tx, Assignment{Name: uuid.NewString(), TenantID: contoso, Scope: scopeOf(t, sub),
					RoleDefinitionID: reader, PrincipalID: alice, PrincipalType: azure.User})
				return err
			})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if e, ok := errors.AsType[*azure.Error](err); !ok || e.Code != "RoleAssignmentExists" {
			t.Errorf("the error is %v", err)
		}
	}
	all, err := f.ListAssignments(t.Context(), contoso)
	if err != nil || won != 1 || len(all) != 1 {
		t.Errorf("%d won, %d assignments, %v", won, len(all), err)
	}
	if n := f.keys(assignmentCountKey(contoso, contosoSub))[assignmentCountKey(contoso, contosoSub)]; n != "1" {
		t.Errorf("the count is %s", n)
	}
}

func TestAssignmentLimit(t *testing.T) {
	f := newFixture(t)
	f.limits.AssignmentsPerSubscription = 3
	a1 := f.grant(alice, owner, sub)
	f.grant(bob, owner, vault1)
	f.grant(bob, owner, sub)
	f.grant(alice, owner, "/")                           // counts for no subscription
	f.grant(alice, owner, "/subscriptions/"+contosoSub2) // nor for another
	third := Assignment{Scope: scopeOf(t, sub+"/resourceGroups/rg1"), RoleDefinitionID: reader, PrincipalID: alice, PrincipalType: azure.User}
	_, _, err := f.put(third)
	wantError(t, err, 400, "RoleAssignmentLimitExceeded", "The number of role assignments for the subscription exceeds the limit.")
	if _, _, err := f.put(a1); err != nil { // a change is none more
		t.Errorf("changing one at the limit: %v", err)
	}
	if err := f.delete(a1.Name); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.put(third); err != nil {
		t.Errorf("after a deletion: %v", err)
	}
	f.update(func(tx *store.Tx) error {
		_, err := f.DeleteBelow(tx, contoso, scopeOf(t, sub+"/resourceGroups/rg1"), 0)
		return err
	})
	f.grant(alice, reader, sub)
	f.grant(bob, reader, sub)
}

func TestDeleteAssignment(t *testing.T) {
	f := newFixture(t)
	wantError(t, f.delete(name1), 404, "RoleAssignmentNotFound", "The role assignment '"+name1+"' is not found.")
	_, err := f.GetAssignment(t.Context(), contoso, name1)
	wantError(t, err, 404, "RoleAssignmentNotFound", "The role assignment '"+name1+"' is not found.")

	const last = "Cannot delete the last RBAC admin assignment"
	owner1 := f.grant(alice, owner, sub)
	f.grant(bob, owner, "/")
	f.grant(bob, owner, vault1)
	f.grant(bob, reader, sub)
	wantError(t, f.delete(owner1.Name), 400, "CannotDeleteLastRbacAdminAssignment", last)
	admin := f.grant(bob, azure.RoleUserAccessAdministrator, sub)
	if err := f.delete(strings.ToUpper(owner1.Name)); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.delete(admin.Name), 400, "CannotDeleteLastRbacAdminAssignment", last)
	all, err := f.ListAssignments(t.Context(), contoso)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Name != admin.Name {
			if err := f.delete(a.Name); err != nil {
				t.Error(err)
			}
		}
	}
	want := map[string]string{
		assignmentKey(contoso, admin.Name):          "",
		tripleKey(admin):                            "",
		adminsKey(contoso, contosoSub) + admin.Name: "",
		assignmentCountKey(contoso, contosoSub):     "",
	}
	if diff := cmp.Diff(want, f.keys(keyPrefix), cmp.Comparer(func(a, b string) bool { return true })); diff != "" {
		t.Errorf("keys that are left (-want +got):\n%s", diff)
	}
}

// The last administrator can't be deleted by two at once either.
func TestLastAdminIsGuarded(t *testing.T) {
	f := newFixture(t)
	names := []string{f.grant(alice, owner, sub).Name, f.grant(bob, owner, sub).Name}
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = f.delete(name) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("the deletions gave %v and %v", errs[0], errs[1])
	}
}

func TestDeleteBelow(t *testing.T) {
	f := newFixture(t)
	role, _, err := f.define(RoleDefinition{ID: guidN(1), RoleName: "Custom", AssignableScopes: []string{sub}})
	if err != nil {
		t.Fatal(err)
	}
	rg1 := sub + "/resourceGroups/rg1"
	for i := range 20 {
		f.grant(fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i), role.ID, fmt.Sprintf("%s/providers/Microsoft.KeyVault/vaults/v%d", strings.ToUpper(rg1), i))
	}
	f.grant(alice, owner, rg1)
	kept := []Assignment{
		f.grant(alice, owner, sub), f.grant(alice, owner, "/"),
		f.grant(alice, owner, sub+"/resourceGroups/rg10"), f.grant(alice, owner, "/subscriptions/"+contosoSub2+"/resourceGroups/rg1"),
	}
	drop := func(scope string, limit int) (rounds int) {
		t.Helper()
		for more := true; more; rounds++ {
			f.update(func(tx *store.Tx) (err error) {
				more, err = f.DeleteBelow(tx, contoso, scopeOf(t, scope), limit)
				return err
			})
		}
		return rounds
	}
	if n := drop(rg1, 0); n != 2 {
		t.Errorf("it took %d rounds for 21 assignments, want 2", n)
	}
	all, err := f.ListAssignments(t.Context(), contoso)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept, all, cmpopts.SortSlices(func(a, b Assignment) bool { return a.Name < b.Name })); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if n := f.keys(assignmentCountKey(contoso, contosoSub))[assignmentCountKey(contoso, contosoSub)]; n != "2" {
		t.Errorf("the subscription's count is %s, want 2", n)
	}
	if err := f.undefine(role.ID); err != nil {
		t.Errorf("the custom role is still in use: %v", err)
	}
	if n := drop(sub, 1); n != 2 { // the last administrator goes too
		t.Errorf("it took %d rounds, want 2", n)
	}
	if n := drop("/", 100); n != 1 {
		t.Errorf("it took %d rounds, want 1", n)
	}
	if keys := f.keys(keyPrefix); len(keys) > 0 {
		t.Errorf("keys are left: %v", keys)
	}
}

func TestAssignmentIn(t *testing.T) {
	f := newFixture(t)
	a := f.grant(alice, reader, sub)
	f.update(func(tx *store.Tx) error {
		got, err := f.AssignmentIn(tx, contoso, strings.ToUpper(a.Name))
		if err != nil {
			return err
		}
		if diff := cmp.Diff(a, got); diff != "" {
			t.Error(diff)
		}
		_, err = f.AssignmentIn(tx, fabrikam, a.Name)
		wantError(t, err, 404, "RoleAssignmentNotFound", "The role assignment '"+a.Name+"' is not found.")
		return nil
	})
}

func TestFilterAssignments(t *testing.T) {
	at := func(principal, scope string) Assignment {
		return Assignment{PrincipalID: principal, Scope: scopeOf(t, scope)}
	}
	rg1 := sub + "/resourceGroups/rg1"
	all := []Assignment{at(alice, "/"), at(bob, sub), at(team, rg1), at(alice, vault1), at(alice, sub+"/resourceGroups/rg10"), at(bob, "/subscriptions/"+contosoSub2)}
	for _, test := range []struct {
		name   string
		scope  string
		filter Filter
		want   []int
	}{
		{"all that concern a group", rg1, Filter{}, []int{0, 1, 2, 3}},
		{"in other case", strings.ToUpper(rg1), Filter{}, []int{0, 1, 2, 3}},
		{"a subscription", sub, Filter{}, []int{0, 1, 2, 3, 4}},
		{"the root", "/", Filter{}, []int{0, 1, 2, 3, 4, 5}},
		{"atScope()", rg1, Filter{AtScope: true}, []int{0, 1, 2}},
		{"principalId eq", sub, Filter{PrincipalID: strings.ToUpper(alice)}, []int{0, 3, 4}},
		{"assignedTo()", sub, Filter{AssignedTo: []string{bob, team}}, []int{1, 2}},
		{"atScope() and assignedTo()", rg1, Filter{AtScope: true, AssignedTo: []string{alice, team}}, []int{0, 2}},
		{"nobody", rg1, Filter{AssignedTo: []string{}}, nil},
	} {
		var want []Assignment
		for _, i := range test.want {
			want = append(want, all[i])
		}
		if diff := cmp.Diff(want, FilterAssignments(all, scopeOf(t, test.scope), test.filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestRoleDefinitionIDs(t *testing.T) {
	const path = "/providers/Microsoft.Authorization/roleDefinitions/"
	for _, s := range []string{
		sub + path + reader, path + reader, vault1 + path + strings.ToUpper(reader), "/PROVIDERS/microsoft.authorization/ROLEDEFINITIONS/" + compact(reader),
		managementGroup("m") + path + reader, sub + "/resourceGroups/rg1" + path + reader + "/",
	} {
		if id, err := ParseRoleDefinitionID(s); err != nil || id != reader {
			t.Errorf("%s: %q, %v", s, id, err)
		}
	}
	for _, s := range []string{"", reader, "Reader", path + "Reader", path, "/", sub, "/providers/Microsoft.Authorization/roleAssignments/" + reader, sub + path + reader + "/x/y"} {
		_, err := ParseRoleDefinitionID(s)
		wantError(t, err, 400, "BadRequestFormat", "The request was incorrectly formatted.")
	}
	for scope, want := range map[string]string{
		"/": path + reader, managementGroup("m"): path + reader, sub: sub + path + reader, vault1: sub + path + reader,
	} {
		if got := FormatRoleDefinitionID(scopeOf(t, scope), reader); got != want {
			t.Errorf("at %s: %s, want %s", scope, got, want)
		}
	}
}

func managementGroup(name string) string {
	return "/providers/Microsoft.Management/managementGroups/" + name
}
