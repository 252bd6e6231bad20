package rbac

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

const testLag = 10 * time.Minute

// newLagging is a fixture whose changes of assignments take ten minutes.
func newLagging(t *testing.T) (*fixture, *standin.Clock) {
	t.Helper()
	f := newFixture(t, func(c *Config) { c.AssignmentLag = testLag })
	return f, f.clock
}

// requested is an assignment that a principal asks for. Those without an author
// are the first start's own.
func (f *fixture) requested(principal, role, scope string) Assignment {
	f.t.Helper()
	a, created, err := f.put(Assignment{Scope: scopeOf(f.t, scope), RoleDefinitionID: role, PrincipalID: principal,
		PrincipalType: azure.ServicePrincipal, UpdatedBy: bob})
	if err != nil || !created {
		f.t.Fatalf("assigning %s at %s: created %v, %v", role, scope, created, err)
	}
	return a
}

// again is another guard over the fixture's store: another replica, or this one
// after a restart.
func (f *fixture) again(clock *standin.Clock) *Guard {
	f.t.Helper()
	log, err := audit.Open(audit.Config{Path: filepath.Join(f.t.TempDir(), "audit.log")})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { log.Close() })
	g, err := NewGuard(f.t.Context(), Config{Store: f.store, Directory: f.dir, Audit: log, Now: clock.Now, AssignmentLag: testLag})
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}

// wantAllowed asks each guard whether alice may read the vault's secrets.
func wantAllowed(t *testing.T, want bool, guards ...*Guard) {
	t.Helper()
	for i, g := range guards {
		d, err := g.Check(t.Context(), Request{Caller: callerOf(alice), Action: getSecret, Data: true, Scope: scopeOf(t, vault1)})
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed != want {
			t.Errorf("guard %d: allowed is %v, want %v: %s", i, d.Allowed, want, d.Reason)
		}
	}
}

// TestLagOfNew: a new assignment counts when its time has come and not before,
// on every replica, and also on one that starts meanwhile.
func TestLagOfNew(t *testing.T) {
	f, clock := newLagging(t)
	replica := f.again(clock)
	f.requested(alice, azure.RoleKeyVaultSecretsUser, vault1)
	wantAllowed(t, false, f.Guard, replica)
	if d := f.check(callerOf(alice), getSecret, true, vault1); !strings.Contains(d.Reason, "take 10m0s here to be in force") {
		t.Errorf("the reason does not say what is the matter: %s", d.Reason)
	}
	if f.Reaches(callerOf(alice), scopeOf(t, sub)) || f.Permissions(callerOf(alice), scopeOf(t, vault1)) != nil {
		t.Error("lists show what is not yet in force")
	}
	clock.Advance(testLag - time.Second)
	restarted := f.again(clock)
	wantAllowed(t, false, f.Guard, replica, restarted)
	clock.Advance(time.Second)
	wantAllowed(t, true, f.Guard, replica, restarted, f.again(clock))
	if !f.Reaches(callerOf(alice), scopeOf(t, sub)) || len(f.Permissions(callerOf(alice), scopeOf(t, vault1))) != 1 {
		t.Error("lists do not show what is in force")
	}
	if d := f.check(callerOf(bob), getSecret, true, vault1); strings.Contains(d.Reason, "not yet") {
		t.Errorf("nothing waits any more, but the reason says so: %s", d.Reason)
	}
}

// TestLagOfLists: a list is what first finds a change due.
func TestLagOfLists(t *testing.T) {
	f, clock := newLagging(t)
	f.requested(alice, reader, vault1)
	clock.Advance(testLag)
	scopes := []azure.ResourceID{scopeOf(t, vault1), scopeOf(t, sub)}
	got, err := f.Filter(t.Context(), callerOf(alice), "Microsoft.KeyVault/vaults/read", scopes)
	if err != nil || !got[0] || got[1] {
		t.Errorf("filtered to %v, %v", got, err)
	}
}

// TestLagOfRemoved: a removed assignment goes on counting for as long.
func TestLagOfRemoved(t *testing.T) {
	f, clock := newLagging(t)
	a := f.requested(alice, azure.RoleKeyVaultSecretsUser, vault1)
	clock.Advance(time.Hour)
	replica := f.again(clock)
	wantAllowed(t, true, f.Guard, replica)
	if err := f.delete(a.Name); err != nil {
		t.Fatal(err)
	}
	wantAllowed(t, true, f.Guard, replica)
	// Whoever starts now has never known it.
	wantAllowed(t, false, f.again(clock))
	clock.Advance(testLag - time.Nanosecond)
	wantAllowed(t, true, f.Guard, replica)
	clock.Advance(time.Nanosecond)
	wantAllowed(t, false, f.Guard, replica)
	if err := f.delete("eeeeeeee-0000-4000-8000-000000000000"); err == nil {
		t.Error("there was one of that name")
	}
}

