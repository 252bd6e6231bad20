package rbac

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/lanyard-id/lanyard/internal/azure"
)

const (
	sub    = "/subscriptions/00000000-0000-0000-0000-00000000aaaa"
	alice  = "00000000-0000-0000-0000-0000000000a1"
	bob    = "00000000-0000-0000-0000-0000000000b0"
	team   = "00000000-0000-0000-0000-00000000007e"
	vault1 = sub + "/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/v1"
)

func scopeOf(tb testing.TB, s string) azure.ResourceID {
	tb.Helper()
	id, err := azure.ParseResourceID(s)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// assign makes an assignment with a name of its own.
func assign(tb testing.TB, principal, role, scope string) Assignment {
	tb.Helper()
	return Assignment{
		Name:             principal + role + scope,
		Scope:            scopeOf(tb, scope),
		RoleDefinitionID: role,
		PrincipalID:      principal,
	}
}

func customRole(id string, permissions ...Permission) RoleDefinition {
	return RoleDefinition{ID: id, RoleName: "Custom " + id, Custom: true, Permissions: permissions}
}

const (
	getSecret = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
	readVault = "Microsoft.KeyVault/vaults/read"
)

func TestAllow(t *testing.T) {
	vaultOperator := customRole("c1", Permission{
		Actions:     []string{"Microsoft.KeyVault/*"},
		NotActions:  []string{"Microsoft.KeyVault/vaults/delete"},
		DataActions: []string{"Microsoft.KeyVault/vaults/secrets/*"}, NotDataActions: []string{"*/setSecret/action"},
	})
	vaultDeleter := customRole("c2", Permission{Actions: []string{"Microsoft.KeyVault/vaults/delete"}})
	twoPermissions := customRole("c3",
		Permission{Actions: []string{"*"}, NotActions: []string{"*/delete"}},
		Permission{Actions: []string{"Microsoft.KeyVault/vaults/delete"}})
	custom := []RoleDefinition{vaultOperator, vaultDeleter, twoPermissions}

	tests := []struct {
		name        string
		assignments []Assignment
		action      string
		data        bool
		scope       string
		want        bool
		reason      string // a part of it
	}{
		{"nothing assigned", nil, readVault, false, vault1, false,
			"no role assignment at or above " + vault1 + " grants the action " + readVault + " to " + alice + "; it has no role assignments"},
		{"at the scope", []Assignment{assign(t, alice, reader, vault1)}, readVault, false, vault1, true, "allowed by Reader at " + vault1},
		{"from above", []Assignment{assign(t, alice, reader, sub)}, readVault, false, vault1, true, "allowed by Reader at " + sub},
		{"from the root", []Assignment{assign(t, alice, reader, "/")}, readVault, false, vault1, true, "allowed by Reader at /"},
		{"at the root itself", []Assignment{assign(t, alice, reader, "/")}, "Microsoft.Resources/tenants/read", false, "/", true, ""},
		{"in other case", []Assignment{assign(t, strings.ToUpper(alice), reader, strings.ToUpper(sub))}, strings.ToUpper(readVault), false, vault1, true, ""},
		{"not from below", []Assignment{assign(t, alice, reader, vault1)}, readVault, false, sub + "/resourceGroups/rg1", false,
			"its role assignments are elsewhere: Reader at " + vault1},
		{"rg1 is not rg10", []Assignment{assign(t, alice, owner, sub+"/resourceGroups/rg1")}, "Microsoft.Resources/subscriptions/resourceGroups/read", false,
			sub + "/resourceGroups/rg10", false, "elsewhere: Owner at " + sub + "/resourceGroups/rg1"},
		{"nor a vault in rg10", []Assignment{assign(t, alice, owner, sub+"/resourceGroups/rg1")}, readVault, false,
			sub + "/resourceGroups/rg10/providers/Microsoft.KeyVault/vaults/v1", false, ""},
		{"nor its neighbour vault", []Assignment{assign(t, alice, azure.RoleKeyVaultSecretsUser, vault1)}, getSecret, true,
			strings.TrimSuffix(vault1, "v1") + "v2/secrets/s", false, ""},
		{"nor a vault whose name begins the same", []Assignment{assign(t, alice, azure.RoleKeyVaultSecretsUser, vault1)}, getSecret, true,
			vault1 + "0/secrets/s", false, ""},
		{"the vault's secrets", []Assignment{assign(t, alice, azure.RoleKeyVaultSecretsUser, vault1)}, getSecret, true, vault1 + "/secrets/s", true, ""},
		{"one secret", []Assignment{assign(t, alice, azure.RoleKeyVaultSecretsUser, vault1+"/secrets/s")}, getSecret, true, vault1 + "/secrets/s", true, ""},
		{"not its neighbour", []Assignment{assign(t, alice, azure.RoleKeyVaultSecretsUser, vault1+"/secrets/s")}, getSecret, true, vault1 + "/secrets/s2", false, ""},
		{"nor the vault", []Assignment{assign(t, alice, azure.RoleKeyVaultSecretsUser, vault1+"/secrets/s")}, getSecret, true, vault1, false, ""},
		{"an owner has no data actions", []Assignment{assign(t, alice, owner, "/")}, getSecret, true, vault1 + "/secrets/s", false,
			"it has Owner at /: has no data actions"},
		{"a data role has no control action of that name", []Assignment{assign(t, alice, azure.RoleKeyVaultSecretsUser, vault1)}, getSecret, false, vault1, false,
			"Key Vault Secrets User at " + vault1 + ": grants it as a data action only"},
		{"a contributor assigns no roles", []Assignment{assign(t, alice, azure.RoleContributor, sub)}, "Microsoft.Authorization/roleAssignments/write", false, vault1, false,
			"its notActions take it out (Microsoft.Authorization/*/Write)"},
		{"another role's notActions don't subtract", []Assignment{
			assign(t, alice, azure.RoleContributor, sub), assign(t, alice, azure.RoleUserAccessAdministrator, sub)},
			"Microsoft.Authorization/roleAssignments/write", false, vault1, true, "allowed by User Access Administrator"},
		{"nor in the other order", []Assignment{
			assign(t, alice, "c2", sub), assign(t, alice, "c1", vault1)}, "Microsoft.KeyVault/vaults/delete", false, vault1, true, "allowed by Custom c2"},
		{"nor another permission's", []Assignment{assign(t, alice, "c3", sub)}, "Microsoft.KeyVault/vaults/delete", false, vault1, true, ""},
		{"notDataActions", []Assignment{assign(t, alice, "c1", sub)}, "Microsoft.KeyVault/vaults/secrets/setSecret/action", true, vault1, false,
			"its notDataActions take it out (*/setSecret/action)"},
		{"notActions say nothing of data actions", []Assignment{assign(t, alice, "c1", sub)}, "Microsoft.KeyVault/vaults/secrets/delete", true, vault1, true, ""},
		{"another principal's", []Assignment{assign(t, bob, owner, "/")}, readVault, false, vault1, false, "has no role assignments"},
		{"a group's", []Assignment{assign(t, team, reader, sub)}, readVault, false, vault1, true, "(through group " + team + ")"},
		{"a role that was deleted", []Assignment{assign(t, alice, "c9", sub)}, readVault, false, vault1, false,
			"the deleted role c9 at " + sub + ": grants nothing"},
		{"zero segments", []Assignment{assign(t, alice, azure.RoleManagedIdentityOperator, sub)},
			"Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", false,
			sub + "/resourceGroups/rg1/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi", true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := NewPolicy(test.assignments, custom).Allow(Question{
				Principals: []string{alice, team}, Action: test.action, Data: test.data, Scope: scopeOf(t, test.scope),
			})
			if d.Allowed != test.want {
				t.Errorf("allowed is %v, want %v: %s", d.Allowed, test.want, d.Reason)
			}
			if !strings.Contains(d.Reason, test.reason) {
				t.Errorf("the reason is %q, want %q in it", d.Reason, test.reason)
			}
			if (d.Assignment != nil) != d.Allowed || (d.Role != nil) != d.Allowed {
				t.Errorf("allowed %v, but assignment %v and role %v", d.Allowed, d.Assignment, d.Role)
			}
		})
	}
}

