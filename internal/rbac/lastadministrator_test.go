package rbac

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// errLast is what those who ask refuse with.
var errLast = errors.New("the last administrator stays")

// disable disables a principal unless it is the last administrator.
func (f *fixture) disable(id string) error {
	_, err := f.store.Update(f.t.Context(), func(tx *store.Tx) error {
		last, err := f.IsLastAdministrator(tx, contoso, id)
		if err != nil {
			return err
		}
		if last {
			return errLast
		}
		return f.dir.SetDisabled(tx, contoso, id, true)
	})
	return err
}

func TestIsLastAdministrator(t *testing.T) {
	const condition = "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})"
	f := newFixture(t)
	first, second, third := f.identity("first").ObjectID, f.identity("second").ObjectID, f.identity("third").ObjectID
	uaa := azure.RoleUserAccessAdministrator
	is := func(id string, want bool, when string) {
		t.Helper()
		f.update(func(tx *store.Tx) error {
			if got, err := f.IsLastAdministrator(tx, contoso, id); err != nil || got != want {
				t.Errorf("%s it is %v, %v", when, got, err)
			}
			return nil
		})
	}
	is(first, false, "without an assignment")
	f.grant(first, reader, "/")
	f.grant(first, owner, sub)
	is(first, false, "as Owner of a subscription")
	f.grant(first, owner, "/")
	is(first, true, "as the only Owner")
	is(strings.ToUpper(first), true, "in capitals")
	f.grant(second, owner, sub)
	f.grant(second, azure.RoleContributor, "/")
	is(first, true, "beside an Owner of a subscription and a Contributor")

	f.grant(alice, owner, "/") // nobody of that ID is in the directory
	is(first, true, "beside an orphan assignment")
	var user string
	f.update(func(tx *store.Tx) error {
		tenant, _ := f.dir.Tenant(contoso)
		p, err := f.dir.CreateUser(tx, contoso, "ada@"+tenant.DefaultDomain, "Ada")
		user = p.ObjectID
		return err
	})
	for _, id := range []string{user, f.group("admins", second).ObjectID} {
		if _, _, err := f.put(Assignment{Scope: azure.Root(), RoleDefinitionID: owner, PrincipalID: id}); err != nil {
			t.Fatal(err)
		}
	}
	is(first, true, "beside a user and a group")
	if _, _, err := f.put(Assignment{Scope: azure.Root(), RoleDefinitionID: owner, PrincipalID: second, Condition: condition, ConditionVersion: "2.0"}); err != nil {
		t.Fatal(err)
	}
	is(first, true, "beside an Owner with a condition")
	is(second, false, "as an Owner with a condition")

	f.grant(third, uaa, "/")
	is(first, false, "beside a User Access Administrator")
	is(third, false, "as one beside an Owner")
	if err := f.disable(first); err != nil {
		t.Fatal(err)
	}
	is(third, true, "beside a disabled Owner")
	if err := f.disable(third); !errors.Is(err, errLast) {
		t.Errorf("got %v", err)
	}
}

// Of two administrators that are disabled at the same time, one stays.
func TestLastAdministratorIsGuarded(t *testing.T) {
	f := newFixture(t)
	ids := []string{f.identity("first").ObjectID, f.identity("second").ObjectID}
	for _, id := range ids {
		f.grant(id, owner, "/")
	}
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() { errs[i] = f.disable(id) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), errLast) {
		t.Errorf("got %v and %v", errs[0], errs[1])
	}
}

