package rbac

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestCheck(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, azure.RoleKeyVaultSecretsUser, vault1)
	f.grant(alice, owner, sub+"/resourceGroups/rg1")
	f.grant(bob, owner, "/")
	stranger := callerOf(bob)
	stranger.TenantID = fabrikam
	for _, test := range []struct {
		name   string
		caller azure.Caller
		action string
		data   bool
		scope  string
		want   bool
		reason string
	}{
		{"a secret of the vault", callerOf(alice), getSecret, true, vault1 + "/secrets/s", true, "allowed by Key Vault Secrets User at " + vault1},
		{"a neighbour vault's", callerOf(alice), getSecret, true, vault1 + "0/secrets/s", false, "has no data actions"},
		{"rg10", callerOf(alice), "Microsoft.Resources/subscriptions/resourceGroups/read", false, sub + "/resourceGroups/rg10", false, ""},
		{"an owner everywhere", callerOf(bob), readVault, false, vault1, true, "allowed by Owner at /"},
		{"but for data", callerOf(bob), getSecret, true, vault1 + "/secrets/s", false, "it has Owner at /: has no data actions"},
		{"an owner at the root", callerOf(bob), "Microsoft.Management/managementGroups/write", false, "/", true, ""},
		{"not in another tenant's subscription", callerOf(bob), readVault, false, "/subscriptions/" + fabrikamSub, false,
			"the subscription " + fabrikamSub + " trusts another tenant than the caller's " + contoso},
		{"nor does the other tenant's caller here", stranger, readVault, false, vault1, false, "trusts another tenant than the caller's " + fabrikam},
		{"nor at its own root", stranger, readVault, false, "/", false, "it has no role assignments"},
		{"a subscription that is not known", callerOf(bob), readVault, false, "/subscriptions/none", false, "there is no subscription none"},
		{"no object ID", callerOf(""), readVault, false, vault1, false, "the caller has no tenant or no object ID"},
		{"no tenant", azure.Caller{ObjectID: bob}, readVault, false, "/", false, "the caller has no tenant or no object ID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := f.check(test.caller, test.action, test.data, test.scope)
			if d.Allowed != test.want || !strings.Contains(d.Reason, test.reason) {
				t.Errorf("allowed is %v: %s", d.Allowed, d.Reason)
			}
		})
	}
}

func TestCheckFollowsAssignments(t *testing.T) {
	f := newFixture(t)
	a := f.grant(alice, reader, sub)
	if d := f.check(callerOf(alice), readVault, false, vault1); !d.Allowed {
		t.Errorf("denied after the assignment: %s", d.Reason)
	}
	if err := f.delete(a.Name); err != nil {
		t.Fatal(err)
	}
	if d := f.check(callerOf(alice), readVault, false, vault1); d.Allowed {
		t.Error("allowed after the assignment is gone")
	}

	role, _, err := f.define(RoleDefinition{ID: guidN(1), RoleName: "Vault Reader", AssignableScopes: []string{sub},
		Permissions: []Permission{{Actions: []string{"Microsoft.KeyVault/*/read"}}}})
	if err != nil {
		t.Fatal(err)
	}
	f.grant(alice, role.ID, sub)
	if d := f.check(callerOf(alice), readVault, false, vault1); !d.Allowed || d.Role.RoleName != "Vault Reader" {
		t.Errorf("denied with the custom role: %s", d.Reason)
	}
	role.Permissions = []Permission{{Actions: []string{"Microsoft.KeyVault/*/read"}, NotActions: []string{readVault}}}
	if _, _, err := f.define(role); err != nil {
		t.Fatal(err)
	}
	if d := f.check(callerOf(alice), readVault, false, vault1); d.Allowed {
		t.Error("allowed after the custom role is narrowed")
	}
}

