package entra_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// get fetches a document from the handler.
func (c *cloud) get(target string) (int, map[string]any) {
	c.TB.Helper()
	answer := c.send(httptest.NewRequestWithContext(c.TB.Context(), http.MethodGet, target, nil))
	return answer.Status, cloudtest.Decode[map[string]any](c.TB, answer)
}

// TestClientsAcceptTheDocuments checks what Microsoft's client libraries check
// before they send a credential anywhere: the members that each requires, and
// the issuer. MSAL for Go and for JavaScript accept an issuer of the same scheme
// and host as the authority, port included.
func TestClientsAcceptTheDocuments(t *testing.T) {
	c := newCloud(t, options{defaultTenant: contoso, aliases: []string{"login.windows.net"}})
	for _, host := range []string{
		"login.lanyard.test:8443", "login.lanyard.test", "sts.lanyard.test:8443",
		"login-us.microsoftonline.com", "login.microsoftonline.com", "login.windows.net", "login.windows.net:8443",
	} {
		for path, issuerMatters := range map[string]bool{
			contoso + "/v2.0":                  true,
			strings.ToUpper(contoso) + "/v2.0": true,
			"contoso.example/v2.0":             true,
			"common/v2.0":                      true,
			"organizations/v2.0":               true,
			"adfs":                             true,
			contoso:                            false, // read by no MSAL
		} {
			status, document := c.get("https://" + host + "/" + path + "/.well-known/openid-configuration")
			if status != http.StatusOK {
				t.Errorf("%s/%s: %d %v", host, path, status, document)
				continue
			}
			for _, member := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "issuer", "device_authorization_endpoint"} {
				value, _ := document[member].(string)
				u, err := url.Parse(value)
				if err != nil || u.Scheme != "https" {
					t.Errorf("%s/%s: %s is %q", host, path, member, value)
				} else if u.Host != host && (member != "issuer" || issuerMatters) {
					t.Errorf("%s/%s: %s is at %s", host, path, member, u.Host)
				}
			}
			// What the document names must be there.
			status, _ = c.get(document["jwks_uri"].(string))
			if status != http.StatusOK {
				t.Errorf("%s/%s: the keys: %d", host, path, status)
			}
			if endpoint := document["token_endpoint"].(string); !strings.Contains(endpoint, "/common/") && !strings.Contains(endpoint, "/organizations/") {
				u, _ := url.Parse(endpoint)
				status, answer := c.post(u.Path, url.Values{
					"grant_type": {"client_credentials"}, "client_id": {c.app.AppID}, "client_secret": {c.appSecret},
					"scope": {management + "/.default"}, "resource": resourceFor(u.Path),
				})
				if status != http.StatusOK {
					t.Errorf("%s/%s: the token endpoint: %d %v", host, path, status, answer)
				}
			}
		}
	}
}

// resourceFor gives the resource parameter that version 1 endpoints need.
func resourceFor(path string) []string {
	if strings.HasSuffix(path, "/oauth2/token") && !strings.HasPrefix(path, "/adfs/") {
		return []string{management}
	}
	return nil
}

// TestCanonicalIssuer: at the canonical hosts the documents' issuers are the
// tokens' iss, so that a resource server that follows discovery accepts them.
func TestCanonicalIssuer(t *testing.T) {
	c := newCloud(t, options{})
	for resource, document := range map[string]string{
		management:     "https://sts.lanyard.test:8443/" + contoso + "/.well-known/openid-configuration",
		"api://orders": "https://login.lanyard.test:8443/" + contoso + "/v2.0/.well-known/openid-configuration",
	} {
		_, raw := c.as(c.app.AppID, url.Values{"client_secret": {c.appSecret}, "scope": {resource + "/.default"}})
		_, configuration := c.get(document)
		iss := claimsOf(t, raw)["iss"]
		if iss != configuration["issuer"] {
			t.Errorf("%s: iss is %v, the issuer of %s is %v", resource, iss, document, configuration["issuer"])
		}
		if want := strings.TrimSuffix(document, ".well-known/openid-configuration"); iss != want && iss != strings.TrimSuffix(want, "/") {
			t.Errorf("%s: the document of iss %v is not at %s", resource, iss, document)
		}
	}
}

