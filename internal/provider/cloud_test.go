package provider

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

const cloudVersion = "?api-version=2026-09-01"

// mentions gives the store's keys and values that hold a text, operations left
// out, whose records are kept for a day.
func (w *testWorld) mentions(text string) []string {
	w.TB.Helper()
	page, err := w.Store.List(w.TB.Context(), "", store.ListOptions{})
	cloudtest.Must(w.TB, err)
	var found []string
	for _, e := range page.Entries {
		if !strings.HasPrefix(e.Key, "operations/record/") && (strings.Contains(e.Key, text) || bytes.Contains(e.Value, []byte(text))) {
			found = append(found, e.Key)
		}
	}
	return found
}

// deleted deletes as the owner, and waits until the operation has ended.
func (w *testWorld) deleted(url string) {
	w.TB.Helper()
	rec := w.send("owner", http.MethodDelete, url, "")
	if rec.Status != http.StatusAccepted {
		w.TB.Fatalf("DELETE %s: %d %s", url, rec.Status, rec.Body)
	}
	location := strings.TrimPrefix(rec.Header.Get("Location"), w.Azure.ResourceManager())
	w.Eventually("the end of the deletion", func() bool {
		rec := w.send("owner", http.MethodGet, location, "")
		if rec.Status != http.StatusAccepted && rec.Status != http.StatusNoContent {
			w.TB.Fatalf("the deletion ended with %d: %s", rec.Status, rec.Body)
		}
		return rec.Status == http.StatusNoContent
	})
}

// testKeySet is a JWK set of a key that nobody has kept.
func testKeySet(tb testing.TB) string {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	cloudtest.Must(tb, err)
	public, err := token.NewVerificationKey(key.Public())
	cloudtest.Must(tb, err)
	set, err := token.EncodeKeySet([]token.VerificationKey{public})
	cloudtest.Must(tb, err)
	return string(set)
}

const fabrikamID = "5c4a8b62-0000-4111-8222-933344445555"

// fillTenant makes a tenant with much in it.
func (w *testWorld) fillTenant() {
	w.TB.Helper()
	w.put("/providers/Lanyard.Directory/tenants/"+fabrikamID+cloudVersion, `{"properties":{"displayName":"Fabrikam","defaultDomain":"fabrikam.test"}}`)
	w.put("/providers/Lanyard.Directory/trustedIssuers/fabrikam"+cloudVersion,
		`{"properties":{"issuerUrl":"https://kubernetes.invalid","tenantId":"`+fabrikamID+`","jwks":`+testKeySet(w.TB)+`}}`)
	for i := range 30 {
		w.Update(func(tx *store.Tx) error {
			app, principal, err := w.Directory.CreateApplication(tx, fabrikamID, fmt.Sprintf("app%d", i), fmt.Sprintf("api://shop/%d", i))
			if err != nil {
				return err
			}
			if _, _, err := w.Directory.AddSecret(tx, fabrikamID, app.AppID, "one", time.Time{}); err != nil {
				return err
			}
			if _, err := w.Directory.CreateUser(tx, fabrikamID, fmt.Sprintf("user%d@fabrikam.test", i), "User"); err != nil {
				return err
			}
			_, _, err = w.Guard.PutAssignment(tx, rbac.Assignment{
				Name: fmt.Sprintf("30000000-0000-4000-8000-%012d", i), TenantID: fabrikamID, Scope: azure.Root(), RoleDefinitionID: azure.RoleReader,
				PrincipalID: principal.ObjectID, PrincipalType: azure.ServicePrincipal,
			})
			return err
		})
	}
	w.Update(func(tx *store.Tx) error {
		_, _, err := w.Guard.PutDefinition(tx, rbac.RoleDefinition{
			ID: "40000000-0000-4000-8000-000000000001", TenantID: fabrikamID, RoleName: "Own", Custom: true, AssignableScopes: []string{"/providers/Microsoft.Management/managementGroups/" + fabrikamID},
			Permissions: []rbac.Permission{{Actions: []string{"*/read"}}},
		})
		return err
	})
}

// Nothing of a deleted tenant is left in the store.
func TestDeletedTenantLeavesNothing(t *testing.T) {
	w := newWorld(t, false)
	w.fillTenant()
	others := len(w.mentions(otherTenantID))
	w.deleted("/providers/Lanyard.Directory/tenants/" + fabrikamID + cloudVersion)
	if left := w.mentions(fabrikamID); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if got := len(w.mentions(otherTenantID)); got != others || got == 0 {
		t.Errorf("another tenant has %d keys, had %d", got, others)
	}
}

// A deletion that a crash cuts short goes on at the next start.
func TestTenantDeletionResumes(t *testing.T) {
	w := newWorld(t, false)
	w.fillTenant()
	rec := w.send("owner", http.MethodDelete, "/providers/Lanyard.Directory/tenants/"+fabrikamID+cloudVersion, "")
	if rec.Status != http.StatusAccepted {
		t.Fatalf("%d %s", rec.Status, rec.Body)
	}
	w.restart()
	w.Eventually("that nothing is left of the tenant", func() bool { return len(w.mentions(fabrikamID)) == 0 })
}

