package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lanyard-id/lanyard/internal/store"
)

func TestGroupsOf(t *testing.T) {
	f := newFixture(t)
	user := f.user(contoso, "ada@contoso.example", "Ada")
	a, b, c := f.group(contoso, "a"), f.group(contoso, "b"), f.group(contoso, "c")
	add := func(group, member Principal) {
		t.Helper()
		f.must(func(tx *store.Tx) error {
			return f.AddMember(tx, contoso, strings.ToUpper(group.ObjectID), strings.ToUpper(member.ObjectID))
		})
	}
	remove := func(group, member Principal) {
		t.Helper()
		f.must(func(tx *store.Tx) error {
			return f.RemoveMember(tx, contoso, strings.ToUpper(group.ObjectID), strings.ToUpper(member.ObjectID))
		})
	}
	want := func(p Principal, groups ...Principal) {
		t.Helper()
		var ids []string
		for _, g := range groups {
			ids = append(ids, g.ObjectID)
		}
		slices.Sort(ids)
		for range 2 { // the second answer is the cached one
			if diff := cmp.Diff(ids, f.GroupsOf(contoso, strings.ToUpper(p.ObjectID))); diff != "" {
				t.Errorf("the groups of %s (-want +got):\n%s", p.DisplayName, diff)
			}
		}
	}
	want(user)
	add(a, user)
	want(user, a)
	add(b, a)
	want(user, a, b)
	want(a, b)
	add(c, b)
	add(a, c) // a circle
	want(user, a, b, c)
	want(a, b, c)
	want(c, a, b)
	add(c, user)
	remove(a, user)
	want(user, a, b, c) // through c, around the circle
	f.must(func(tx *store.Tx) error { return f.DeletePrincipal(tx, contoso, a.ObjectID) })
	want(user, c)
	want(b, c)
	want(a)
	remove(c, user)
	want(user)
	if got := f.GroupsOf("none", user.ObjectID); got != nil {
		t.Errorf("in an unknown tenant: %v", got)
	}
}

func TestMemberErrors(t *testing.T) {
	f := newFixture(t)
	user := f.user(contoso, "ada@contoso.example", "Ada")
	group, empty := f.group(contoso, "g"), f.group(contoso, "e")
	add := func(group, member string) error {
		return f.update(func(tx *store.Tx) error { return f.AddMember(tx, contoso, group, member) })
	}
	remove := func(group, member string) error {
		return f.update(func(tx *store.Tx) error { return f.RemoveMember(tx, contoso, group, member) })
	}
	if err := add(group.ObjectID, user.ObjectID); err != nil {
		t.Fatal(err)
	}
	notFound := func(err error, id string) {
		t.Helper()
		wantError(t, err, 404, "Request_ResourceNotFound",
			"Resource '"+id+"' does not exist or one of its queried reference-property objects are not present.")
	}
	wantError(t, add(group.ObjectID, strings.ToUpper(user.ObjectID)), 400, "Request_BadRequest",
		"One or more added object references already exist for the following modified properties: 'members'.")
	wantError(t, add(group.ObjectID, group.ObjectID), 400, "Request_BadRequest",
		"Invalid value specified for property 'members' of resource 'Group'. A group cannot be its own member.")
	notFound(add(group.ObjectID, contoso), contoso)
	notFound(add(contoso, user.ObjectID), contoso)
	notFound(add(user.ObjectID, group.ObjectID), user.ObjectID)
	notFound(remove(empty.ObjectID, user.ObjectID), user.ObjectID)
	notFound(remove(contoso, user.ObjectID), contoso)
	wantError(t, f.update(func(tx *store.Tx) error {
		_, err := f.CreateGroup(tx, contoso, "")
		return err
	}), 400, "Request_BadRequest", "Invalid value specified for property 'displayName' of resource 'Group'. It must not be empty.")
}