// TestKeysVerifyTokens verifies a token with nothing but what a resource server
// gets from the keys' documents.
func TestKeysVerifyTokens(t *testing.T) {
	c := newCloud(t, options{defaultTenant: contoso})
	_, raw := c.bySecret(c.appSecret)
	parts := strings.Split(raw, ".")
	header := decodePart(t, parts[0])
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	cloudtest.Must(t, err)
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))

	for path, issuer := range map[string]string{
		contoso + "/discovery/v2.0/keys":         c.Azure.IssuerV2(contoso),
		contoso + "/discovery/keys":              c.Azure.IssuerV1(contoso),
		"contoso.example/discovery/v2.0/keys":    c.Azure.IssuerV2(contoso),
		"common/discovery/v2.0/keys":             c.Azure.IssuerV2("{tenantid}"),
		"common/discovery/keys":                  c.Azure.IssuerV1("{tenantid}"),
		"organizations/discovery/v2.0/keys":      c.Azure.IssuerV2("{tenantid}"),
		"adfs/discovery/keys":                    c.Azure.IssuerV2(contoso),
		"adfs/discovery/v2.0/keys":               c.Azure.IssuerV2(contoso),
		strings.ToUpper(contoso + "/discovery/"): "",
	} {
		status, document := c.get("https://login-us.microsoftonline.com/" + path)
		if issuer == "" {
			if status != http.StatusNotFound {
				t.Errorf("%s: %d, want 404: paths are exact", path, status)
			}
			continue
		}
		keys, _ := document["keys"].([]any)
		if status != http.StatusOK || len(keys) != 1 {
			t.Errorf("%s: %d %v", path, status, document)
			continue
		}
		key := keys[0].(map[string]any)
		if key["kid"] != header["kid"] || key["x5t"] != header["x5t"] || key["kty"] != "RSA" || key["use"] != "sig" || key["issuer"] != issuer {
			t.Errorf("%s: %v, want kid %v and issuer %s", path, key, header["kid"], issuer)
		}
		n, err := base64.RawURLEncoding.DecodeString(key["n"].(string))
		cloudtest.Must(t, err)
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		der, err := base64.StdEncoding.DecodeString(key["x5c"].([]any)[0].(string))
		cloudtest.Must(t, err)
		certificate, err := x509.ParseCertificate(der)
		cloudtest.Must(t, err)
		if !public.Equal(certificate.PublicKey) {
			t.Errorf("%s: the certificate is of another key", path)
		}
	}
}

// TestOnlyTenantIsADFS: without configuration, /adfs stands for the only
// tenant.
func TestOnlyTenantIsADFS(t *testing.T) {
	c := newCloud(t, options{})
	if status, document := c.get("https://login.lanyard.test:8443/adfs/.well-known/openid-configuration"); status != http.StatusBadRequest {
		t.Errorf("with two tenants: %d %v", status, document)
	}
	one := newEmptyCloud(t, options{})
	if status, _ := one.get("https://login.lanyard.test:8443/adfs/.well-known/openid-configuration"); status != http.StatusBadRequest {
		t.Errorf("with no tenant: %d", status)
	}
	one.Tenant(directory.Tenant{ID: contoso, DisplayName: "Contoso"})
	status, document := one.get("https://login.lanyard.test:8443/adfs/.well-known/openid-configuration")
	if status != http.StatusOK || document["issuer"] != one.Azure.IssuerV2(contoso) {
		t.Errorf("with one tenant: %d %v", status, document)
	}
}

// TestRequestWithoutHost: a request of HTTP/1.0 need not name a host.
func TestRequestWithoutHost(t *testing.T) {
	c := newCloud(t, options{})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+contoso+"/v2.0/.well-known/openid-configuration", nil)
	r.Host = ""
	document := cloudtest.Decode[map[string]any](t, c.send(r))
	if document["issuer"] != c.Azure.IssuerV2(contoso) {
		t.Errorf("the issuer is %v", document["issuer"])
	}
}