func TestAllowConditions(t *testing.T) {
	const write = "Microsoft.Authorization/roleAssignments/write"
	const dataAccessAdministrator = "8b54135c-b56d-4d72-a534-26097cfdc8d8"
	ask := func(a Assignment, role string) Decision {
		q := Question{Principals: []string{alice}, Action: write, Scope: scopeOf(t, vault1)}
		if role != "" {
			q.RequestAttributes = AssignmentAttributes(Assignment{RoleDefinitionID: role, PrincipalID: bob, PrincipalType: azure.ServicePrincipal})
		}
		return NewPolicy([]Assignment{a}, nil).Allow(q)
	}
	delegate := assign(t, alice, dataAccessAdministrator, sub)
	constrained := assign(t, alice, owner, sub)
	constrained.Condition = "!(ActionMatches{'" + write + "'}) OR @Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] GuidEquals " + reader
	broken := assign(t, alice, owner, sub)
	broken.Condition = "ActionMatches{'*'"

	for _, test := range []struct {
		name   string
		a      Assignment
		role   string
		want   bool
		reason string
	}{
		{"a role of the list", delegate, azure.RoleKeyVaultSecretsUser, true, ""},
		{"Owner is not on the list", delegate, owner, false, "the role's condition is not met"},
		{"no attributes at all", delegate, "", false, "the role's condition is not met"},
		{"the assignment's condition", constrained, reader, true, ""},
		{"the assignment's condition, not met", constrained, owner, false, "the assignment's condition is not met (!(ActionMatches"},
		{"a condition that can't be read", broken, reader, false, "the assignment's condition can't be read (at character 18"},
	} {
		d := ask(test.a, test.role)
		if d.Allowed != test.want || !strings.Contains(d.Reason, test.reason) {
			t.Errorf("%s: %v, %s", test.name, d.Allowed, d.Reason)
		}
	}

	// A permission whose condition can't be read grants nothing; its neighbour does.
	role := customRole("c1", Permission{Actions: []string{"*"}, Condition: "nonsense"}, Permission{Actions: []string{"*/read"}})
	p := NewPolicy([]Assignment{assign(t, alice, "c1", sub)}, []RoleDefinition{role})
	if d := p.Allow(Question{Principals: []string{alice}, Action: write, Scope: scopeOf(t, sub)}); d.Allowed {
		t.Error("a permission whose condition can't be read allows")
	} else if !strings.Contains(d.Reason, "the role's condition can't be read") {
		t.Errorf("the reason is %q", d.Reason)
	}
	if d := p.Allow(Question{Principals: []string{alice}, Action: readVault, Scope: scopeOf(t, sub)}); !d.Allowed {
		t.Errorf("the other permission does not allow: %s", d.Reason)
	}
}

