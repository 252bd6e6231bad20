package provider

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

func TestParseFilter(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string][]filterTerm{
		"":                          nil,
		"  ":                        nil,
		"atScope()":                 {{"atscope", true, ""}},
		" ATSCOPE( ) ":              {{"atscope", true, ""}},
		"principalId eq 'x'":        {{"principalid", false, "x"}},
		"principalId  EQ  'it''s'":  {{"principalid", false, "it's"}},
		"assignedTo('x')":           {{"assignedto", true, "x"}},
		"assignedTo( 'x' )":         {{"assignedto", true, "x"}},
		"atScope() and a eq ''":     {{"atscope", true, ""}, {"a", false, ""}},
		"a eq 'b' AND c eq ' and '": {{"a", false, "b"}, {"c", false, " and "}},
	} {
		got, ok := parseFilter(filter)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(filterTerm{})); !ok || diff != "" {
			t.Errorf("%q: %t\n%s", filter, ok, diff)
		}
	}
	for _, filter := range []string{
		"atScope", "atScope(", "atScope()and a eq 'b'", "a eq b", "a eq 'b", "a eq 'b' or c eq 'd'", "a ne 'b'", "a eq 'b' and", "'a' eq b",
		"a eq 'b' c", "a()()", "a('b','c')", "aeq'b'", "a eq'b'", "(a eq 'b')", "not a eq 'b'", "\u212aa eq 'b'", "and",
	} {
		if got, ok := parseFilter(filter); ok {
			t.Errorf("%q was read as %+v", filter, got)
		}
	}
}

// FuzzFilter: what is read can be written and read again.
func FuzzFilter(f *testing.F) {
	for _, filter := range []string{"", "atScope()", "a eq 'b'", "assignedTo('x') and atScope()", "a eq 'it''s'", "a eq '", "''"} {
		f.Add(filter)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		terms, ok := parseFilter(filter)
		if !ok {
			return
		}
		var written []string
		for _, term := range terms {
			value := "'" + strings.ReplaceAll(term.value, "'", "''") + "'"
			switch {
			case !term.call:
				written = append(written, term.name+" eq "+value)
			case term.value == "":
				written = append(written, term.name+"()")
			default:
				written = append(written, term.name+"("+value+")")
			}
		}
		again, ok := parseFilter(strings.Join(written, " and "))
		if diff := cmp.Diff(terms, again, cmp.AllowUnexported(filterTerm{})); !ok || diff != "" {
			t.Fatalf("%q was written as %q, and read as\n%s", filter, written, diff)
		}
	})
}

func assignmentURL(scope, name string) string {
	return scope + "/providers/Microsoft.Authorization/roleAssignments/" + name + "?api-version=2022-04-01"
}

func assignmentOf(role, principal string) string {
	return fmt.Sprintf(`{"properties": {"roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/%s", "principalId": "%s", "principalType": "ServicePrincipal"}}`,
		role, principal)
}

// An assignment is in force when its request is answered, at its scope alone,
// and not any more when its deletion is.
func TestAssignmentsAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	for _, name := range []string{"rg1", "rg10"} {
		w.put(groupURL(name), `{"location": "westeurope"}`)
	}
	scope := azure.ResourceGroupScope(subscriptionID, "rg1").String()
	const name = "4e900000-0000-0000-0000-000000000001"
	w.send("app", http.MethodGet, groupURL("rg1"), "").Want(t, 403)
	w.put(assignmentURL(scope, name), assignmentOf(azure.RoleReader, w.oid("app")))
	w.send("app", http.MethodGet, groupURL("rg1"), "").Want(t, 200)
	w.send("app", http.MethodGet, groupURL("rg10"), "").Want(t, 403)
	w.send("app", http.MethodPut, assignmentURL(scope, "4e900000-0000-0000-0000-000000000002"), assignmentOf(azure.RoleOwner, w.oid("app"))).Want(t, 403)
	w.send("owner", http.MethodDelete, assignmentURL(scope, name), "").Want(t, 200)
	w.send("app", http.MethodGet, groupURL("rg1"), "").Want(t, 403)
}

// Of many who assign the same one does; and of many under one name one does.
func TestAssignmentsAreGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	scope := azure.SubscriptionScope(subscriptionID).String()
	race := func(send func(i int) int) map[int]int {
		var group sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for i := range 6 {
			group.Go(func() {
				code := send(i)
				mu.Lock()
				defer mu.Unlock()
				codes[code]++
			})
		}
		group.Wait()
		return codes
	}
	body := assignmentOf(azure.RoleReader, w.oid("app"))
	same := race(func(i int) int {
		return w.send("owner", http.MethodPut, assignmentURL(scope, fmt.Sprintf("4e900000-0000-0000-0000-%012d", i)), body).Status
	})
	if same[http.StatusCreated] != 1 || same[http.StatusConflict] != 5 {
		t.Errorf("the same under six names: %v", same)
	}
	var principals []string
	for i := range 6 {
		principals = append(principals, w.oid(fmt.Sprint("app", i)))
	}
	named := race(func(i int) int {
		return w.send("owner", http.MethodPut, assignmentURL(scope, "4e900000-0000-0000-0000-00000000000f"), assignmentOf(azure.RoleReader, principals[i])).Status
	})
	if named[http.StatusCreated] != 1 || named[http.StatusBadRequest] != 5 {
		t.Errorf("six under one name: %v", named)
	}
}

