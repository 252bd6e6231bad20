package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/uuid"
)

// graph sends a request to Microsoft Graph as az does: JSON, a bearer token for
// the service's own scope, and the answer read as a document. It gives the
// status, and the document unless the answer has none.
func graph(t *testing.T, as azcore.TokenCredential, method, path string, body any) (int, map[string]any) {
	t.Helper()
	token, err := as.GetToken(testContext(t), policy.TokenRequestOptions{Scopes: []string{world.env.Endpoints.Graph + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(testContext(t), method, world.env.Endpoints.Graph+path, content)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "python/3.11.2 AZURECLI/2.45.0 (DEB)")
	r.Header.Set("x-ms-client-request-id", uuid.NewString())
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) == 0 {
		return response.StatusCode, nil
	}
	var document map[string]any
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, raw)
	}
	return response.StatusCode, document
}

// wantGraph sends a request that must have the status.
func wantGraph(t *testing.T, as azcore.TokenCredential, method, path string, body any, status int) map[string]any {
	t.Helper()
	got, document := graph(t, as, method, path, body)
	if got != status {
		t.Fatalf("%s %s: status %d, want %d: %v", method, path, got, status, document)
	}
	return document
}

// query is a $filter as az writes it: every character that can be is escaped.
func query(path, filter string) string {
	return path + "?$filter=" + strings.ReplaceAll(url.QueryEscape(filter), "+", "%20")
}

// registration is an application that was made through Graph.
type registration struct{ id, appID, principal string }

// newRegistration makes an application and its service principal by the requests
// of "az ad sp create-for-rbac".
func newRegistration(t *testing.T) registration {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + "-" + uuid.NewString()[:8]
	for _, path := range []string{query("/v1.0/servicePrincipals", "displayName eq '"+name+"'"), query("/v1.0/applications", "startswith(displayName,'"+name+"')")} {
		if found := wantGraph(t, operator(t), http.MethodGet, path, nil, http.StatusOK); len(found["value"].([]any)) != 0 {
			t.Fatalf("%s finds %v", path, found)
		}
	}
	app := wantGraph(t, operator(t), http.MethodPost, "/v1.0/applications", map[string]any{"displayName": name, "keyCredentials": []any{}}, http.StatusCreated)
	r := registration{id: app["id"].(string), appID: app["appId"].(string)}
	sp := wantGraph(t, operator(t), http.MethodPost, "/v1.0/servicePrincipals", map[string]any{"appId": r.appID, "accountEnabled": true}, http.StatusCreated)
	r.principal = sp["id"].(string)
	return r
}

