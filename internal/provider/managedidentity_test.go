package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

const groupBody = `{"location":"westeurope"}`

func credentialURL(group, identity, name string) string {
	return strings.Replace(identityURL(group, identity), "?", "/federatedIdentityCredentials/"+name+"?", 1)
}

func credentialBody(subject string) string {
	return fmt.Sprintf(`{"properties":{"issuer":"https://issuer.test","subject":%q,"audiences":["api://AzureADTokenExchange"]}}`, subject)
}

// identityIDs gives an identity's principal and client ID.
func identityIDs(doc map[string]any) (principal, client string) {
	p := doc["properties"].(map[string]any)
	return p["principalId"].(string), p["clientId"].(string)
}

// An identity's principal is in the directory from the answer on, with its
// credentials, and gone with the identity.
func TestIdentityIsAPrincipal(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	objectID, clientID := identityIDs(w.put(identityURL("rg", "app"), groupBody))
	w.put(credentialURL("rg", "app", "fic"), credentialBody("s"))
	client, ok := w.Directory.Client(tenantID, clientID)
	if !ok || client.Principal.ObjectID != objectID || client.Principal.ServicePrincipalType != directory.ManagedIdentityPrincipal {
		t.Fatalf("the directory has %+v, %t", client, ok)
	}
	if len(client.FederatedCredentials) != 1 || client.FederatedCredentials[0].Subject != "s" {
		t.Errorf("the credentials are %+v", client.FederatedCredentials)
	}
	if rec := w.send("owner", http.MethodDelete, identityURL("rg", "app"), ""); rec.Status != http.StatusOK {
		t.Fatalf("deleting: %d %s", rec.Status, rec.Body)
	}
	if client, ok := w.Directory.Client(tenantID, clientID); ok {
		t.Errorf("the directory still has %+v", client)
	}
	objectID2, clientID2 := identityIDs(w.put(identityURL("rg", "app"), groupBody))
	if objectID2 == objectID || clientID2 == clientID {
		t.Error("a new identity has an old one's IDs")
	}
	if client, _ := w.Directory.Client(tenantID, clientID2); len(client.FederatedCredentials) != 0 {
		t.Errorf("a new identity has credentials: %+v", client.FederatedCredentials)
	}
}

func TestCredentialLimit(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	w.put(identityURL("rg", "app"), groupBody)
	for i := range 20 {
		w.put(credentialURL("rg", "app", fmt.Sprintf("fic-%d", i)), credentialBody(fmt.Sprint(i)))
	}
	rec := w.send("owner", http.MethodPut, credentialURL("rg", "app", "fic-20"), credentialBody("20"))
	if rec.Status != http.StatusBadRequest || !strings.Contains(rec.Body, "maximum number") {
		t.Errorf("the 21st: %d %s", rec.Status, rec.Body)
	}
	w.put(credentialURL("rg", "app", "fic-7"), credentialBody("changed")) // one that is there may change
}

// Of credentials written at once under one identity, as on Azure, those that
// lose get the 409 that tells automation to write them one after another; those
// that were accepted are all there.
func TestConcurrentCredentials(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	w.put(identityURL("rg", "app"), groupBody)
	const writers = 12
	var wg sync.WaitGroup
	codes := make([]int, writers)
	for i := range writers {
		wg.Go(func() {
			rec := w.send("owner", http.MethodPut, credentialURL("rg", "app", fmt.Sprintf("fic-%d", i)), credentialBody(fmt.Sprint(i)))
			codes[i] = rec.Status
			if rec.Status == http.StatusConflict {
				code := rec.Header.Get("x-ms-error-code")
				if code != "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity" {
					t.Errorf("the conflict is %s", rec.Body)
				}
			} else if rec.Status != http.StatusCreated {
				t.Errorf("answered %d %s", rec.Status, rec.Body)
			}
		})
	}
	wg.Wait()
	accepted := 0
	for i, code := range codes {
		got := w.send("owner", http.MethodGet, credentialURL("rg", "app", fmt.Sprintf("fic-%d", i)), "")
		if (got.Status == http.StatusOK) != (code == http.StatusCreated) {
			t.Errorf("credential %d was answered %d and is read with %d", i, code, got.Status)
		}
		if code == http.StatusCreated {
			accepted++
		}
	}
	if accepted == 0 {
		t.Error("none was accepted")
	}
}

// Deleting a group deletes its identities' principals, and goes on doing so
// after a restart in the middle.
func TestGroupTakesItsPrincipals(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	var clients []string
	for i := range 40 {
		name := fmt.Sprintf("app-%02d", i)
		_, client := identityIDs(w.put(identityURL("rg", name), groupBody))
		w.put(credentialURL("rg", name, "fic"), credentialBody("s"))
		clients = append(clients, client)
	}
	rec := w.send("owner", http.MethodDelete, groupURL("rg"), "")
	if rec.Status != http.StatusAccepted {
		t.Fatalf("deleting: %d %s", rec.Status, rec.Body)
	}
	location := strings.TrimPrefix(rec.Header.Get("Location"), w.Azure.ResourceManager())
	w.restart()
	w.Eventually("the deletion", func() bool {
		return w.send("owner", http.MethodGet, location, "").Status == http.StatusOK
	})
	for _, client := range clients {
		if _, ok := w.Directory.Client(tenantID, client); ok {
			t.Errorf("the directory still has %s", client)
		}
	}
	for _, prefix := range []string{"arm/", "operations/pending/"} {
		page, err := w.Store.List(t.Context(), prefix, store.ListOptions{KeysOnly: true})
		cloudtest.Must(t, err)
		if len(page.Entries) != 0 {
			t.Errorf("%d keys are left under %s", len(page.Entries), prefix)
		}
	}
}

// What is stored for an identity can be decoded by who follows its key.
func TestIdentityKey(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), groupBody)
	w.put(identityURL("rg", "App"), groupBody)
	_, err := w.Store.Get(t.Context(), "arm/subscriptions/"+subscriptionID+"/resourcegroups/rg/providers/microsoft.managedidentity/userassignedidentities/app")
	if errors.Is(err, store.ErrNotFound) {
		t.Error("the key isn't the folded ID")
	}
}
