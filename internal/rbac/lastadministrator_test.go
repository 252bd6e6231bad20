package rbac

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
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
