package arm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/store"
)

// seed stores things without the pipeline, for lists that need many.
func (w *world) seed(group string, names ...string) {
	w.TB.Helper()
	for chunk := range slices.Chunk(names, 100) {
		w.Update(func(tx *store.Tx) error {
			for _, name := range chunk {
				id := mustID(w.TB, thingPath(group, name))
				rec := record{ID: id, TenantID: tenantID, Location: "westeurope", Properties: json.RawMessage(`{}`), ProvisioningState: Succeeded}
				if err := store.PutJSON(tx, Key(tenantID, id), rec); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// names gives the names on a page and the address of the next.
func names(a answer) (names []string, next string) {
	items, _ := a.doc["value"].([]any)
	for _, item := range items {
		names = append(names, item.(map[string]any)["name"].(string))
	}
	next, _ = a.doc["nextLink"].(string)
	return names, next
}

// Pages hold everything once, across store reads, even when things come and go
// between them.
func TestPagesAreStable(t *testing.T) {
	w := newWorld(t, thingType(), partType())
	w.group("rg")
	w.group("rh")
	var all []string
	for i := range 700 {
		all = append(all, fmt.Sprintf("t%04d", i))
	}
	w.seed("rg", all[:400]...)
	w.seed("rh", all[400:]...)
	var got []string
	next := "/subscriptions/" + subID + "/providers/Test.Things/things" + version + "&$top=150"
	for page := 0; next != ""; page++ {
		if page == 2 {
			w.want(http.StatusOK, http.MethodDelete, thingPath("rg", "t0299")+version, "") // the last that was seen
			w.want(http.StatusOK, http.MethodDelete, thingPath("rh", "t0500")+version, "")
			w.seed("rg", "a-new") // before what was seen
		}
		found, link := names(w.want(http.StatusOK, http.MethodGet, next, ""))
		if len(found) > 150 {
			t.Fatalf("a page of %d", len(found))
		}
		got = append(got, found...)
		if link != "" && !strings.HasPrefix(link, w.Azure.ResourceManager()+"/subscriptions/") {
			t.Fatalf("the next link is %s", link)
		}
		next = link
	}
	want := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == "t0500" })
	if !slices.Equal(got, want) {
		t.Errorf("got %d names, want %d", len(got), len(want))
	}
}

// The next link keeps the query and names the host by which the client came.
func TestNextLink(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	w.seed("rg", "a", "b")
	a := w.owner(http.MethodGet, "https://alias.example:444//subscriptions/"+subID+"/resourcegroups/rg/providers/test.things/things"+version+"&$top=1", "")
	_, next := names(a)
	u, err := url.Parse(next)
	cloudtest.Must(t, err)
	if u.Host != "alias.example:444" || u.Query().Get("$top") != "1" || u.Query().Get("api-version") != "2021-04-01" {
		t.Errorf("the next link is %s", next)
	}
	if found, more := names(w.owner(http.MethodGet, next, "")); !slices.Equal(found, []string{"b"}) || more != "" {
		t.Errorf("the second page is %v, then %q", found, more)
	}
}

// A list in a group doesn't look into groups whose names begin like it.
func TestListsKeepToTheirScope(t *testing.T) {
	w := newWorld(t, thingType())
	for _, group := range []string{"rg", "rg1", "rg-1"} {
		w.group(group)
		w.seed(group, "in-"+group)
	}
	found, _ := names(w.want(http.StatusOK, http.MethodGet, groupPath("rg")+"/providers/Test.Things/things"+version, ""))
	if !slices.Equal(found, []string{"in-rg"}) {
		t.Errorf("rg has %v", found)
	}
	groups, _ := names(w.want(http.StatusOK, http.MethodGet, "/subscriptions/"+subID+"/resourceGroups"+version, ""))
	if len(groups) != 3 {
		t.Errorf("the groups are %v", groups)
	}
}

// Lists of a subscription show what the caller may read.
func TestFilteredLists(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	var all []string
	for i := range 30 {
		all = append(all, fmt.Sprintf("t%02d", i))
	}
	w.seed("rg", all...)
	const guest = "33333333-3333-3333-3333-333333333334"
	for _, name := range []string{"t03", "t17", "t29"} {
		w.Assign(guest, azure.RoleReader, mustID(t, thingPath("rg", name)))
	}
	list := "/subscriptions/" + subID + "/providers/Test.Things/things" + version
	first, next := names(w.do(guest, http.MethodGet, list+"&$top=2", ""))
	second, _ := names(w.do(guest, http.MethodGet, next, ""))
	if !slices.Equal(append(first, second...), []string{"t03", "t17", "t29"}) {
		t.Errorf("the guest sees %v, then %v", first, second)
	}
	if got := w.do(nobodyID, http.MethodGet, list, ""); got.Status != http.StatusForbidden {
		t.Errorf("nobody gets %d", got.Status)
	}
}

// Virtual items are paged by their IDs, whatever the order they come in.
func TestVirtualPages(t *testing.T) {
	items := []any{}
	for _, name := range []string{"c", "A", "d", "b"} {
		items = append(items, map[string]string{"id": "/x/" + name, "name": name})
	}
	w := newWorld(t, Virtual(Spec{Name: "Test.Things/roots", Versions: []string{"2021-04-01"}, In: AtSubscription}, VirtualHooks{
		List: func(context.Context, *Request) ([]any, error) { return items, nil },
		ListExtra: func(_ context.Context, _ *Request, all []any) (map[string]any, error) {
			return map[string]any{"count": len(all)}, nil
		},
	}))
	list := "/subscriptions/" + subID + "/providers/Test.Things/roots" + version
	whole := w.want(http.StatusOK, http.MethodGet, list, "")
	if found, next := names(whole); !slices.Equal(found, []string{"c", "A", "d", "b"}) || next != "" || whole.doc["count"] != 4.0 {
		t.Errorf("the whole list is %s", whole.Body)
	}
	first, next := names(w.want(http.StatusOK, http.MethodGet, list+"&$top=3", ""))
	second, end := names(w.want(http.StatusOK, http.MethodGet, next, ""))
	if !slices.Equal(first, []string{"A", "b", "c"}) || !slices.Equal(second, []string{"d"}) || end != "" {
		t.Errorf("pages are %v and %v, then %q", first, second, end)
	}
}
