package provider

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
)

// Secrets are not kept: neither in the store nor in any answer, wherever in the
// properties they are and however they are spelled.
func TestSecretsAreNotKept(t *testing.T) {
	const secret = "correct-horse-9"
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	url := strings.Replace(identityURL("rg", "vm"), "Microsoft.ManagedIdentity/userAssignedIdentities", "Microsoft.Compute/virtualMachines", 1)
	body := `{"location":"westeurope","properties":` + strings.ReplaceAll(`{
		"osProfile":{"adminPassword":"S","ADMINPASSWORD":"S","customData":"S","adminUsername":"me",
			"windowsConfiguration":{"AdditionalUnattendContent":[{"settingName":"AutoLogon","Content":"S"},null,"x"]}},
		"userData":"S",
		"list":[[{"protectedSettings":{"key":"S"},"kept":[1,null,{"deep":{"UserData":["S"]}}]}]]
	}`, `"S"`, `"`+secret+`"`) + `}`
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		rec := w.send("owner", method, url, body)
		if rec.Status >= http.StatusBadRequest || strings.Contains(rec.Body, secret) {
			t.Fatalf("%s: %d %s", method, rec.Status, rec.Body)
		}
	}
	kept := w.get(url)["properties"].(map[string]any)
	delete(kept, "vmId")
	want := map[string]any{}
	cloudtest.Must(t, json.Unmarshal([]byte(`{
		"provisioningState":"Succeeded",
		"osProfile":{"adminUsername":"me","windowsConfiguration":{"AdditionalUnattendContent":[{"settingName":"AutoLogon"},null,"x"]}},
		"list":[[{"kept":[1,null,{"deep":{}}]}]]
	}`), &want))
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	entry, err := w.Store.Get(t.Context(), "arm/subscriptions/"+subscriptionID+"/resourcegroups/rg/providers/microsoft.compute/virtualmachines/vm")
	cloudtest.Must(t, err)
	if strings.Contains(string(entry.Value), secret) {
		t.Errorf("the store has %s", entry.Value)
	}
}

// What the service says of a resource stays the same for its life, whatever a
// client writes.
func TestGUIDsStay(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	url := strings.Replace(identityURL("rg", "vm"), "Microsoft.ManagedIdentity/userAssignedIdentities", "Microsoft.Compute/virtualMachines", 1)
	guid := func(doc map[string]any) any { return doc["properties"].(map[string]any)["vmId"] }
	first := guid(w.put(url, groupBody))
	for _, body := range []string{groupBody, `{"location":"westeurope","properties":{"vmId":"mine"}}`, `{"location":"westeurope","properties":{"VMID":null,"vmId":7}}`} {
		for _, method := range []string{http.MethodPut, http.MethodPatch} {
			doc := w.decode(w.send("owner", method, url, body), http.StatusOK)
			if got := guid(doc); got != first || len(doc["properties"].(map[string]any)) != 2 {
				t.Errorf("%s %s: %v, want vmId %v", method, body, doc["properties"], first)
			}
		}
	}
	w.send("owner", http.MethodDelete, url, "")
	if again := guid(w.put(url, groupBody)); again == first {
		t.Error("a new resource has an old one's vmId")
	}
}