// A custom role is its own tenant's, and so are assignments of it.
func TestTenantsAreApart(t *testing.T) {
	f := newFixture(t)
	role, _, err := f.define(RoleDefinition{ID: guidN(1), RoleName: "All", AssignableScopes: []string{sub}, Permissions: []Permission{{Actions: []string{"*"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Role(contoso, strings.ToUpper(role.ID)); !ok {
		t.Error("the role is not seen in its tenant")
	}
	if r, ok := f.Role(fabrikam, role.ID); ok {
		t.Errorf("the other tenant sees %+v", r)
	}
	if _, ok := f.Role(fabrikam, owner); !ok {
		t.Error("the other tenant has no Owner")
	}
	if _, ok := f.Role(contoso, "Owner"); ok {
		t.Error("a name is taken for an ID")
	}
	_, _, err = f.put(Assignment{TenantID: fabrikam, Scope: scopeOf(t, "/subscriptions/"+fabrikamSub), RoleDefinitionID: role.ID, PrincipalID: alice, PrincipalType: azure.User})
	wantError(t, err, 404, "RoleDefinitionDoesNotExist", "The specified role definition with ID '"+compact(role.ID)+"' does not exist.")
	if _, _, err := f.put(Assignment{TenantID: fabrikam, Scope: scopeOf(t, sub), RoleDefinitionID: owner, PrincipalID: alice, PrincipalType: azure.User}); err == nil {
		t.Error("another tenant's assignment was made in the subscription")
	}
}

func TestCheckThroughGroups(t *testing.T) {
	f := newFixture(t)
	mi := f.identity("mi")
	inner := f.group("inner", mi.ObjectID)
	outer := f.group("outer", inner.ObjectID)
	f.update(func(tx *store.Tx) error { return f.dir.AddMember(tx, contoso, inner.ObjectID, outer.ObjectID) }) // a circle
	f.put(Assignment{Scope: scopeOf(t, sub), RoleDefinitionID: reader, PrincipalID: outer.ObjectID})
	caller := callerOf(mi.ObjectID)
	if d := f.check(caller, readVault, false, vault1); !d.Allowed || !strings.Contains(d.Reason, "(through group "+outer.ObjectID+")") {
		t.Errorf("the outer group's role: %v, %s", d.Allowed, d.Reason)
	}
	if diff := cmp.Diff([]string{mi.ObjectID, inner.ObjectID, outer.ObjectID}, f.PrincipalsOf(contoso, mi.ObjectID),
		cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
	f.update(func(tx *store.Tx) error { return f.dir.RemoveMember(tx, contoso, outer.ObjectID, inner.ObjectID) })
	if d := f.check(caller, readVault, false, vault1); d.Allowed {
		t.Error("allowed after the inner group left the outer one")
	}
	caller.Groups = []string{outer.ObjectID} // as a token may say
	if d := f.check(caller, readVault, false, vault1); !d.Allowed {
		t.Errorf("the token's group: %s", d.Reason)
	}
}

// What may be delegated by condition is checked on what is to be assigned.
func TestDelegation(t *testing.T) {
	f := newFixture(t)
	const dataAccessAdministrator = "8b54135c-b56d-4d72-a534-26097cfdc8d8"
	const fileSyncAdministrator = "92b92042-07d9-4307-87f7-36a593fc5850"
	f.grant(alice, dataAccessAdministrator, sub)
	f.grant(bob, fileSyncAdministrator, sub)
	mi, people := f.identity("mi"), f.group("people")
	ask := func(caller, action string, a Assignment) bool {
		t.Helper()
		r := Request{Caller: callerOf(caller), Action: "Microsoft.Authorization/roleAssignments/" + action, Scope: scopeOf(t, vault1)}
		a.TenantID = contoso
		attributes := f.AssignmentAttributes(a)
		if action == "write" {
			r.RequestAttributes = attributes
		} else {
			r.ResourceAttributes = attributes
		}
		d, err := f.Check(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return d.Allowed
	}
	secrets := Assignment{RoleDefinitionID: azure.RoleKeyVaultSecretsUser, PrincipalID: mi.ObjectID}
	owns := Assignment{RoleDefinitionID: owner, PrincipalID: mi.ObjectID}
	if !ask(alice, "write", secrets) || !ask(alice, "delete", secrets) {
		t.Error("a role of the list can't be assigned or removed")
	}
	if ask(alice, "write", owns) || ask(alice, "delete", owns) {
		t.Error("Owner can be assigned or removed")
	}
	role, ok := BuiltIn(fileSyncAdministrator)
	if !ok || !strings.Contains(role.Permissions[0].Condition, "PrincipalType") {
		t.Fatalf("Azure File Sync Administrator is not what this test thinks: %+v", role)
	}
	// Of the principal's type, the directory's word counts, not the client's.
	const blobReader = "c12c1c16-33a1-487b-954d-41c89c60f349"
	if !ask(bob, "write", Assignment{RoleDefinitionID: blobReader, PrincipalID: strings.ToUpper(mi.ObjectID)}) {
		t.Error("a service principal can't be assigned the role")
	}
	if ask(bob, "write", Assignment{RoleDefinitionID: blobReader, PrincipalID: people.ObjectID, PrincipalType: azure.ServicePrincipal}) {
		t.Error("a group is taken for a service principal")
	}
}

func TestCheckAudits(t *testing.T) {
	f := newFixture(t)
	a := f.grant(alice, azure.RoleKeyVaultSecretsUser, vault1)
	ctx := azure.WithRequest(t.Context(), azure.Request{CorrelationID: "corr", RequestID: "req", RemoteAddr: "127.0.0.1:1"})
	caller := callerOf(alice)
	caller.TokenID = "uti"
	for _, r := range []Request{
		{Caller: caller, Action: getSecret, Data: true, Scope: scopeOf(t, vault1+"/secrets/s")},
		{Caller: caller, Action: readVault, Scope: scopeOf(t, sub)},
	} {
		if _, err := f.Check(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if allowed, err := f.Filter(ctx, caller, readVault, []azure.ResourceID{scopeOf(t, sub)}); err != nil || allowed[0] {
		t.Errorf("Filter gives %v, %v", allowed, err)
	}
	common := audit.Record{
		Kind: "authorization", TenantID: contoso, ObjectID: alice, AppID: "app of " + alice,
		CorrelationID: "corr", RequestID: "req", RemoteAddr: "127.0.0.1:1",
	}
	allowed, denied := common, common
	allowed.Result, allowed.Action, allowed.Scope = "allowed", getSecret, vault1+"/secrets/s"
	allowed.Reason = "allowed by Key Vault Secrets User at " + vault1
	allowed.Detail = map[string]string{"assignment": a.Name, "role": azure.RoleKeyVaultSecretsUser, "plane": "data", "tokenId": "uti"}
	denied.Result, denied.Action, denied.Scope = "denied", readVault, sub
	denied.Reason = "no role assignment at or above " + sub + " grants the action " + readVault + " to " + alice +
		"; its role assignments are elsewhere: Key Vault Secrets User at " + vault1
	denied.Detail = map[string]string{"tokenId": "uti"}
	if diff := cmp.Diff([]audit.Record{allowed, denied}, f.records(), cmpopts.IgnoreFields(audit.Record{}, "Time")); diff != "" {
		t.Errorf("audit records (-want +got):\n%s", diff)
	}
}

// A decision that can't be kept is none.
func TestCheckRefusesWithoutAudit(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, owner, "/")
	f.audit.Close()
	d, err := f.Check(t.Context(), Request{Caller: callerOf(alice), Action: readVault, Scope: scopeOf(t, vault1)})
	if err == nil || d.Allowed {
		t.Errorf("the decision is %+v, %v", d, err)
	}
	if _, isAzure := errors.AsType[*azure.Error](err); isAzure {
		t.Errorf("%v is meant for a client", err)
	}
}

// Nothing is decided on views that may be old.
func TestCheckRefusesWhenStale(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, owner, "/")
	f.store.Close()
	scope := scopeOf(t, vault1)
	if d, err := f.Check(t.Context(), Request{Caller: callerOf(alice), Action: readVault, Scope: scope}); !errors.Is(err, store.ErrStale) || d.Allowed {
		t.Errorf("Check gives %+v, %v", d, err)
	}
	if allowed, err := f.Filter(t.Context(), callerOf(alice), readVault, []azure.ResourceID{scope}); !errors.Is(err, store.ErrStale) || allowed != nil {
		t.Errorf("Filter gives %v, %v", allowed, err)
	}
	if f.Reaches(callerOf(alice), scope) {
		t.Error("Reaches is true")
	}
	if p := f.Permissions(callerOf(alice), scope); p != nil {
		t.Errorf("Permissions gives %v", p)
	}
	records := f.records()
	if len(records) != 1 || records[0].Result != "error" || !strings.Contains(records[0].Reason, "stale") {
		t.Errorf("the audit records are %+v", records)
	}
}

func TestFilter(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, reader, sub+"/resourceGroups/rg1")
	f.grant(alice, reader, vault1)
	scopes := []azure.ResourceID{
		scopeOf(t, sub), scopeOf(t, sub+"/resourceGroups/rg1"), scopeOf(t, sub+"/resourceGroups/rg10"),
		scopeOf(t, vault1), scopeOf(t, "/subscriptions/"+fabrikamSub),
	}
	got, err := f.Filter(t.Context(), callerOf(alice), "Microsoft.KeyVault/vaults/read", scopes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{false, true, false, true, false}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReaches(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, reader, vault1)
	f.grant(bob, reader, "/")
	stranger := callerOf(bob)
	stranger.TenantID = fabrikam
	for _, test := range []struct {
		caller azure.Caller
		scope  string
		want   bool
	}{
		{callerOf(alice), sub, true},                   // below
		{callerOf(alice), vault1, true},                // at
		{callerOf(alice), vault1 + "/secrets/s", true}, // above
		{callerOf(alice), "/", true},
		{callerOf(alice), "/subscriptions/" + contosoSub2, false},
		{callerOf(alice), sub + "/resourceGroups/rg10", false},
		{callerOf(bob), "/subscriptions/" + contosoSub2, true},
		{callerOf(bob), "/subscriptions/" + fabrikamSub, false},
		{stranger, sub, false},
		{callerOf(team), sub, false},
	} {
		if got := f.Reaches(test.caller, scopeOf(t, test.scope)); got != test.want {
			t.Errorf("%s at %s: %v", test.caller.ObjectID, test.scope, got)
		}
	}
}

func TestPermissions(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, reader, sub)
	f.grant(alice, reader, vault1) // again
	f.grant(alice, azure.RoleKeyVaultSecretsUser, vault1)
	f.grant(alice, owner, sub+"/resourceGroups/other")
	f.grant(bob, owner, "/")
	readerRole, _ := BuiltIn(reader)
	secretsUser, _ := BuiltIn(azure.RoleKeyVaultSecretsUser)
	want := append(append([]Permission{}, readerRole.Permissions...), secretsUser.Permissions...)
	if diff := cmp.Diff(want, f.Permissions(callerOf(alice), scopeOf(t, vault1)), cmpopts.SortSlices(func(a, b Permission) bool {
		return fmt.Sprint(a) < fmt.Sprint(b)
	})); diff != "" {
		t.Error(diff)
	}
	if got := f.Permissions(callerOf(alice), scopeOf(t, "/")); got != nil {
		t.Errorf("at the root: %v", got)
	}
	if got := f.Permissions(callerOf(bob), scopeOf(t, "/subscriptions/"+fabrikamSub)); got != nil {
		t.Errorf("in another tenant's subscription: %v", got)
	}
}

// A second guard over the same store, as after a restart or on another replica,
// decides the same.
func TestGuardReadsThePresentState(t *testing.T) {
	f := newFixture(t)
	role, _, err := f.define(RoleDefinition{ID: guidN(1), RoleName: "Custom", AssignableScopes: []string{sub}, Permissions: []Permission{{DataActions: []string{"*"}}}})
	if err != nil {
		t.Fatal(err)
	}
	f.grant(alice, role.ID, sub)
	gone := f.grant(bob, role.ID, sub)
	if err := f.delete(gone.Name); err != nil {
		t.Fatal(err)
	}
	again, err := NewGuard(t.Context(), Config{Store: f.store, Directory: f.dir, Audit: f.audit})
	if err != nil {
		t.Fatal(err)
	}
	for principal, want := range map[string]bool{alice: true, bob: false} {
		d, err := again.Check(t.Context(), Request{Caller: callerOf(principal), Action: getSecret, Data: true, Scope: scopeOf(t, vault1)})
		if err != nil || d.Allowed != want {
			t.Errorf("%s: %v, %v, %s", principal, d.Allowed, err, d.Reason)
		}
	}
}

// A reset makes the guard forget, and a record that can't be read grants nothing.
func TestGuardForgetsOnReset(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, owner, "/")
	kept := f.grant(bob, owner, "/")
	f.apply(nil, true)
	if d := f.check(callerOf(alice), readVault, false, vault1); d.Allowed {
		t.Error("allowed after a reset without assignments")
	}
	key := assignmentKey(contoso, kept.Name)
	f.apply([]store.Change{{Key: key, Value: []byte(f.keys(key)[key])}}, true)
	if d := f.check(callerOf(bob), readVault, false, vault1); !d.Allowed {
		t.Errorf("denied after a reset with the assignment: %s", d.Reason)
	}
	f.apply([]store.Change{{Key: key, Value: []byte("{")}, {Key: definitionKey(contoso, guidN(1)), Value: []byte("{")}}, false)
	if d := f.check(callerOf(bob), readVault, false, vault1); d.Allowed {
		t.Error("allowed by an assignment that can't be read")
	}
}

func TestNewGuardRefuses(t *testing.T) {
	f := newFixture(t)
	good := Config{Store: f.store, Directory: f.dir, Audit: f.audit}
	for name, change := range map[string]func(*Config){
		"no store":         func(c *Config) { c.Store = nil },
		"no directory":     func(c *Config) { c.Directory = nil },
		"no audit log":     func(c *Config) { c.Audit = nil },
		"few assignments":  func(c *Config) { c.Limits.AssignmentsPerSubscription = 3999 },
		"few custom roles": func(c *Config) { c.Limits.CustomRoles = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewGuard(context.Background(), cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	good.Limits = Limits{AssignmentsPerSubscription: 8000}
	g, err := NewGuard(context.Background(), good)
	if err != nil {
		t.Fatal(err)
	}
	if g.limits != (Limits{8000, 5000}) {
		t.Errorf("the limits are %+v", g.limits)
	}
}

func TestMetrics(t *testing.T) {
	f := newFixture(t)
	f.grant(alice, owner, "/")
	f.check(callerOf(alice), readVault, false, vault1)
	f.check(callerOf(alice), getSecret, true, vault1)
	f.check(callerOf(alice), getSecret, true, vault1)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(f.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += " " + l.GetValue()
			}
			if family.GetType() == dto.MetricType_HISTOGRAM {
				got[family.GetName()+labels] = float64(m.GetHistogram().GetSampleCount())
			} else {
				got[family.GetName()+labels] = m.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{
		"lanyard_rbac_decisions_total action allowed":   1,
		"lanyard_rbac_decisions_total action denied":    0,
		"lanyard_rbac_decisions_total action error":     0,
		"lanyard_rbac_decisions_total data allowed":     0,
		"lanyard_rbac_decisions_total data denied":      2,
		"lanyard_rbac_decisions_total data error":       0,
		"lanyard_rbac_decision_duration_seconds action": 1,
		"lanyard_rbac_decision_duration_seconds data":   2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// guidN gives a GUID for a custom role.
func guidN(n int) string { return fmt.Sprintf("c0000000-0000-4000-8000-%012d", n) }