// The list has pages like any other, which hold each assignment once.
func TestAssignmentPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	scope := azure.SubscriptionScope(subscriptionID).String()
	for i := range 5 {
		w.put(assignmentURL(scope, fmt.Sprintf("4e900000-0000-0000-0000-%012d", i)), assignmentOf(azure.RoleReader, w.oid(fmt.Sprint("app", i))))
	}
	seen := map[string]int{}
	next := scope + "/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01&$top=2"
	pages := 0
	for next != "" {
		page := w.get(next)
		for _, item := range page["value"].([]any) {
			seen[item.(map[string]any)["name"].(string)]++
		}
		link, _ := page["nextLink"].(string)
		next = strings.TrimPrefix(link, w.Azure.ResourceManager())
		pages++
	}
	if len(seen) != 6 || pages != 3 { // with the owner's own
		t.Errorf("%d assignments on %d pages: %v", len(seen), pages, seen)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was listed %d times", name, n)
		}
	}
}

// The last right to manage access at the root stays, by whatever request its end
// is asked for: of the assignment, or of the identity that has it.
func TestLastRootAdministratorStays(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %t", strict), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strict)
			const first, second, third = "4e900000-0000-0000-0000-000000000001", "4e900000-0000-0000-0000-000000000002", "4e900000-0000-0000-0000-000000000003"
			stays := func(what, method, url, body string) {
				t.Helper()
				if a := w.send("owner", method, url, body); a.Status != http.StatusBadRequest || a.ErrorCode() != "CannotDeleteLastRbacAdminAssignment" ||
					strings.Contains(a.Body, "to another service principal first") == strict {
					t.Errorf("%s: %d %s", what, a.Status, a.Body)
				}
			}
			goes := func(what, method, url string) {
				t.Helper()
				if a := w.send("owner", method, url, ""); a.Status != http.StatusOK {
					t.Errorf("%s: %d %s", what, a.Status, a.Body)
				}
			}
			w.Application(tenantID, "ops")
			body := assignmentOf(azure.RoleOwner, w.oid("ops"))
			w.put(assignmentURL("", first), body)
			stays("the only assignment", http.MethodDelete, assignmentURL("", first), "")
			stays("a condition", http.MethodPut, assignmentURL("", first), strings.Replace(body, `{"properties": {`,
				`{"properties": {"condition": "!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})", "conditionVersion": "2.0", `, 1))

			// Two identities, of which one is a machine's own.
			principal := func(doc map[string]any, member string) string {
				return doc[member].(map[string]any)["principalId"].(string)
			}
			w.put(groupURL("rg"), groupBody)
			identity := identityURL("rg", "admin")
			w.put(assignmentURL("", second), assignmentOf(azure.RoleUserAccessAdministrator, principal(w.put(identity, groupBody), "properties")))
			goes("beside an identity's", http.MethodDelete, assignmentURL("", first))
			stays("the identity's assignment", http.MethodDelete, assignmentURL("", second), "")
			stays("the identity", http.MethodDelete, identity, "")
			machine := azure.ResourceGroupScope(subscriptionID, "rg").Resource("Microsoft.Compute", "virtualMachines", "vm").String() + "?api-version=2024-07-01"
			made := w.put(machine, `{"location":"westeurope","identity":{"type":"SystemAssigned"}}`)
			w.put(assignmentURL("", third), assignmentOf(azure.RoleOwner, principal(made, "identity")))
			goes("beside a machine", http.MethodDelete, identity)
			stays("the machine's identity", http.MethodPatch, machine, `{"identity":{"type":"None"}}`)
			stays("the machine", http.MethodDelete, machine, "")
			accepted := w.send("owner", http.MethodDelete, groupURL("rg"), "").Want(t, http.StatusAccepted)
			var ended cloudtest.Answer
			w.Eventually("the end of the group's deletion", func() bool {
				ended = w.serve(w.Request("owner", http.MethodGet, accepted.Header.Get("Location"), ""))
				return ended.Status != http.StatusAccepted
			})
			if ended.ErrorCode() != "CannotDeleteLastRbacAdminAssignment" {
				t.Errorf("the group's deletion ended with %d %s", ended.Status, ended.Body)
			}
			if _, ok := w.Directory.Principal(tenantID, principal(made, "identity")); !ok {
				t.Error("the last administrator is gone")
			}
			w.put(assignmentURL("", first), body)
			goes("the machine, beside another", http.MethodDelete, machine)
		})
	}
}
