package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/token"
)

// A token for any audience that the discovery documents name opens the Resource
// Manager, with or without the slash.
func TestMetadataAudiencesWork(t *testing.T) {
	w := newWorld(t, false)
	doc := w.decode(w.send("", http.MethodGet, "/metadata/endpoints?api-version=2022-09-01", ""), http.StatusOK)
	verifier := token.NewVerifier(w.Keys, w.Azure, w.Azure.Service(azure.ServiceResourceManager), w.Clock.Now)
	auth, _ := doc["authentication"].(map[string]any)
	list, _ := auth["audiences"].([]any)
	if len(list) == 0 {
		t.Fatal("no audiences")
	}
	for _, audience := range list {
		for _, form := range []string{audience.(string), strings.TrimSuffix(audience.(string), "/")} {
			if _, err := verifier.Verify(w.Token("owner", func(c *token.Claims) { c.Audience = form })); err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
	}
	if auth["loginEndpoint"] != w.Azure.ActiveDirectory() || doc["resourceManager"] != w.Azure.ResourceManager()+"/" {
		t.Errorf("the endpoints are %v and %v", auth["loginEndpoint"], doc["resourceManager"])
	}
}

// The Resource Manager's address in the document is the one that the client
// used.
func TestMetadataNamesTheHost(t *testing.T) {
	w := newWorld(t, false)
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://management.azure.com/metadata/endpoints?api-version=2022-09-01", nil)
	doc := w.decode(w.serve(req), http.StatusOK)
	if doc["resourceManager"] != "https://management.azure.com/" {
		t.Errorf("the document names %v", doc["resourceManager"])
	}
}

// The list of providers is that of the table, all registered, with versions
// that work.
func TestProvidersList(t *testing.T) {
	w := newWorld(t, false)
	doc := w.get("/subscriptions/" + subscriptionID + "/providers?api-version=2022-09-01&$expand=metadata")
	var got []string
	for _, item := range doc["value"].([]any) {
		p := item.(map[string]any)
		got = append(got, p["namespace"].(string))
		if p["registrationState"] != arm.Registered {
			t.Errorf("%s is %s", p["namespace"], p["registrationState"])
		}
	}
	if want := namespaces(Types(Config{})); !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if tenant := w.get("/providers?api-version=2022-09-01"); len(tenant["value"].([]any)) != len(got) {
		t.Errorf("the tenant has %d providers", len(tenant["value"].([]any)))
	}
}

func TestLocationsList(t *testing.T) {
	w := newWorld(t, false)
	doc := w.get("/subscriptions/" + subscriptionID + "/locations?api-version=2022-12-01")
	found := false
	for _, item := range doc["value"].([]any) {
		text, err := json.Marshal(item)
		cloudtest.Must(t, err)
		var l location
		cloudtest.Must(t, json.Unmarshal(text, &l))
		if l.Name == "westeurope" {
			found = true
			if l.RegionalDisplayName != "(Europe) West Europe" || l.Metadata.RegionType != "Physical" ||
				l.Metadata.PhysicalLocation != "Netherlands" || l.Metadata.PairedRegion[0].Name != "northeurope" {
				t.Errorf("West Europe is %s", text)
			}
		}
	}
	if !found {
		t.Error("West Europe isn't listed")
	}
}

func TestResourceFilter(t *testing.T) {
	env := arm.Envelope{
		ID:   "/subscriptions/" + subscriptionID + "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/it's",
		Name: "it's", Type: "Microsoft.KeyVault/vaults", Location: "westeurope", Tags: map[string]string{"a": "1", "b": "2"},
	}
	tests := []struct {
		filter string
		want   bool
	}{
		{"name eq 'it''s'", true},
		{"NAME EQ 'IT''S'", true},
		{"name eq 'its'", false},
		{"name ne 'its'", true},
		{"resourceType eq 'microsoft.keyvault/VAULTS' and resourceGroup eq 'RG'", true},
		{"name eq 'x' or name eq 'it''s' and location eq 'eastus'", false},
		{"(name eq 'x' or name eq 'it''s') and not location eq 'eastus'", true},
		{"tagName eq 'a' and tagValue eq '1'", true},
		{"tagName eq 'a' and tagValue eq '2'", false},
		{"startswith(tagName,'B')", true},
		{"substringof('t''', name)", true},
	}
	for _, tt := range tests {
		match, err := parseResourceFilter(tt.filter, resourceFields)
		if err != nil {
			t.Errorf("%s: %v", tt.filter, err)
			continue
		}
		if got := match(env); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.filter, got, tt.want)
		}
	}
}

func FuzzResourceFilter(f *testing.F) {
	for _, seed := range []string{"", "name eq 'x'", "((((", "not not not name eq 'a'", "substringof('x', name", "name eq '''", strings.Repeat("(", 10000), strings.Repeat("not ", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		match, err := parseResourceFilter(filter, resourceFields)
		if err != nil {
			if known, ok := errors.AsType[*azure.Error](err); !ok || known.Status != http.StatusBadRequest {
				t.Fatalf("%q: %v", filter, err)
			}
			return
		}
		match(arm.Envelope{Tags: map[string]string{"a": "b"}})
		match(arm.Envelope{})
	})
}

// A caller without any role sees no subscription, and one with a role on a
// single resource sees the subscription and that resource.
func TestWhatARoleOnOneResourceShows(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	w.put(identityURL("rg", "one"), groupBody)
	w.put(identityURL("rg", "two"), groupBody)
	id, err := azure.ParseResourceID(strings.Split(identityURL("rg", "one"), "?")[0])
	cloudtest.Must(t, err)
	w.Assign("guest", azure.RoleReader, id)
	for url, want := range map[string]int{
		"/subscriptions?api-version=2022-12-01":                                                                                             1,
		"/subscriptions/" + subscriptionID + "/resources?api-version=2021-04-01":                                                            1,
		"/subscriptions/" + subscriptionID + "/resourceGroups?api-version=2021-04-01":                                                       0,
		"/subscriptions/" + subscriptionID + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities?api-version=2023-01-31":           1,
		fmt.Sprintf("/subscriptions/%s/resources?api-version=2021-04-01&$filter=%s", subscriptionID, "name%20eq%20'two'"):                   0,
		fmt.Sprintf("/subscriptions/%s/resourceGroups/rg/resources?api-version=2021-04-01&$filter=%s", subscriptionID, "name%20eq%20'one'"): 1,
	} {
		doc := w.decode(w.send("guest", http.MethodGet, url, ""), http.StatusOK)
		if got := len(doc["value"].([]any)); got != want {
			t.Errorf("%s shows %d, want %d", url, got, want)
		}
	}
}
