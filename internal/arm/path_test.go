package arm

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// routerTypes is a table with every kind of placement.
func routerTypes() []Type {
	return []Type{
		groupType(), thingType(), partType(),
		Virtual(Spec{Name: "Microsoft.Resources/subscriptions", Versions: []string{"2021-04-01"},
			Collections: []string{"/subscriptions"}, Items: []string{"/subscriptions/{subscriptionId}"}}, VirtualHooks{}),
		Virtual(Spec{Name: "Microsoft.Resources/subscriptions/providers", Versions: []string{"2021-04-01"},
			Collections: []string{"/subscriptions/{subscriptionId}/providers"},
			Items:       []string{"/subscriptions/{subscriptionId}/providers/{name}"}},
			VirtualHooks{Actions: map[string]VirtualAction{"register": {}}}),
		Virtual(Spec{Name: "Microsoft.Authorization/roleAssignments", Versions: []string{"2021-04-01"}, In: AtAnyScope}, VirtualHooks{}),
		Virtual(Spec{Name: "Test.Things/checkName", Versions: []string{"2021-04-01"}, In: AtSubscription}, VirtualHooks{Post: noPost}),
		Virtual(Spec{Name: "Test.Things/locations/deletedThings", Versions: []string{"2021-04-01"}, In: AtSubscription}, VirtualHooks{}),
		Virtual(Spec{Name: "Test.Things/roots", Versions: []string{"2021-04-01"}, In: AtTenant}, VirtualHooks{}),
	}
}

func TestRoute(t *testing.T) {
	r, err := newRouter(routerTypes())
	cloudtest.Must(t, err)
	const sub = "/subscriptions/" + subID
	group := sub + "/resourceGroups/rg"
	tests := []struct {
		method, path string
		want         string // type id name [flags]
	}{
		{"GET", "/subscriptions", "Microsoft.Resources/subscriptions /  collection"},
		{"GET", sub, "Microsoft.Resources/subscriptions " + sub + " "},
		{"GET", strings.ToUpper(sub), "Microsoft.Resources/subscriptions " + sub + " "},
		{"GET", sub + "/providers", "Microsoft.Resources/subscriptions/providers " + sub + "  collection"},
		{"GET", sub + "/providers/Test.Things", "Microsoft.Resources/subscriptions/providers " + sub + " Test.Things"},
		{"POST", sub + "/providers/Test.Things/REGISTER", "Microsoft.Resources/subscriptions/providers " + sub + " Test.Things REGISTER"},
		{"POST", sub + "/providers/Test.Things/checkname", "Test.Things/checkName " + sub + "  collection"},
		{"GET", sub + "/resourcegroups", resourceGroupType + " " + sub + "  collection"},
		{"PUT", sub + "/resourcegroups/rg", resourceGroupType + " " + group + " rg"},
		{"POST", sub + "/resourcegroups/rg/export", resourceGroupType + " " + group + " rg export"},
		{"GET", sub + "/providers/test.things/THINGS", "Test.Things/things " + sub + "  collection"},
		{"GET", group + "/providers/test.things/THINGS", "Test.Things/things " + group + "  collection"},
		{"PUT", group + "/providers/test.things/THINGS/One", "Test.Things/things " + group + "/providers/Test.Things/things/One One"},
		{"POST", group + "/providers/test.things/THINGS/One/grow", "Test.Things/things " + group + "/providers/Test.Things/things/One One grow"},
		{"GET", group + "/providers/test.things/THINGS/One/parts", "Test.Things/things/parts " + group + "/providers/Test.Things/things/One  collection"},
		{"PUT", group + "/providers/test.things/THINGS/One/PARTS/2", "Test.Things/things/parts " + group + "/providers/Test.Things/things/One/parts/2 2"},
		{"PUT", group + "/providers/test.things/things/one/providers/microsoft.authorization/roleassignments/a",
			"Microsoft.Authorization/roleAssignments " + group + "/providers/Test.Things/things/one/providers/Microsoft.Authorization/roleAssignments/a a"},
		{"PUT", group + "/providers/Other.Kind/x/y/providers/microsoft.authorization/roleassignments/a",
			"Microsoft.Authorization/roleAssignments " + group + "/providers/Other.Kind/x/y/providers/Microsoft.Authorization/roleAssignments/a a"},
		{"GET", "/providers/Microsoft.Authorization/roleAssignments", "Microsoft.Authorization/roleAssignments /  collection"},
		{"GET", sub + "/providers/Test.Things/locations/westeurope/deletedThings/x", "Test.Things/locations/deletedThings " + sub + "/providers/Test.Things/locations/westeurope/deletedThings/x x"},
		{"GET", "/providers/Test.Things/roots/r", "Test.Things/roots /providers/Test.Things/roots/r r"},
		{"GET", sub + "/providers/Test.Things/locations/westeurope/operations/o1", " " + sub + "  operation=o1"},
		{"GET", sub + "/providers/Test.Things/locations/westeurope/operationResults/o1", " " + sub + "  operation=o1 location"},
		{"GET", sub + "/operationresults/o1", " " + sub + "  operation=o1 location"},
	}
	for _, tt := range tests {
		got, err := r.route(tt.method, tt.path, "2021-04-01")
		if err != nil {
			t.Errorf("%s %s: %v", tt.method, tt.path, err)
			continue
		}
		if diff := cmp.Diff(tt.want, describe(got)); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.method, tt.path, diff)
		}
	}
}

func describe(t *target) string {
	var b strings.Builder
	if t.typ != nil {
		b.WriteString(t.typ.spec.Name)
	}
	b.WriteString(" " + t.id.String() + " " + t.name)
	if t.collection {
		b.WriteString(" collection")
	}
	if t.action != "" {
		b.WriteString(" " + t.action)
	}
	if t.operation != "" {
		b.WriteString(" operation=" + t.operation)
	}
	if t.location {
		b.WriteString(" location")
	}
	return b.String()
}

