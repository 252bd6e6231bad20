package e2e

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lanyard-id/lanyard/e2e/environment"
)

// keyCredential is a certificate as az registers it.
func keyCredential(certificate *x509.Certificate) map[string]any {
	return map[string]any{
		"type": "AsymmetricX509Cert", "usage": "Verify", "displayName": certificate.Subject.String(),
		"key": base64.StdEncoding.EncodeToString(certificate.Raw),
	}
}

// certificateFile writes certificate and key as one file of PEM, which is what
// AZURE_CLIENT_CERTIFICATE_PATH names.
func certificateFile(t *testing.T, certificate *x509.Certificate, key *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, block := range []*pem.Block{{Type: "PRIVATE KEY", Bytes: der}, {Type: "CERTIFICATE", Bytes: certificate.Raw}} {
		if err := pem.Encode(&text, block); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "client.pem")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestClientCertificateCredential: two certificates at a time, so that one can
// take the other's place; with the chain and without; and never with a key that
// the application did not register.
func TestClientCertificateCredential(t *testing.T) {
	app, other := newRegistration(t), newRegistration(t)
	oldCertificate, oldKey := clientCertificate(t)
	newCertificate, newKey := clientCertificate(t)
	otherCertificate, otherKey := clientCertificate(t)
	path := "/v1.0/applications/" + app.id
	wantGraph(t, operator(t), http.MethodPatch, "/v1.0/applications/"+other.id,
		map[string]any{"keyCredentials": []any{keyCredential(otherCertificate)}}, http.StatusNoContent)
	wantGraph(t, operator(t), http.MethodPatch, path, map[string]any{"keyCredentials": []any{keyCredential(oldCertificate)}}, http.StatusNoContent)

	signIn := func(certificate *x509.Certificate, key *rsa.PrivateKey, options *azidentity.ClientCertificateCredentialOptions) error {
		t.Helper()
		credential := must(azidentity.NewClientCertificateCredential(world.env.TenantID, app.appID, []*x509.Certificate{certificate}, key, options))
		_, err := credential.GetToken(testContext(t), vaultScope())
		return err
	}
	wantSignIn := func(step string, certificate *x509.Certificate, key *rsa.PrivateKey) {
		t.Helper()
		for _, options := range []*azidentity.ClientCertificateCredentialOptions{nil, {SendCertificateChain: true}} {
			if err := signIn(certificate, key, options); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
	}
	wantSignIn("the first", oldCertificate, oldKey)
	wantEntraError(t, signIn(newCertificate, newKey, nil), "AADSTS700027")
	// Neither another application's certificate, nor one that is only sent along,
	// nor the registered one with a key that is not its own.
	wantEntraError(t, signIn(otherCertificate, otherKey, nil), "AADSTS700027")
	wantEntraError(t, signIn(newCertificate, newKey, &azidentity.ClientCertificateCredentialOptions{SendCertificateChain: true}), "AADSTS700027")

	listed := wantGraph(t, operator(t), http.MethodGet, path, nil, http.StatusOK)["keyCredentials"].([]any)
	wantGraph(t, operator(t), http.MethodPatch, path,
		map[string]any{"keyCredentials": append(slices.Clone(listed), keyCredential(newCertificate))}, http.StatusNoContent)
	wantSignIn("both, the first", oldCertificate, oldKey)
	wantSignIn("both, the second", newCertificate, newKey)

	listed = wantGraph(t, operator(t), http.MethodGet, path, nil, http.StatusOK)["keyCredentials"].([]any)
	wantGraph(t, operator(t), http.MethodPatch, path, map[string]any{"keyCredentials": listed[1:]}, http.StatusNoContent)
	wantSignIn("the second", newCertificate, newKey)
	wantEntraError(t, signIn(oldCertificate, oldKey, nil), "AADSTS700027")

	wantGraph(t, operator(t), http.MethodPatch, "/v1.0/servicePrincipals/"+app.principal, map[string]any{"accountEnabled": false}, http.StatusNoContent)
	wantEntraError(t, signIn(newCertificate, newKey, nil), "AADSTS7000112")
}

// TestCertificateOfEnvironment: DefaultAzureCredential takes a certificate from
// the environment, in each language that asks nobody but the cloud.
func TestCertificateOfEnvironment(t *testing.T) {
	for _, l := range languages {
		if l.asksMicrosoft {
			continue // TestCertificateOfOldMSAL has it
		}
		t.Run(l.name, func(t *testing.T) {
			l.available(t)
			app := newRegistration(t)
			certificate, key := clientCertificate(t)
			wantGraph(t, operator(t), http.MethodPatch, "/v1.0/applications/"+app.id,
				map[string]any{"keyCredentials": []any{keyCredential(certificate)}}, http.StatusNoContent)
			group := newGroup(t)
			vault := newVault(t, group)
			setSecret(t, vault, "greeting", "hello")
			assign(t, *vault.ID, roleSecretsUser, app.principal)
			as := func(file string) (string, error) {
				return l.readSecret(t, vault, "default", "AZURE_CLIENT_ID="+app.appID, "AZURE_CLIENT_CERTIFICATE_PATH="+file)
			}
			if got, err := as(certificateFile(t, certificate, key)); err != nil || got != "hello" {
				t.Errorf("%v\n%s", err, got)
			}
			strange, strangeKey := clientCertificate(t)
			if got, err := as(certificateFile(t, strange, strangeKey)); err == nil || !strings.Contains(got, "700027") {
				t.Errorf("a certificate that nobody registered: %v\n%s", err, got)
			}
		})
	}
}

// TestCertificateOfOldMSAL is the same with MSAL 1.21 for Python, which signs
// with RS256, names the certificate by its SHA-1 thumbprint in padded base64url,
// dates with fractions of a second, and asks login.microsoftonline.com for the
// authority's aliases.
func TestCertificateOfOldMSAL(t *testing.T) {
	run, envFile := oldMSAL(t)
	env, err := environment.Read(envFile)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := clientCertificate(t)
	run(`
import os, sys, requests
from azure.identity import CertificateCredential, ClientSecretCredential
graph, file, key = sys.argv[1:]
tenant = os.environ["AZURE_TENANT_ID"]
operator = ClientSecretCredential(tenant, os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"])
session = requests.Session()
session.headers["Authorization"] = "Bearer " + operator.get_token(graph + "/.default").token

def post(path, body):
    answer = session.post(graph + "/v1.0" + path, json=body)
    answer.raise_for_status()
    return answer.json()

app = post("/applications", {"displayName": "python", "keyCredentials": [
    {"type": "AsymmetricX509Cert", "usage": "Verify", "key": key}]})
post("/servicePrincipals", {"appId": app["appId"]})
for chain in (False, True):
    credential = CertificateCredential(tenant, app["appId"], certificate_path=file, send_certificate_chain=chain)
    print(len(credential.get_token("https://vault.azure.net/.default").token))`,
		env.Endpoints.Graph, certificateFile(t, certificate, key), base64.StdEncoding.EncodeToString(certificate.Raw))
}

// TestFlexibleFederatedCredential: one credential with an expression stands for
// the service accounts of a namespace, for an application by Graph's beta and for
// a managed identity by Resource Manager's preview.
func TestFlexibleFederatedCredential(t *testing.T) {
	const account = "system:serviceaccount:flexible:"
	body := func(expression string) map[string]any {
		return map[string]any{
			"issuer": world.cluster.url("main"), "audiences": []string{exchangeAudience},
			"claimsMatchingExpression": map[string]any{"value": expression, "languageVersion": 1},
		}
	}
	expression := "claims['sub'] matches '" + account + "job-*'"
	check := func(clientID string) {
		t.Helper()
		for _, subject := range []string{account + "job-1", account + "job-nightly"} {
			if _, err := workloadCredential(t, clientID, assertion{subject: subject}).GetToken(testContext(t), vaultScope()); err != nil {
				t.Errorf("%s: %v", subject, err)
			}
		}
		for _, a := range []struct {
			assertion assertion
			number    string
		}{
			{assertion{subject: account + "web"}, "AADSTS7002131"},
			{assertion{subject: strings.ToUpper(account + "job-1")}, "AADSTS7002131"},
			{assertion{subject: account + "job-1", audience: "https://kubernetes.default.svc"}, "AADSTS700212"},
			{assertion{subject: account + "job-1", cluster: "other"}, "AADSTS700211"},
			{assertion{subject: account + "job-1", cluster: "other", issuer: world.cluster.url("main")}, "AADSTS7000272"},
		} {
			_, err := workloadCredential(t, clientID, a.assertion).GetToken(testContext(t), vaultScope())
			wantEntraError(t, err, a.number)
		}
	}

	app := newRegistration(t)
	path := "/beta/applications/" + app.id + "/federatedIdentityCredentials"
	for _, wrong := range []string{"sub eq '" + account + "'", "claims['sub'] matches '*'"} {
		b := body(wrong)
		b["name"] = "jobs"
		refused := wantGraph(t, operator(t), http.MethodPost, path, b, http.StatusBadRequest)
		e, _ := refused["error"].(map[string]any)
		if text, _ := e["message"].(string); e["code"] != "InvalidFederatedIdentityCredentialValue" || !strings.Contains(text, "ClaimsMatchingExpression.Value is invalid") {
			t.Errorf("%s: %v", wrong, refused)
		}
	}
	b := body(expression)
	b["name"] = "jobs"
	wantGraph(t, operator(t), http.MethodPost, path, b, http.StatusCreated)
	check(app.appID)

	group := newGroup(t)
	jobs := newIdentity(t, group, "jobs")
	trustByExpression(t, *jobs.ID, body(expression))
	check(*jobs.Properties.ClientID)
}

// trustByExpression gives an identity a flexible credential, by the api-version
// that has such; the SDK's is older.
func trustByExpression(t *testing.T, identityID string, properties map[string]any) {
	t.Helper()
	token, err := operator(t).GetToken(testContext(t), policy.TokenRequestOptions{Scopes: []string{world.env.Endpoints.ResourceManager + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]any{"properties": properties})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(testContext(t), http.MethodPut, world.env.Endpoints.ResourceManager+identityID+
		"/federatedIdentityCredentials/jobs?api-version=2025-01-31-preview", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Token)
	r.Header.Set("Content-Type", "application/json")
	wantStatus(t, r, http.StatusCreated)
}