// Nothing of a deleted subscription is left in the store.
func TestDeletedSubscriptionLeavesNothing(t *testing.T) {
	w := newWorld(t, false)
	made := w.put("/providers/Microsoft.Subscription/aliases/dev?api-version=2021-10-01",
		`{"properties":{"displayName":"Dev","additionalProperties":{"tags":{"a":"b"}}}}`)
	id := made["properties"].(map[string]any)["subscriptionId"].(string)
	scope := azure.SubscriptionScope(id)
	for i := range 2*rbac.MaxDeleteBelow + 3 {
		w.Assign(fmt.Sprint("somebody", i), azure.RoleReader, scope)
	}
	post := func(path string) {
		t.Helper()
		w.decode(w.send("owner", http.MethodPost, scope.String()+path, ""), http.StatusOK)
	}
	post("/providers/Microsoft.KeyVault/unregister?api-version=2021-04-01")
	post("/providers/Microsoft.Features/providers/Microsoft.ContainerService/features/One/register?api-version=2021-07-01")
	for i := range 20 {
		w.put(fmt.Sprintf("/providers/Microsoft.Subscription/aliases/dev%d?api-version=2021-10-01", i), `{"properties":{"subscriptionId":"`+id+`"}}`)
	}
	post("/providers/Microsoft.Subscription/cancel?api-version=2021-10-01")
	w.deleted(scope.String() + "?api-version=2022-12-01")
	if left := w.mentions(id); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, ok := w.Directory.Subscription(id); ok {
		t.Error("the directory knows it")
	}
}

func TestSigningKeys(t *testing.T) {
	w := newWorld(t, false)
	const url = "/providers/Lanyard.Directory/signingKeys" + cloudVersion
	states := func() (list []string) {
		t.Helper()
		for _, item := range w.get(url)["value"].([]any) {
			list = append(list, item.(map[string]any)["properties"].(map[string]any)["state"].(string))
		}
		return list
	}
	if got := fmt.Sprint(states()); got != "[Signing]" {
		t.Errorf("at first: %s", got)
	}
	for _, bad := range []string{`{"leadTimeSeconds":-1}`, `{"leadTimeSeconds":2592001}`, `{"leadTimeSeconds":"1h"}`, `{"leadTimeSeconds":1e30}`} {
		if rec := w.send("owner", http.MethodPost, url, bad); rec.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, rec.Status, rec.Body)
		}
	}
	made := w.decode(w.send("owner", http.MethodPost, url, `{"leadTimeSeconds":3600}`), http.StatusCreated)
	if got := made["properties"].(map[string]any)["signsFrom"]; got != standin.Start.Add(time.Hour).Format(time.RFC3339) {
		t.Errorf("the new key signs from %v", got)
	}
	if got := fmt.Sprint(states()); got != "[Published Signing]" {
		t.Errorf("after rotating: %s", got)
	}
	if rec := w.send("owner", http.MethodPost, url, ""); rec.Status != http.StatusConflict || !strings.Contains(rec.Body, "RotationUnderWay") {
		t.Errorf("rotating meanwhile: %d %s", rec.Status, rec.Body)
	}
	w.Clock.Advance(time.Hour)
	if got := fmt.Sprint(states()); got != "[Signing Replaced]" {
		t.Errorf("when its time has come: %s", got)
	}
	if body := w.send("owner", http.MethodGet, url, "").Body; strings.Contains(strings.ToLower(body), "private") {
		t.Errorf("the list tells more than it should: %s", body)
	}
	// Without a body the lead is a day.
	made = w.decode(w.send("owner", http.MethodPost, url, ""), http.StatusCreated)
	if got := made["properties"].(map[string]any)["signsFrom"]; got != standin.Start.Add(25*time.Hour).Format(time.RFC3339) {
		t.Errorf("by default the new key signs from %v", got)
	}
}

func TestSealingKeys(t *testing.T) {
	w := newWorld(t, false)
	first, second := cloudtest.SealingKey(), bytes.Repeat([]byte{8}, 32)
	show := func() string {
		t.Helper()
		text := ""
		for _, item := range w.get("/providers/Lanyard.Directory/sealingKeys" + cloudVersion)["value"].([]any) {
			doc := item.(map[string]any)
			p, err := json.Marshal(doc["properties"])
			cloudtest.Must(t, err)
			name := strings.NewReplacer(store.SealingKeyID(first), "first", store.SealingKeyID(second), "second").Replace(doc["name"].(string))
			text += name + string(p)
		}
		return text
	}
	if got := show(); got != `first{"opens":true,"seals":true,"values":1}` {
		t.Errorf("one key: %s", got)
	}
	cloudtest.Must(t, w.Store.ReplaceKeys(second, first))
	if got := show(); got != `second{"opens":true,"seals":true,"values":0}first{"opens":true,"seals":false,"values":1}` {
		t.Errorf("two keys: %s", got)
	}
	cloudtest.Must(t, w.Store.ReplaceKeys(second))
	if got := show(); got != `second{"opens":true,"seals":true,"values":0}first{"opens":false,"seals":false,"values":1}` {
		t.Errorf("the old one dropped too early: %s", got)
	}
}

func TestBackup(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), `{"location":"westeurope"}`)
	rec := w.send("owner", http.MethodPost, "/providers/Lanyard.Directory/backups"+cloudVersion, "")
	if rec.Status != http.StatusOK || rec.Header.Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("%d %v", rec.Status, rec.Header)
	}
	ring, err := store.NewKeyring(cloudtest.SealingKey())
	cloudtest.Must(t, err)
	keys := map[string]bool{}
	_, err = store.ReadBackup(strings.NewReader(rec.Body), ring, func(key string, _ []byte) error { keys[key] = true; return nil })
	if err != nil || !keys[arm.Key(tenantID, azure.ResourceGroupScope(subscriptionID, "rg"))] {
		t.Errorf("a backup of %d keys: %v", len(keys), err)
	}
}
