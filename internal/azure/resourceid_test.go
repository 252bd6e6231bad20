package azure

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testSub = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590"

func mustParse(t *testing.T, s string) ResourceID {
	t.Helper()
	id, err := ParseResourceID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// facts is what every accessor says of an ID.
type facts struct {
	Type, Namespace, Name, Sub, Group, Parent, Scope string
}

func TestResourceIDParts(t *testing.T) {
	rg := testSub + "/resourceGroups/rg1"
	id1 := rg + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"
	const sub = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
	for _, tt := range []struct {
		name, in string
		want     facts
	}{
		{"root", "/", facts{Type: "Microsoft.Resources/tenants", Namespace: "Microsoft.Resources", Parent: "/", Scope: "/"}},
		{"subscription", testSub, facts{"Microsoft.Resources/subscriptions", "Microsoft.Resources", sub, sub, "", "/", "/"}},
		{"resource group", rg, facts{
			"Microsoft.Resources/subscriptions/resourceGroups", "Microsoft.Resources", "rg1", sub, "rg1", testSub, testSub}},
		{"management group", "/providers/Microsoft.Management/managementGroups/mg", facts{
			"Microsoft.Management/managementGroups", "Microsoft.Management", "mg", "", "", "/", "/"}},
		{"resource", id1, facts{
			"Microsoft.ManagedIdentity/userAssignedIdentities", "Microsoft.ManagedIdentity", "id1", sub, "rg1", rg, rg}},
		{"child", id1 + "/federatedIdentityCredentials/fc", facts{
			"Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
			"Microsoft.ManagedIdentity", "fc", sub, "rg1", id1, rg}},
		{"grandchild", rg + "/providers/Microsoft.Storage/storageAccounts/a/blobServices/default/containers/c", facts{
			"Microsoft.Storage/storageAccounts/blobServices/containers", "Microsoft.Storage", "c", sub, "rg1",
			rg + "/providers/Microsoft.Storage/storageAccounts/a/blobServices/default", rg}},
		{"extension of the root", "/providers/Microsoft.Authorization/roleDefinitions/x", facts{
			"Microsoft.Authorization/roleDefinitions", "Microsoft.Authorization", "x", "", "", "/", "/"}},
		{"extension of a subscription", testSub + "/providers/Microsoft.Authorization/locks/l", facts{
			"Microsoft.Authorization/locks", "Microsoft.Authorization", "l", sub, "", testSub, testSub}},
		{"extension of a resource", id1 + "/providers/Microsoft.Authorization/roleAssignments/a", facts{
			"Microsoft.Authorization/roleAssignments", "Microsoft.Authorization", "a", sub, "rg1", id1, id1}},
		{"extension of a child", id1 + "/federatedIdentityCredentials/fc/providers/Microsoft.Authorization/locks/l", facts{
			"Microsoft.Authorization/locks", "Microsoft.Authorization", "l", sub, "rg1",
			id1 + "/federatedIdentityCredentials/fc", id1 + "/federatedIdentityCredentials/fc"}},
		{"child of an extension", id1 + "/providers/Contoso.Notes/notes/n/pages/1", facts{
			"Contoso.Notes/notes/pages", "Contoso.Notes", "1", sub, "rg1", id1 + "/providers/Contoso.Notes/notes/n", id1}},
		{"extension of an extension", id1 + "/providers/Contoso.Notes/notes/n/providers/Microsoft.Authorization/locks/l", facts{
			"Microsoft.Authorization/locks", "Microsoft.Authorization", "l", sub, "rg1",
			id1 + "/providers/Contoso.Notes/notes/n", id1 + "/providers/Contoso.Notes/notes/n"}},
		{"group called providers", testSub + "/resourceGroups/providers/providers/A.B/t/n", facts{
			"A.B/t", "A.B", "n", sub, "providers", testSub + "/resourceGroups/providers", testSub + "/resourceGroups/providers"}},
		{"resource called providers", rg + "/providers/A.B/t/providers", facts{
			"A.B/t", "A.B", "providers", sub, "rg1", rg, rg}},
		{"child of a resource called providers", rg + "/providers/A.B/t/providers/c/n", facts{
			"A.B/t/c", "A.B", "n", sub, "rg1", rg + "/providers/A.B/t/providers", rg}},
		{"extension of a resource called providers", rg + "/providers/A.B/t/providers/providers/C.D/e/n", facts{
			"C.D/e", "C.D", "n", sub, "rg1", rg + "/providers/A.B/t/providers", rg + "/providers/A.B/t/providers"}},
		{"names of other levels", "/subscriptions/resourceGroups/resourceGroups/subscriptions", facts{
			"Microsoft.Resources/subscriptions/resourceGroups", "Microsoft.Resources", "subscriptions",
			"resourceGroups", "subscriptions", "/subscriptions/resourceGroups", "/subscriptions/resourceGroups"}},
		{"subscription-like resource at the root", "/providers/A.B/subscriptions/s/resourceGroups/g", facts{
			"A.B/subscriptions/resourceGroups", "A.B", "g", "", "", "/providers/A.B/subscriptions/s", "/"}},
		{"any case", "/SUBSCRIPTIONS/s/resourcegroups/G/PROVIDERS/a.b/T/N", facts{
			"a.b/T", "a.b", "N", "s", "G", "/SUBSCRIPTIONS/s/resourcegroups/G", "/SUBSCRIPTIONS/s/resourcegroups/G"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := mustParse(t, tt.in)
			got := facts{id.Type(), id.Namespace(), id.Name(), id.SubscriptionID(), id.ResourceGroup(),
				id.Parent().String(), id.Scope().String()}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.in, diff)
			}
			if id.String() != tt.in {
				t.Errorf("String() = %q, want %q", id, tt.in)
			}
			if slashed := mustParse(t, strings.TrimSuffix(tt.in, "/")+"/"); !slashed.Equal(id) || slashed.String() != tt.in {
				t.Errorf("with a trailing slash it is %q", slashed)
			}
			if id.IsRoot() != (tt.in == "/") {
				t.Errorf("IsRoot() = %v", id.IsRoot())
			}
		})
	}
}

func TestParseResourceIDRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "must start with '/'"},
		{"subscriptions/s", "must start with '/'"},
		{"//", "empty segment"},
		{"//subscriptions/s", "empty segment"},
		{"/subscriptions//resourceGroups/g", "empty segment"},
		{"/subscriptions/s//", "empty segment"},
		{"/subscriptions", "subscription is missing"},
		{"/subscriptions/", "subscription is missing"},
		{"/subscriptions/s/resourceGroups", "resource group is missing"},
		{"/resourceGroups/g", `'providers' is expected in place of "resourceGroups"`},
		{"/subscriptions/s/x/y", `'providers' is expected in place of "x"`},
		{"/subscriptions/s/resourceGroups/g/extra", `'providers' is expected in place of "extra"`},
		{"/tenants/t", `'providers' is expected in place of "tenants"`},
		{"/providers", "a namespace and pairs"},
		{"/providers/A.B", "a namespace and pairs"},
		{"/providers/A.B/t", "a namespace and pairs"},
		{"/providers/A.B/t/n/c", "a namespace and pairs"},
		{"/providers/A.B/providers/C.D/t/n", "a namespace and pairs"},
		{"/providers/A.B/t/n/providers", "a namespace and pairs"},
		{"/subscriptions/.", `may not be "."`},
		{"/subscriptions/s/resourceGroups/..", `may not be ".."`},
		{"/subscriptions/a%2fb", "not allowed"},
		{"/subscriptions/a?b", "not allowed"},
		{"/subscriptions/a#b", "not allowed"},
		{`/subscriptions/a\b`, "not allowed"},
		{"/subscriptions/a\x00b", "not allowed"},
		{"/subscriptions/a\nb", "not allowed"},
		{"/subscriptions/a\u0085b", "not allowed"},
		{"/subscriptions/a\u200bb", "not allowed"},
		{"/subscriptions/a\u202eb", "not allowed"},
		{"/subscriptions/a\u00a0b", "not allowed"},
		{"/subscriptions/a\xffb", "not valid UTF-8"},
		{"/subscriptions/" + strings.Repeat("x", maxIDLength), "longer than 4096"},
	} {
		id, err := ParseResourceID(tt.in)
		if err == nil {
			t.Errorf("ParseResourceID(%q) = %q, want an error with %q", tt.in, id, tt.want)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseResourceID(%q): %v, want %q", tt.in, err, tt.want)
		}
		if !id.IsRoot() {
			t.Errorf("ParseResourceID(%q) gives %q beside its error", tt.in, id)
		}
	}
}