// A denial names the first few assignments, and the rest by their number.
func TestReasonIsBounded(t *testing.T) {
	var assignments []Assignment
	for i := range 30 {
		assignments = append(assignments, assign(t, alice, reader, fmt.Sprintf("%s/resourceGroups/rg%02d", sub, i)))
	}
	d := NewPolicy(assignments, nil).Allow(Question{Principals: []string{alice}, Action: readVault, Scope: scopeOf(t, sub+"/resourceGroups/other")})
	if !strings.HasSuffix(d.Reason, "Reader at "+sub+"/resourceGroups/rg04; and 25 more") {
		t.Errorf("the reason is %q", d.Reason)
	}
}

func TestPolicyFollowsChanges(t *testing.T) {
	p := NewPolicy(nil, nil)
	q := Question{Principals: []string{alice}, Action: readVault, Scope: scopeOf(t, vault1)}
	expect := func(want bool, when string) {
		t.Helper()
		if d := p.Allow(q); d.Allowed != want {
			t.Errorf("%s: %v, %s", when, d.Allowed, d.Reason)
		}
	}
	a := assign(t, alice, "c1", sub)
	p.putGrant(newGrant(&a))
	expect(false, "without the role")
	role := customRole("C1", Permission{Actions: []string{"*/read"}})
	p.putRole(&role)
	expect(true, "with the role")
	narrowed := customRole("c1", Permission{Actions: []string{"*/write"}})
	p.putRole(&narrowed)
	expect(false, "with the role narrowed")
	p.putRole(&role)
	moved := a
	moved.Scope = scopeOf(t, sub+"/resourceGroups/rg2")
	p.putGrant(newGrant(&moved))
	expect(false, "with the assignment moved")
	p.putGrant(newGrant(&a))
	other := assign(t, alice, "c2", sub)
	p.putGrant(newGrant(&other))
	p.removeAssignment(other.Name)
	p.removeAssignment("unknown")
	expect(true, "with another assignment gone")
	p.removeAssignment(a.Name)
	expect(false, "with the assignment gone")
	if len(p.grants) != 0 || len(p.byName) != 0 {
		t.Errorf("something is left: %v, %v", p.grants, p.byName)
	}
}

