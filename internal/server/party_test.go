package server

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// party is one who uses a cloud: the operator of a tenant, with a token for each
// service.
type party struct {
	t      *testing.T
	client *http.Client
	env    Environment
}

func (r *running) party(t *testing.T) *party {
	t.Helper()
	return &party{t: t, client: r.client(t), env: r.Env()}
}

// answer is what came back: the document, or the text of something else.
type answer struct {
	status int
	header http.Header
	doc    map[string]any
	text   string
}

// code gives the error code of the Resource Manager's, Key Vault's and Graph's
// documents, and of the token service's.
func (a answer) code() string {
	if e, ok := a.doc["error"].(map[string]any); ok {
		return fmt.Sprint(e["code"])
	}
	return fmt.Sprint(a.doc["error"])
}

// at walks the members of the document.
func (a answer) at(path ...string) any {
	var v any = a.doc
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func (a answer) get(path ...string) string { s, _ := a.at(path...).(string); return s }

func (p *party) do(req *http.Request) answer {
	p.t.Helper()
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(body)}
	_ = json.Unmarshal(body, &a.doc) // the text is kept for what is no document
	return a
}

// sign asks for a token at a tenant's endpoint.
func (p *party) sign(tenant string, form url.Values) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost,
		p.env.Endpoints.ActiveDirectory+"/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.do(req)
}

// bearer is the party's token for a resource.
func (p *party) bearer(resource string) string {
	p.t.Helper()
	a := p.sign(p.env.TenantID, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {p.env.Bootstrap.ClientID}, "client_secret": {p.env.Bootstrap.ClientSecret},
		"scope": {resource + "/.default"},
	})
	raw := a.get("access_token")
	if raw == "" {
		p.t.Fatalf("a token for %s: %d %s", resource, a.status, a.text)
	}
	return raw
}

// send sends a request with a token, or none, and a JSON body, or none.
func (p *party) send(bearer, method, address, body string) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return p.do(req)
}

// arm asks the Resource Manager.
func (p *party) arm(method, path, body string) answer {
	p.t.Helper()
	return p.send(p.bearer(p.env.Endpoints.ResourceManager), method, p.env.Endpoints.ResourceManager+path, body)
}

// must asks the Resource Manager for what must succeed.
func (p *party) must(method, path, body string) answer {
	p.t.Helper()
	a := p.arm(method, path, body)
	if a.status >= http.StatusMultipleChoices {
		p.t.Fatalf("%s %s: %d %s", method, path, a.status, a.text)
	}
	return a
}

// vault asks a vault for its secrets.
func (p *party) vault(name, method, path, body string) answer {
	p.t.Helper()
	return p.send(p.bearer("https://vault.azure.net"), method, p.vaultURL(name)+path, body)
}

func (p *party) vaultURL(name string) string {
	return "https://" + name + "." + p.env.Endpoints.VaultSuffix
}

// tenant makes a tenant with a subscription, and gives the party of its operator.
func (p *party) tenant(name string) *party {
	p.t.Helper()
	made := p.must(http.MethodPut, "/providers/Lanyard.Directory/tenants/"+uuid.NewString()+"?api-version=2026-09-01",
		`{"properties":{"displayName":"`+name+`"}}`)
	b := &party{t: p.t, client: p.client, env: p.env}
	b.env.TenantID = made.get("properties", "tenantId")
	b.env.Bootstrap = Bootstrap{
		ClientID:     made.get("properties", "bootstrap", "clientId"),
		ClientSecret: made.get("properties", "bootstrap", "clientSecret"),
		ObjectID:     made.get("properties", "bootstrap", "objectId"),
	}
	alias := b.must(http.MethodPut, "/providers/Microsoft.Subscription/aliases/main?api-version=2021-10-01", `{"properties":{"displayName":"Main"}}`)
	b.env.SubscriptionID = alias.get("properties", "subscriptionId")
	return b
}

func (p *party) scope() string { return "/subscriptions/" + p.env.SubscriptionID }

const (
	groupVersion    = "?api-version=2021-04-01"
	identityVersion = "?api-version=2023-01-31"
	vaultVersion    = "?api-version=2023-07-01"
	roleVersion     = "?api-version=2022-04-01"
	secretVersion   = "?api-version=7.5"
	officer         = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7" // Key Vault Secrets Officer
)

// furnish makes a group, an identity, a vault and a secret in it, all but the
// vault with the same names for everyone, and gives the identity's client ID.
func (p *party) furnish(vault, secret string) (identity answer) {
	p.t.Helper()
	group := p.scope() + "/resourceGroups/shop"
	p.must(http.MethodPut, group+groupVersion, `{"location":"westeurope"}`)
	identity = p.must(http.MethodPut, group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders"+identityVersion, `{"location":"westeurope"}`)
	p.must(http.MethodPut, group+"/providers/Microsoft.KeyVault/vaults/"+vault+vaultVersion,
		`{"location":"westeurope","properties":{"tenantId":"`+p.env.TenantID+`","sku":{"family":"A","name":"standard"},"enableRbacAuthorization":true}}`)
	p.assign(group, officer, p.env.Bootstrap.ObjectID)
	if a := p.vault(vault, http.MethodPut, "/secrets/greeting"+secretVersion, `{"value":"`+secret+`"}`); a.status != http.StatusOK {
		p.t.Fatalf("setting a secret: %d %s", a.status, a.text)
	}
	return identity
}

// assign assigns a role at a scope.
func (p *party) assign(scope, role, principal string) {
	p.t.Helper()
	p.must(http.MethodPut, scope+"/providers/Microsoft.Authorization/roleAssignments/"+uuid.NewString()+roleVersion,
		`{"properties":{"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/`+role+`","principalId":"`+principal+`"}}`)
}

// trust has the identity "orders" trust an issuer's subject.
func (p *party) trust(i *issuer, subject string) {
	p.t.Helper()
	p.must(http.MethodPut, p.scope()+"/resourceGroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders/federatedIdentityCredentials/cluster"+identityVersion,
		`{"properties":{"issuer":"`+i.url+`","subject":"`+subject+`","audiences":["api://AzureADTokenExchange"]}}`)
}

// claims reads what a token says.
func claims(t *testing.T, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", raw)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// issuer is a cluster's issuer of service-account tokens.
type issuer struct {
	t      *testing.T
	key    *rsa.PrivateKey
	url    string
	caFile string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["RS256"]}`, i.url, i.url+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"one","n":%q,"e":%q}]}`,
			base64.RawURLEncoding.EncodeToString(key.N.Bytes()), base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()))
	})
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	i.caFile = filepath.Join(t.TempDir(), "issuer.pem")
	if err := os.WriteFile(i.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// token is a service account's token.
func (i *issuer) token(subject string) string {
	i.t.Helper()
	now := time.Now()
	payload, err := json.Marshal(map[string]any{
		"iss": i.url, "sub": subject, "aud": []string{"api://AzureADTokenExchange"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		i.t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"one","typ":"JWT"}`)))
	b.WriteString("." + base64.RawURLEncoding.EncodeToString(payload))
	sum := sha256.Sum256(b.Bytes())
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	return b.String() + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// federate is what a workload sends to become an identity.
func federate(clientID, assertion, resource string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "scope": {resource + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
}