func TestContains(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"/", "/", true},
		{"/", testSub, true},
		{testSub, "/", false},
		{testSub, testSub + "/resourceGroups/rg1", true},
		{testSub, strings.ToUpper(testSub) + "/resourcegroups/RG1", true},
		{testSub + "/resourceGroups/rg1", testSub + "/resourceGroups/rg10", false},
		{testSub + "/resourceGroups/rg10", testSub + "/resourceGroups/rg1", false},
		{testSub + "/resourceGroups/rg1", testSub + "/resourceGroups/RG1/providers/A.B/t/n", true},
		{testSub + "/resourceGroups/key", testSub + "/resourceGroups/" + kelvin + "ey/providers/A.B/t/n", false},
		{testSub + "/resourceGroups/rgs", testSub + "/resourceGroups/rg" + longS, false},
		{testSub + "/resourceGroups/g/providers/A.B/t/n", testSub + "/resourceGroups/g/providers/A.B/t/n/c/m", true},
		{testSub + "/resourceGroups/g/providers/A.B/t/n", testSub + "/resourceGroups/g/providers/A.B/t/n2", false},
		{testSub + "/resourceGroups/g/providers/A.B/t/n", testSub + "/resourceGroups/g/providers/A.B/t/n/providers/C.D/e/x", true},
		{testSub + "/providers/A.B/t/n", testSub + "/resourceGroups/g/providers/A.B/t/n", false},
	} {
		a, b := mustParse(t, tt.a), mustParse(t, tt.b)
		if got := a.Contains(b); got != tt.want {
			t.Errorf("%q contains %q = %v", a, b, got)
		}
		if got, want := a.Equal(b), a.Key() == b.Key(); got != want {
			t.Errorf("%q equals %q = %v, but the keys say %v", a, b, got, want)
		}
	}
}

func TestAncestors(t *testing.T) {
	id := mustParse(t, testSub+"/resourceGroups/g/providers/A.B/t/n/c/m/providers/C.D/e/x/f/y")
	var got []string
	for a := range id.Ancestors() {
		got = append(got, a.String())
	}
	want := []string{
		testSub + "/resourceGroups/g/providers/A.B/t/n/c/m/providers/C.D/e/x/f/y",
		testSub + "/resourceGroups/g/providers/A.B/t/n/c/m/providers/C.D/e/x",
		testSub + "/resourceGroups/g/providers/A.B/t/n/c/m",
		testSub + "/resourceGroups/g/providers/A.B/t/n",
		testSub + "/resourceGroups/g",
		testSub,
		"/",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ancestors (-want +got):\n%s", diff)
	}
	if root := slices.Collect(Root().Ancestors()); len(root) != 1 || !root[0].IsRoot() {
		t.Errorf("the root's ancestors are %v", root)
	}
	for a := range id.Ancestors() {
		if a.Type() == "A.B/t" {
			break // a consumer that stops early must not make the walk panic
		}
	}
}

func TestBuildingIDs(t *testing.T) {
	rg := ResourceGroupScope("s", "g")
	vault := rg.Resource("Microsoft.KeyVault", "vaults", "v")
	for _, tt := range []struct {
		id   ResourceID
		want string
	}{
		{Root(), "/"},
		{SubscriptionScope("s"), "/subscriptions/s"},
		{rg, "/subscriptions/s/resourceGroups/g"},
		{vault, "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v"},
		{vault.Child("secrets", "x"), "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v/secrets/x"},
		{Root().Resource("A.B", "t", "n"), "/providers/A.B/t/n"},
	} {
		if tt.id.String() != tt.want {
			t.Errorf("built %q, want %q", tt.id, tt.want)
		}
		if parsed := mustParse(t, tt.want); !parsed.Equal(tt.id) {
			t.Errorf("%q parses to %q", tt.want, parsed)
		}
	}
	// Two IDs built from one parent must not share the memory of their ends.
	a, b := vault.Child("secrets", "a"), vault.Child("secrets", "b")
	if a.Name() != "a" || b.Name() != "b" {
		t.Errorf("siblings became %q and %q", a, b)
	}
	up := a.Parent()
	c := up.Child("keys", "c")
	if a.Name() != "a" || c.Name() != "c" {
		t.Errorf("building below a parent changed %q (beside %q)", a, c)
	}
}

func TestResourceIDText(t *testing.T) {
	type holder struct {
		ID ResourceID `json:"id"`
	}
	in := holder{mustParse(t, testSub+"/resourceGroups/Rg")}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"` + testSub + `/resourceGroups/Rg"}`; string(b) != want {
		t.Errorf("JSON is %s, want %s", b, want)
	}
	var out holder
	if err := json.Unmarshal(b, &out); err != nil || out.ID.String() != in.ID.String() {
		t.Errorf("JSON gives back %q, %v", out.ID, err)
	}
	kept := out
	if err := json.Unmarshal([]byte(`{"id":"rg"}`), &out); err == nil || !out.ID.Equal(kept.ID) {
		t.Errorf("a bad ID gave %q, %v", out.ID, err)
	}
}