// reads checks that a credential signs in as the application and reads the secret
// that its role opens.
func (r registration) reads(t *testing.T, credential azcore.TokenCredential) {
	t.Helper()
	group := newGroup(t)
	vault := newVault(t, group)
	setSecret(t, vault, "greeting", "hello")
	assign(t, *vault.ID, roleSecretsUser, r.principal)
	got, err := secretsClient(vault, credential).GetSecret(testContext(t), "greeting", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Value != "hello" {
		t.Fatalf("got secret %q", *got.Value)
	}
}

// TestGraphSecret: an application that Graph made signs in with the secret that
// Graph gave, until either ends.
func TestGraphSecret(t *testing.T) {
	app := newRegistration(t)
	made := wantGraph(t, operator(t), http.MethodPost, "/v1.0/applications/"+app.id+"/addPassword", map[string]any{"passwordCredential": map[string]any{
		"displayName": "rbac", "startDateTime": time.Now().UTC().Format("2006-01-02T15:04:05Z"),
		"endDateTime": time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z"),
	}}, http.StatusOK)
	signIn := func() azcore.TokenCredential {
		return must(azidentity.NewClientSecretCredential(world.env.TenantID, app.appID, made["secretText"].(string), nil))
	}
	app.reads(t, signIn())

	// An assignee is found by its client ID, and a principal's name by its ID.
	found := wantGraph(t, operator(t), http.MethodGet, query("/v1.0/servicePrincipals", "servicePrincipalNames/any(c:c eq '"+app.appID+"')"), nil, http.StatusOK)
	if list := found["value"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != app.principal {
		t.Errorf("az would find %v", found)
	}
	named := wantGraph(t, operator(t), http.MethodPost, "/v1.0/directoryObjects/getByIds",
		map[string]any{"ids": []string{app.principal}, "types": []string{"user", "group", "servicePrincipal", "directoryObjectPartnerReference"}}, http.StatusOK)
	if list := named["value"].([]any); len(list) != 1 || list[0].(map[string]any)["@odata.type"] != "#microsoft.graph.servicePrincipal" {
		t.Errorf("az would name %v", named)
	}

	wantGraph(t, operator(t), http.MethodPost, "/v1.0/applications/"+app.id+"/removePassword", map[string]any{"keyId": made["keyId"]}, http.StatusNoContent)
	_, err := signIn().GetToken(testContext(t), vaultScope())
	wantEntraError(t, err, "AADSTS7000215")
	wantGraph(t, operator(t), http.MethodDelete, "/v1.0/applications/"+app.id, nil, http.StatusNoContent)
	_, err = signIn().GetToken(testContext(t), vaultScope())
	wantEntraError(t, err, "AADSTS700016")
}

// TestGraphFederatedCredential: the same by a token of a cluster's issuer, with
// WorkloadIdentityCredential and ClientAssertionCredential.
func TestGraphFederatedCredential(t *testing.T) {
	app := newRegistration(t)
	subject := subjectOf(t)
	path := "/v1.0/applications/" + app.id + "/federatedIdentityCredentials"
	wantGraph(t, operator(t), http.MethodPost, path, map[string]any{
		"name": "main", "issuer": world.cluster.url("main"), "subject": subject, "audiences": []string{exchangeAudience},
	}, http.StatusCreated)
	app.reads(t, workloadCredential(t, app.appID, assertion{subject: subject}))
	byAssertion := must(azidentity.NewClientAssertionCredential(world.env.TenantID, app.appID,
		func(context.Context) (string, error) { return world.cluster.sign(t, assertion{subject: subject}), nil }, nil))
	if _, err := byAssertion.GetToken(testContext(t), vaultScope()); err != nil {
		t.Fatal(err)
	}

	wantGraph(t, operator(t), http.MethodPatch, path+"/main", map[string]any{"subject": subject + "-other"}, http.StatusNoContent)
	_, err := workloadCredential(t, app.appID, assertion{subject: subject}).GetToken(testContext(t), vaultScope())
	wantEntraError(t, err, "AADSTS700213")
	wantGraph(t, operator(t), http.MethodDelete, path+"/main", nil, http.StatusNoContent)
	wantGraph(t, operator(t), http.MethodGet, path+"/main", nil, http.StatusNotFound)
	_, err = workloadCredential(t, app.appID, assertion{subject: subject + "-other"}).GetToken(testContext(t), vaultScope())
	wantEntraError(t, err, "AADSTS70025")
}

// TestGraphCertificate: the same by a certificate, with
// ClientCertificateCredential.
func TestGraphCertificate(t *testing.T) {
	app := newRegistration(t)
	certificate, key := clientCertificate(t)
	wantGraph(t, operator(t), http.MethodPatch, "/v1.0/applications/"+app.id, map[string]any{"keyCredentials": []any{map[string]any{
		"type": "AsymmetricX509Cert", "usage": "Verify", "displayName": "CN=client", "key": base64.StdEncoding.EncodeToString(certificate.Raw),
	}}}, http.StatusNoContent)
	signIn := func() azcore.TokenCredential {
		return must(azidentity.NewClientCertificateCredential(world.env.TenantID, app.appID, []*x509.Certificate{certificate}, key, nil))
	}
	app.reads(t, signIn())
	wantGraph(t, operator(t), http.MethodPatch, "/v1.0/applications/"+app.id, map[string]any{"keyCredentials": []any{}}, http.StatusNoContent)
	_, err := signIn().GetToken(testContext(t), vaultScope())
	wantEntraError(t, err, "AADSTS700027")
}

func clientCertificate(t *testing.T) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "anybody"}}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), authority)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// TestGraphEscalation: whoever may do anything but manage access cannot become
// another application, and a token for another service opens nothing here.
func TestGraphEscalation(t *testing.T) {
	app, victim := newRegistration(t), newRegistration(t)
	made := wantGraph(t, operator(t), http.MethodPost, "/v1.0/applications/"+app.id+"/addPassword", map[string]any{}, http.StatusOK)
	contributor := must(azidentity.NewClientSecretCredential(world.env.TenantID, app.appID, made["secretText"].(string), nil))
	assign(t, "", roleContributor, app.principal)
	for _, attack := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/v1.0/applications/" + victim.id + "/addPassword", map[string]any{}},
		{http.MethodPost, "/v1.0/applications/" + app.id + "/addPassword", map[string]any{}}, // nor itself
		{http.MethodPost, "/v1.0/servicePrincipals/" + victim.principal + "/addPassword", map[string]any{}},
		{http.MethodPost, "/v1.0/applications/" + victim.id + "/federatedIdentityCredentials", map[string]any{
			"name": "evil", "issuer": world.cluster.url("other"), "subject": "s", "audiences": []string{exchangeAudience}}},
		{http.MethodPatch, "/v1.0/applications/" + victim.id, map[string]any{"keyCredentials": []any{}}},
		{http.MethodDelete, "/v1.0/applications/" + victim.id, nil},
		{http.MethodPost, "/v1.0/groups", map[string]any{"displayName": "g", "mailEnabled": false, "mailNickname": "g", "securityEnabled": true}},
	} {
		if status, document := graph(t, contributor, attack.method, attack.path, attack.body); status != http.StatusForbidden {
			t.Errorf("%s %s: status %d, want 403: %v", attack.method, attack.path, status, document)
		}
	}
	wantGraph(t, contributor, http.MethodGet, "/v1.0/applications/"+victim.id, nil, http.StatusOK)

	token, err := operator(t).GetToken(testContext(t), policy.TokenRequestOptions{Scopes: []string{world.env.Endpoints.ResourceManager + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, world.env.Endpoints.Graph+"/v1.0/applications", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Token)
	if challenge := wantStatus(t, r, http.StatusUnauthorized).Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer ") {
		t.Errorf("the challenge is %q", challenge)
	}
}