// TestLagKeepsOrder: the removal does not overtake the creation,
// nor does what comes after it under the same name.
func TestLagKeepsOrder(t *testing.T) {
	f, clock := newLagging(t)
	a := f.requested(alice, azure.RoleKeyVaultSecretsUser, vault1)
	clock.Advance(time.Minute)
	if err := f.delete(a.Name); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	again := a
	again.RoleDefinitionID = reader
	if _, created, err := f.put(again); err != nil || !created {
		t.Fatal(created, err)
	}
	clock.Advance(8 * time.Minute) // the creation counts
	wantAllowed(t, true, f.Guard)
	clock.Advance(time.Minute) // the removal does
	wantAllowed(t, false, f.Guard)
	if f.Permissions(callerOf(alice), scopeOf(t, vault1)) != nil {
		t.Error("the later assignment counts already")
	}
	clock.Advance(time.Minute)
	if len(f.Permissions(callerOf(alice), scopeOf(t, vault1))) != 1 {
		t.Error("the later assignment does not count")
	}
}

// TestLagOfChanged: until a change counts, what was said before does.
func TestLagOfChanged(t *testing.T) {
	f, clock := newLagging(t)
	a := f.requested(alice, azure.RoleKeyVaultSecretsUser, vault1)
	clock.Advance(time.Hour)
	wantAllowed(t, true, f.Guard)
	a.Condition, a.ConditionVersion = "@Environment[UtcNow] DateTimeLessThan '2020-01-01T00:00:00Z'", "2.0"
	if _, _, err := f.put(a); err != nil {
		t.Fatal(err)
	}
	wantAllowed(t, true, f.Guard)
	// What it said before is in nobody's memory after a restart: there is no gap.
	wantAllowed(t, false, f.again(clock))
	clock.Advance(testLag)
	wantAllowed(t, false, f.Guard)
}

// TestLagOfChangedThatGrants is the reverse: a restart leaves no gap in which
// neither counts.
func TestLagOfChangedThatGrants(t *testing.T) {
	f, clock := newLagging(t)
	a := f.requested(alice, azure.RoleKeyVaultSecretsUser, vault1)
	clock.Advance(time.Hour)
	a.Description = "another"
	if _, _, err := f.put(a); err != nil {
		t.Fatal(err)
	}
	wantAllowed(t, true, f.Guard, f.again(clock))
}

// TestLagSparesTheFirstStart: what nobody asked for counts at once, or nobody
// could do anything in the first ten minutes.
func TestLagSparesTheFirstStart(t *testing.T) {
	f, _ := newLagging(t)
	f.grant(alice, azure.RoleKeyVaultSecretsUser, vault1)
	wantAllowed(t, true, f.Guard)
}

// TestLagOfSkewedClocks: another replica's clock is ahead or behind; changes of
// one assignment keep their order.
func TestLagOfSkewedClocks(t *testing.T) {
	f, clock := newLagging(t)
	ahead := standin.NewClock(standin.Start.Add(time.Minute))
	other := f.again(ahead)
	a := f.requested(alice, azure.RoleKeyVaultSecretsUser, vault1)
	if err := f.delete(a.Name); err != nil {
		t.Fatal(err)
	}
	clock.Advance(testLag)
	wantAllowed(t, false, f.Guard)
	ahead.Advance(testLag)
	wantAllowed(t, false, other)
}

// TestLagIsBounded: the earliest of too many changes is not waited for.
func TestLagIsBounded(t *testing.T) {
	l := lag{by: testLag}
	l.clear()
	for i := range maxLagging + 2 {
		c := lagging{due: standin.Start.Add(time.Duration(maxLagging-i) * time.Second), tenant: contoso, name: strconv.Itoa(i)}
		if !l.postpone(c, standin.Start.Add(-time.Hour)) {
			t.Fatal("it is not due")
		}
	}
	due := l.ripe(standin.Start.Add(-time.Hour))
	if len(due) != 2 || len(l.waiting) != maxLagging || due[0].due.After(due[1].due) || due[1].due.After(l.waiting[0].due) {
		t.Errorf("%d are due, %d wait", len(due), len(l.waiting))
	}
	if l.next.Load() != l.waiting[0].due.UnixNano() {
		t.Error("the next is not the earliest")
	}
	if len(l.ripe(standin.Start.Add(24*time.Hour))) != maxLagging || len(l.waiting) != 0 {
		t.Error("not all were due in the end")
	}
}

// TestTokenGroups: with it a managed identity has the groups of its token, and
// everybody else those of the moment too.
func TestTokenGroups(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.TokenGroups = true })
	who := f.identity("who")
	group := f.group("readers", who.ObjectID)
	if _, _, err := f.put(Assignment{Scope: scopeOf(t, vault1), RoleDefinitionID: azure.RoleKeyVaultSecretsUser, PrincipalID: group.ObjectID}); err != nil {
		t.Fatal(err)
	}
	caller := callerOf(who.ObjectID)
	caller.IdentityResourceID = who.ResourceID
	if f.check(caller, getSecret, true, vault1).Allowed {
		t.Error("the membership counts before a token says so")
	}
	caller.Groups = []string{group.ObjectID}
	f.update(func(tx *store.Tx) error { return f.dir.RemoveMember(tx, contoso, group.ObjectID, who.ObjectID) })
	if !f.check(caller, getSecret, true, vault1).Allowed {
		t.Error("what the token says does not count")
	}
	if got := f.PrincipalsOf(contoso, who.ObjectID); len(got) != 1 {
		t.Errorf("the directory's groups of the identity are %v", got)
	}
	other := callerOf(who.ObjectID)
	f.update(func(tx *store.Tx) error { return f.dir.AddMember(tx, contoso, group.ObjectID, who.ObjectID) })
	if !f.check(other, getSecret, true, vault1).Allowed {
		t.Error("an application's membership of the moment does not count")
	}
}