// A member that was deleted without its entry in the group being known grants
// nothing to anybody, and does not keep the group from changing.
func TestLeftOverMember(t *testing.T) {
	f := newFixture(t)
	group, user := f.group(contoso, "g"), f.user(contoso, "ada@contoso.example", "Ada")
	group.Members = []string{"00000000-0000-4000-8000-000000000000"}
	f.must(func(tx *store.Tx) error { return store.PutJSON(tx, key(principals, contoso, group.ObjectID), group) })
	if got := f.GroupsOf(contoso, group.Members[0]); got != nil {
		t.Errorf("nobody is in %v", got)
	}
	f.must(func(tx *store.Tx) error { return f.AddMember(tx, contoso, group.ObjectID, user.ObjectID) })
	if got := f.GroupsOf(contoso, user.ObjectID); len(got) != 1 {
		t.Errorf("the user is in %v", got)
	}
	f.must(func(tx *store.Tx) error { return f.RemoveMember(tx, contoso, group.ObjectID, group.Members[0]) })
}

// naiveGroups is the oracle: it applies the definition until nothing is added.
func naiveGroups(members map[string][]string, p string) []string {
	in := map[string]bool{}
	for changed := true; changed; {
		changed = false
		for group, list := range members {
			for _, m := range list {
				if (m == p || in[m]) && !in[group] && group != p {
					in[group] = true
					changed = true
				}
			}
		}
	}
	var groups []string
	for g := range in {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	return groups
}

func TestGroupsOfAgainstOracle(t *testing.T) {
	f := newFixture(t)
	users := 0
	rapid.Check(t, func(rt *rapid.T) {
		nGroups, nUsers := rapid.IntRange(1, 6).Draw(rt, "groups"), rapid.IntRange(1, 3).Draw(rt, "users")
		var groups, all []string
		f.must(func(tx *store.Tx) error {
			groups, all = nil, nil
			for range nGroups {
				g, err := f.CreateGroup(tx, contoso, "g")
				if err != nil {
					return err
				}
				groups = append(groups, g.ObjectID)
			}
			all = append(all, groups...)
			for i := range nUsers {
				u, err := f.CreateUser(tx, contoso, fmt.Sprintf("u%d-%d@contoso.example", users, i), "u")
				if err != nil {
					return err
				}
				all = append(all, u.ObjectID)
			}
			return nil
		})
		users++
		members := map[string][]string{}
		check := func() {
			rt.Helper()
			for _, p := range all {
				want := naiveGroups(members, p)
				if diff := cmp.Diff(want, f.GroupsOf(contoso, p)); diff != "" {
					rt.Fatalf("the groups of %s with %v (-want +got):\n%s", p, members, diff)
				}
			}
		}
		type edge struct{ group, member string }
		edges := rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) edge {
			return edge{rapid.SampledFrom(groups).Draw(rt, "group"), rapid.SampledFrom(all).Draw(rt, "member")}
		}), 0, 12, func(e edge) edge { return e }).Draw(rt, "edges")
		edges = slices.DeleteFunc(edges, func(e edge) bool { return e.group == e.member })
		f.must(func(tx *store.Tx) error {
			for _, e := range edges {
				if err := f.AddMember(tx, contoso, e.group, e.member); err != nil {
					return err
				}
			}
			return nil
		})
		for _, e := range edges {
			members[e.group] = append(members[e.group], e.member)
		}
		check()

		gone := rapid.SampledFrom(all).Draw(rt, "deleted")
		cut := len(edges) / 2
		f.must(func(tx *store.Tx) error {
			for _, e := range edges[:cut] {
				if err := f.RemoveMember(tx, contoso, e.group, e.member); err != nil {
					return err
				}
			}
			return f.DeletePrincipal(tx, contoso, gone)
		})
		for _, e := range edges[:cut] {
			members[e.group] = slices.DeleteFunc(members[e.group], func(m string) bool { return m == e.member })
		}
		delete(members, gone)
		for g := range members {
			members[g] = slices.DeleteFunc(members[g], func(m string) bool { return m == gone })
		}
		check()
	})
}