// No custom role takes the place of a built-in one.
func TestBuiltInRolesWin(t *testing.T) {
	false1 := customRole(reader, Permission{Actions: []string{"*"}})
	p := NewPolicy([]Assignment{assign(t, alice, reader, "/")}, []RoleDefinition{false1})
	if d := p.Allow(Question{Principals: []string{alice}, Action: "Microsoft.KeyVault/vaults/write", Scope: azure.Root()}); d.Allowed {
		t.Error("a custom role with the ID of Reader counts")
	}
}

// oracle decides a question from the words of the rules, with neither index nor
// compiled pattern nor the evaluator of conditions.
func oracle(assignments []Assignment, roles map[string]RoleDefinition, q Question) bool {
	for _, a := range assignments {
		if !containsFold(q.Principals, a.PrincipalID) || !oracleAbove(a.Scope.String(), q.Scope.String()) {
			continue
		}
		if !oracleCondition(a.Condition, q) || q.Unconditional && a.Condition != "" {
			continue
		}
		for _, p := range roles[a.RoleDefinitionID].Permissions {
			grant, except := p.Actions, p.NotActions
			if q.Data {
				grant, except = p.DataActions, p.NotDataActions
			}
			if oracleAny(grant, q.Action) && !oracleAny(except, q.Action) && oracleCondition(p.Condition, q) &&
				(!q.Unconditional || p.Condition == "") {
				return true
			}
		}
	}
	return false
}

func containsFold(list []string, s string) bool {
	for _, other := range list {
		if strings.EqualFold(other, s) {
			return true
		}
	}
	return false
}

func oracleAny(patterns []string, action string) bool {
	for _, p := range patterns {
		if oracleMatch(p, action) {
			return true
		}
	}
	return false
}

func oracleAbove(scope, target string) bool {
	return regexp.MustCompile(`(?i)^` + regexp.QuoteMeta(strings.TrimSuffix(scope, "/")) + `(/|$)`).MatchString(target)
}

// oracleCondition knows the conditions that the test draws.
func oracleCondition(text string, q Question) bool {
	color := q.RequestAttributes["t:color"]
	switch text {
	case "":
		return true
	case conditionRed:
		return len(color) == 1 && color[0] == "red"
	case conditionNotRed:
		return len(color) == 1 && color[0] != "red"
	case conditionReadOrRed:
		return !strings.HasSuffix(strings.ToLower(q.Action), "/read") || len(color) == 1 && color[0] == "red"
	default:
		return false // can't be read
	}
}

const (
	conditionRed       = "@Request[t:color] StringEquals 'red'"
	conditionNotRed    = "NOT (@Request[t:color] StringEquals 'red')"
	conditionReadOrRed = "!(ActionMatches{'*/read'}) OR (@Request[t:color] StringEquals 'red')"
	conditionBroken    = "@Request[t:color] StringEquals"
)

