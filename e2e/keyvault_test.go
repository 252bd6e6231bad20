package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// TestSecrets runs every operation of azsecrets, with its pagers.
func TestSecrets(t *testing.T) {
	vault := newVault(t, newGroup(t))
	ctx := testContext(t)
	// Purging is not among the Secrets Officer's rights on Azure either; its
	// dataActions are secrets/*, which hold it.
	client := secretsClient(vault, operator(t))
	for _, value := range []string{"one", "two", "three"} {
		if _, err := client.SetSecret(ctx, "numbers", azsecrets.SetSecretParameters{
			Value: to.Ptr(value), ContentType: to.Ptr("text/plain"), Tags: map[string]*string{"k": to.Ptr(value)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	latest, err := client.GetSecret(ctx, "Numbers", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *latest.Value != "three" || *latest.ContentType != "text/plain" || *latest.Tags["k"] != "three" {
		t.Fatalf("latest is %q, %q, %q", *latest.Value, *latest.ContentType, *latest.Tags["k"])
	}
	versions := 0
	var oldest string
	for pager := client.NewListSecretPropertiesVersionsPager("numbers", nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Value {
			versions++
			if *v.Tags["k"] == "one" {
				oldest = v.ID.Version()
			}
		}
	}
	if versions != 3 || oldest == "" {
		t.Fatalf("%d versions, the first one is %q", versions, oldest)
	}
	if got, err := client.GetSecret(ctx, "numbers", oldest, nil); err != nil || *got.Value != "one" {
		t.Fatalf("the first version: %v", err)
	}
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	if _, err := client.UpdateSecretProperties(ctx, "numbers", oldest, azsecrets.UpdateSecretPropertiesParameters{
		SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false), Expires: &expires}}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = client.GetSecret(ctx, "numbers", oldest, nil)
	wantAzureError(t, err, http.StatusForbidden, "Forbidden")

	backup, err := client.BackupSecret(ctx, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteSecret(ctx, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	_, err = client.GetSecret(ctx, "numbers", "", nil)
	wantAzureError(t, err, http.StatusNotFound, "SecretNotFound")
	_, err = client.SetSecret(ctx, "numbers", azsecrets.SetSecretParameters{Value: to.Ptr("four")}, nil)
	wantAzureError(t, err, http.StatusConflict, "Conflict")
	if _, err := client.GetDeletedSecret(ctx, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RecoverDeletedSecret(ctx, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := client.GetSecret(ctx, "numbers", "", nil); err != nil || *got.Value != "three" {
		t.Fatalf("after recovery: %v", err)
	}
	if _, err := client.DeleteSecret(ctx, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PurgeDeletedSecret(ctx, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	_, err = client.GetDeletedSecret(ctx, "numbers", nil)
	wantAzureError(t, err, http.StatusNotFound, "SecretNotFound")
	if _, err := client.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: backup.Value}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := client.GetSecret(ctx, "numbers", "", nil); err != nil || *got.Value != "three" {
		t.Fatalf("after restoring: %v", err)
	}
}

// TestSecretPages has more secrets than fit in a page.
func TestSecretPages(t *testing.T) {
	vault := newVault(t, newGroup(t))
	ctx := testContext(t)
	client := secretsClient(vault, operator(t))
	for i := range 30 {
		setSecret(t, vault, "s"+string(rune('a'+i%26))+string(rune('a'+i/26)), "value")
	}
	pages, count := 0, 0
	for pager := client.NewListSecretPropertiesPager(nil); pager.More(); pages++ {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		count += len(page.Value)
	}
	if count != 30 || pages < 2 {
		t.Fatalf("%d secrets on %d pages", count, pages)
	}
}

// TestForeignTokens sends the vault tokens that must not open it, as no SDK
// would: for another service, unsigned, and none at all.
func TestForeignTokens(t *testing.T) {
	vault := newVault(t, newGroup(t))
	setSecret(t, vault, "greeting", "hello")
	url := *vault.Properties.VaultURI + "secrets/greeting?api-version=7.4"
	get := func(authorization string) *http.Response {
		r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		return wantStatus(t, r, http.StatusUnauthorized)
	}
	challenge := get("").Header.Get("WWW-Authenticate")
	if !strings.HasPrefix(challenge, `Bearer authorization="https://`) || !strings.Contains(challenge, `resource="https://`) {
		t.Errorf("the challenge is %q", challenge)
	}
	scope := vaultScope()
	scope.Scopes = []string{world.env.Endpoints.ResourceManager + "/.default"}
	forARM, err := operator(t).GetToken(testContext(t), scope)
	if err != nil {
		t.Fatal(err)
	}
	get("Bearer " + forARM.Token)
	good, err := operator(t).GetToken(testContext(t), vaultScope())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good.Token, ".")
	get("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + parts[1] + ".")
	get("Bearer " + parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])))
	get("Bearer " + world.cluster.sign(t, assertion{subject: "system:serviceaccount:e2e:forger", audience: "https://vault.azure.net"}))
	r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+good.Token)
	wantStatus(t, r, http.StatusOK)
}