func TestRouteRefuses(t *testing.T) {
	r, err := newRouter(routerTypes())
	cloudtest.Must(t, err)
	const sub = "/subscriptions/" + subID
	tests := []struct{ path, code string }{
		{"/", "MissingSubscription"},
		{"/x", "MissingSubscription"},
		{"/subscriptions/" + subID[1:], "InvalidSubscriptionId"},
		{"/subscriptions/{" + subID + "}", "InvalidSubscriptionId"},
		{"/subscriptions/22222222222222222222222222222222/resourceGroups", "InvalidSubscriptionId"},
		{sub + "/x", "InvalidResourceType"},
		{sub + "/resourceGroups/rg/x/y", "InvalidResourceType"},
		{sub + "/resourceGroups/rg/providers/Test.Things", "InvalidResourceType"},
		{sub + "/providers/Test.Unknown/x", "InvalidResourceNamespace"},
		{sub + "/providers/Test.Things/x", "InvalidResourceType"},
		{sub + "/providers/Test.Things/things/one", "InvalidResourceType"},
		{"/providers/Test.Things/things/one", "InvalidResourceType"},
		{sub + "/providers/Test.Things/roots/one", "InvalidResourceType"},
		{sub + "/providers/Test.Things/providers/Microsoft.Authorization/roleAssignments/x", "InvalidResourceType"},
		{sub + "/resourceGroups/a%2fb", "InvalidRequestUri"},
		{sub + "/resourceGroups/%zz", "InvalidRequestUri"},
		{sub + "/resourceGroups/%00", "InvalidResourceId"},
		{sub + "/resourceGroups/.", "InvalidResourceId"},
		{sub + "/resourceGroups/" + strings.Repeat("x", 5000), "InvalidResourceId"},
	}
	for _, tt := range tests {
		_, err := r.route(http.MethodGet, tt.path, "2021-04-01")
		known, ok := errors.AsType[*azure.Error](err)
		if !ok || known.Code != tt.code {
			t.Errorf("%s: %v, want %s", tt.path, err, tt.code)
		}
	}
}

func TestTableIsChecked(t *testing.T) {
	versions := []string{"2021-04-01"}
	tests := []struct {
		name  string
		types []Type
		want  string
	}{
		{"twice", []Type{thingType(), thingType()}, "twice"},
		{"no namespace", []Type{Virtual(Spec{Name: "things", Versions: versions}, VirtualHooks{})}, "form"},
		{"no version", []Type{Virtual(Spec{Name: "a/b"}, VirtualHooks{})}, "no api-version"},
		{"bad version", []Type{Virtual(Spec{Name: "a/b", Versions: []string{"1"}}, VirtualHooks{})}, "no api-version"},
		{"made by hand", []Type{{spec: Spec{Name: "a/b", Versions: versions}}}, "neither"},
		{"pattern", []Type{Define(Spec{Name: "a/b", Versions: versions, Items: []string{"/x"}}, Hooks[thing]{})}, "patterns"},
	}
	for _, tt := range tests {
		if _, err := newRouter(tt.types); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to say %q", tt.name, err, tt.want)
		}
	}
}

// A resource's own ID, in whatever case, routes to it.
func TestRouteFindsEveryID(t *testing.T) {
	r, err := newRouter(routerTypes())
	cloudtest.Must(t, err)
	name := rapid.StringMatching(`[a-zA-Z0-9_()-]{1,20}`)
	mixed := func(rt *rapid.T, s string) string {
		return strings.Map(func(c rune) rune {
			if rapid.Bool().Draw(rt, "upper") {
				return []rune(strings.ToUpper(string(c)))[0]
			}
			return c
		}, s)
	}
	rapid.Check(t, func(rt *rapid.T) {
		group, one, two := name.Draw(rt, "group"), name.Draw(rt, "thing"), name.Draw(rt, "part")
		path := mixed(rt, "/subscriptions/"+subID+"/resourcegroups/") + group + mixed(rt, "/providers/test.things/things/") + one + mixed(rt, "/parts/") + two
		got, err := r.route(http.MethodGet, path, "2021-04-01")
		if err != nil {
			rt.Fatal(err)
		}
		want := groupPath(group) + "/providers/Test.Things/things/" + one + "/parts/" + two
		if got.id.String() != want || got.typ.spec.Name != "Test.Things/things/parts" || got.name != two {
			rt.Fatalf("%s gave %s", path, describe(got))
		}
	})
}

func FuzzRoute(f *testing.F) {
	r, err := newRouter(routerTypes())
	cloudtest.Must(f, err)
	for _, seed := range []string{
		"/", "//", "/subscriptions/" + subID, thingPath("rg", "x"), thingPath("rg", "x") + "/parts/y/providers/Microsoft.Authorization/roleAssignments/z",
		"/subscriptions/" + subID + "/providers/Test.Things/locations/l/operations/o", "/providers//x", "/%2f/%00", "/subscriptions/" + subID + "/providers/providers/providers/providers",
	} {
		f.Add("GET", seed)
		f.Add("POST", seed)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		got, err := r.route(method, path, "2021-04-01")
		if err != nil {
			if known, ok := errors.AsType[*azure.Error](err); !ok || known.Status < 400 || known.Status > 499 {
				t.Fatalf("%q gave %v", path, err)
			}
			return
		}
		// What was found has an ID that parses to itself.
		again, err := azure.ParseResourceID(got.id.String())
		if err != nil || again.String() != got.id.String() {
			t.Fatalf("%q gave the ID %q, which parses to %q, %v", path, got.id, again, err)
		}
	})
}