func TestAllowAgainstOracle(t *testing.T) {
	pattern := rapid.SampledFrom([]string{"*", "*/read", "A.B/*", "a.b/c/*/read", "A.b/c/read", "a.b/c/d/action", "*/action", "a.b/*/d/*", "x/y/read"})
	action := rapid.SampledFrom([]string{"a.b/c/read", "A.B/c/d/read", "a.b/c/d/action", "a.b/c/d/e/action", "x/y/read", "a.b/d/write", "a.b/c/write"})
	condition := rapid.SampledFrom([]string{"", "", "", conditionRed, conditionNotRed, conditionReadOrRed, conditionBroken})
	principal := rapid.SampledFrom([]string{"p1", "P1", "p2", "p3"})
	scope := rapid.SampledFrom([]string{
		"/", "/subscriptions/s1", "/subscriptions/S1", "/subscriptions/s10", "/subscriptions/s1/resourceGroups/rg1",
		"/subscriptions/s1/resourcegroups/RG1", "/subscriptions/s1/resourceGroups/rg10",
		"/subscriptions/s1/resourceGroups/rg1/providers/A.B/c/n", "/subscriptions/s1/resourceGroups/rg1/providers/A.B/c/n/d/m",
		"/subscriptions/s1/resourceGroups/rg1/providers/A.B/c/n2", "/providers/Microsoft.Management/managementGroups/m",
		"/subscriptions/s1/resourceGroups/rg1/providers/A.B/c/n/providers/X.Y/z/w",
	})
	patterns := rapid.SliceOfN(pattern, 0, 3)
	permission := rapid.Custom(func(t *rapid.T) Permission {
		return Permission{
			Actions: patterns.Draw(t, "actions"), NotActions: patterns.Draw(t, "notActions"),
			DataActions: patterns.Draw(t, "dataActions"), NotDataActions: patterns.Draw(t, "notDataActions"),
			Condition: condition.Draw(t, "condition"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		roles := map[string]RoleDefinition{}
		var custom []RoleDefinition
		for i := range 3 {
			r := customRole(fmt.Sprint("r", i), rapid.SliceOfN(permission, 0, 2).Draw(rt, "permissions")...)
			roles[r.ID], custom = r, append(custom, r)
		}
		var assignments []Assignment
		for i := range rapid.IntRange(0, 6).Draw(rt, "count") {
			a := assign(t, principal.Draw(rt, "principal"), rapid.SampledFrom([]string{"r0", "r1", "r2", "gone"}).Draw(rt, "role"), scope.Draw(rt, "scope"))
			a.Name, a.Condition = fmt.Sprint("n", i), condition.Draw(rt, "condition")
			assignments = append(assignments, a)
		}
		q := Question{
			Principals: rapid.SliceOfNDistinct(principal, 1, 3, rapid.ID[string]).Draw(rt, "principals"),
			Action:     action.Draw(rt, "action"), Data: rapid.Bool().Draw(rt, "data"), Scope: scopeOf(t, scope.Draw(rt, "target")),
			Unconditional: rapid.Bool().Draw(rt, "unconditional"),
		}
		if color := rapid.SampledFrom([]string{"", "red", "blue"}).Draw(rt, "color"); color != "" {
			q.RequestAttributes = map[string][]string{"t:color": {color}}
		}
		p := NewPolicy(assignments, custom)
		d, want := p.Allow(q), oracle(assignments, roles, q)
		if d.Allowed != want {
			rt.Fatalf("allowed is %v, the oracle says %v: %s\n%+v\n%+v", d.Allowed, want, d.Reason, q, assignments)
		}
		if d.Reason == "" {
			rt.Fatal("there is no reason")
		}
		// What is left when all is taken away again allows nothing.
		for _, a := range assignments {
			p.removeAssignment(a.Name)
		}
		if p.Allow(q).Allowed || len(p.grants) > 0 {
			rt.Fatal("assignments that were removed still count")
		}
	})
}