// The last assignment by which somebody can manage access at the root stays: it
// is neither deleted nor put under a condition.
func TestLastAdministrationStays(t *testing.T) {
	const condition = "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})"
	for _, strict := range []bool{false, true} {
		f := newFixture(t, func(c *Config) { c.Strict = strict })
		message := "Cannot delete the last RBAC admin assignment"
		if !strict {
			message += ". It is the last by which an enabled service principal is Owner or User Access Administrator at '/'. " +
				"Assign one of these roles at '/' to another service principal first."
		}
		first, second := f.identity("first").ObjectID, f.identity("second").ObjectID
		last := f.grant(first, owner, "/")
		stays := func(when string, err error) {
			t.Helper()
			t.Log(when)
			wantError(t, err, 400, "CannotDeleteLastRbacAdminAssignment", message)
		}
		goes := func(when string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		conditioned := last
		conditioned.Condition, conditioned.ConditionVersion = condition, "2.0"
		constrain := func() error { _, _, err := f.put(conditioned); return err }
		stays("alone", f.delete(last.Name))
		stays("alone, in capitals", f.delete(strings.ToUpper(last.Name)))
		stays("a condition", constrain())

		// What gives nobody who can sign in the right counts for nothing, and goes.
		group := f.group("admins", second).ObjectID
		ofGroup, _, err := f.put(Assignment{Scope: azure.Root(), RoleDefinitionID: owner, PrincipalID: group})
		goes("the group's", err)
		others := []Assignment{
			f.grant(alice, owner, "/"), ofGroup, f.grant(second, owner, sub), f.grant(second, reader, "/"),
			f.grant(first, azure.RoleContributor, "/"),
		}
		constrained, _, err := f.put(Assignment{Scope: azure.Root(), RoleDefinitionID: owner, PrincipalID: second, Condition: condition, ConditionVersion: "2.0"})
		goes("under a condition", err)
		disabled := f.identity("disabled").ObjectID
		others = append(others, constrained, f.grant(disabled, azure.RoleUserAccessAdministrator, "/"), f.grant(bob, owner, sub))
		f.update(func(tx *store.Tx) error { return f.dir.SetDisabled(tx, contoso, disabled, true) })
		stays("beside what does not count", f.delete(last.Name))
		for _, a := range others[:len(others)-1] { // the last is the subscription's last
			goes(a.RoleDefinitionID+" of "+a.PrincipalID, f.delete(a.Name))
		}
		stays("alone again", f.delete(last.Name))

		// Another role of the same principal is enough, and another principal's.
		twice := f.grant(first, azure.RoleUserAccessAdministrator, "/")
		goes("one of two of its own", f.delete(last.Name))
		stays("its other one", f.delete(twice.Name))
		f.grant(second, owner, "/")
		goes("beside another's", f.delete(twice.Name))
		if d := f.check(callerOf(second), "Microsoft.Authorization/roleAssignments/write", false, "/"); !d.Allowed {
			t.Errorf("who is left may not mend it: %s", d.Reason)
		}
		// Tenants are apart: another one's administrator is none here.
		_, err = f.store.Update(t.Context(), func(tx *store.Tx) error { return f.KeepAdministrator(tx, fabrikam, second) })
		goes("asked of another tenant", err)
		_, err = f.store.Update(t.Context(), func(tx *store.Tx) error { return f.KeepAdministrator(tx, contoso, second) })
		stays("the principal itself", err)
	}
}

// However two administrators come to their end at the same time, by the end of
// the assignment, by a condition, or by the principal's, one stays.
func TestLastAdministrationIsGuarded(t *testing.T) {
	const condition = "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})"
	ways := map[string]func(f *fixture, a Assignment) error{
		"deleted": func(f *fixture, a Assignment) error { return f.delete(a.Name) },
		"constrained": func(f *fixture, a Assignment) error {
			a.Condition, a.ConditionVersion = condition, "2.0"
			_, _, err := f.put(a)
			return err
		},
		"disabled": func(f *fixture, a Assignment) error { return f.disable(a.PrincipalID) },
	}
	for one, first := range ways {
		for other, second := range ways {
			t.Run(one+" and "+other, func(t *testing.T) {
				f := newFixture(t)
				for i := range 5 {
					a := f.grant(f.identity(fmt.Sprint("a", i)).ObjectID, owner, "/")
					b := f.grant(f.identity(fmt.Sprint("b", i)).ObjectID, azure.RoleUserAccessAdministrator, "/")
					// Whoever was left of those before makes room.
					f.leave(a, b)
					errs := make([]error, 2)
					var wg sync.WaitGroup
					wg.Go(func() { errs[0] = first(f, a) })
					wg.Go(func() { errs[1] = second(f, b) })
					wg.Wait()
					if (errs[0] == nil) == (errs[1] == nil) {
						t.Fatalf("got %v and %v", errs[0], errs[1])
					}
				}
			})
		}
	}
}

// leave removes all assignments but those given.
func (f *fixture) leave(keep ...Assignment) {
	f.t.Helper()
	all, err := f.ListAssignments(f.t.Context(), contoso)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, a := range all {
		if !slices.ContainsFunc(keep, func(k Assignment) bool { return k.Name == a.Name }) {
			if err := f.delete(a.Name); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

// Many administrators who cannot sign in do not make a deletion too large.
func TestLastAdministrationAmongMany(t *testing.T) {
	f := newFixture(t)
	last := f.grant(f.identity("last").ObjectID, owner, "/")
	for i := range 150 {
		var user directory.Principal
		f.update(func(tx *store.Tx) (err error) {
			tenant, _ := f.dir.Tenant(contoso)
			user, err = f.dir.CreateUser(tx, contoso, fmt.Sprintf("u%d@%s", i, tenant.DefaultDomain), "U")
			return err
		})
		if _, _, err := f.put(Assignment{Scope: azure.Root(), RoleDefinitionID: owner, PrincipalID: user.ObjectID}); err != nil {
			t.Fatal(err)
		}
	}
	if e, ok := errors.AsType[*azure.Error](f.delete(last.Name)); !ok || e.Code != "CannotDeleteLastRbacAdminAssignment" {
		t.Errorf("got %v", e)
	}
	f.grant(f.identity("another").ObjectID, owner, "/")
	if err := f.delete(last.Name); err != nil {
		t.Error(err)
	}
}

// An Owner whose condition withholds something gets around it nowhere where
// only unconditional assignments count; nor does a role whose permission has one.
func TestUnconditional(t *testing.T) {
	const write = "Microsoft.Authorization/directory/applications/write"
	constrained := assign(t, alice, owner, "/")
	constrained.Condition = "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})"
	role := customRole("c1", Permission{Actions: []string{"*"}, Condition: constrained.Condition})
	for _, test := range []struct {
		name          string
		assignments   []Assignment
		unconditional bool
		want          bool
	}{
		{"a condition that is met", []Assignment{constrained}, false, true},
		{"which does not help", []Assignment{constrained}, true, false},
		{"of the role", []Assignment{assign(t, alice, "c1", "/")}, false, true},
		{"which does not help either", []Assignment{assign(t, alice, "c1", "/")}, true, false},
		{"another without", []Assignment{constrained, assign(t, alice, azure.RoleUserAccessAdministrator, "/")}, true, true},
	} {
		d := NewPolicy(test.assignments, []RoleDefinition{role}).Allow(Question{
			Principals: []string{alice}, Action: write, Scope: azure.Root(), Unconditional: test.unconditional,
		})
		if d.Allowed != test.want || !d.Allowed && !strings.Contains(d.Reason, "only assignments without one give this") {
			t.Errorf("%s: %v, %s", test.name, d.Allowed, d.Reason)
		}
	}

	f := newFixture(t)
	id := f.identity("first").ObjectID
	if _, _, err := f.put(Assignment{Scope: azure.Root(), RoleDefinitionID: owner, PrincipalID: id, Condition: constrained.Condition, ConditionVersion: "2.0"}); err != nil {
		t.Fatal(err)
	}
	for _, unconditional := range []bool{false, true} {
		d, err := f.Check(t.Context(), Request{Caller: callerOf(id), Action: write, Scope: azure.Root(), Unconditional: unconditional})
		if err != nil || d.Allowed == unconditional {
			t.Errorf("unconditional %v: %v, %v", unconditional, d.Allowed, err)
		}
	}
}
