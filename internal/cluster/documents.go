package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// documentsMaxAge is for how long whoever reads an issuer's documents may keep
// them, in seconds: the shortest that relying parties commonly honour. A new key
// is to be published that long before it signs, which the steps of a rotation
// take anyway.
const documentsMaxAge = 300

// discoveryDocument is an issuer's metadata: the members that OpenID Connect
// Discovery 1.0, section 3, requires, as a Kubernetes API server has them. There
// is no authorization endpoint, since nobody signs in here.
func discoveryDocument(issuer string) ([]byte, error) {
	text, err := json.Marshal(map[string]any{
		"issuer":                                issuer,
		"jwks_uri":                              issuer + "openid/v1/jwks",
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the discovery document of %s: %w", issuer, err)
	}
	return text, nil
}

// Documents is the plane oidc.D: the discovery documents and keys of the issuers
// that the cloud has assigned, at the addresses that API servers use too. It
// answers from memory.
func (c *Clusters) Documents() http.Handler { return documents{c} }

type documents struct{ clusters *Clusters }

// ServeHTTP answers GET and HEAD.
func (d documents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeError(w, azure.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "The documents of issuers are read with GET."))
		return
	}
	if err := d.clusters.store.Fresh(); err != nil {
		writeError(w, errUnavailable(err))
		return
	}
	text, kind, err := d.find(r.URL.EscapedPath())
	if err != nil {
		writeError(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(documentsMaxAge))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(text) // a client that is gone is nobody's error
	}
}

// find gives the document at a path. Issuers are compared to the letter, and so
// are paths.
func (d documents) find(path string) (text []byte, kind string, err error) {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	if len(parts) < 3 {
		return nil, "", azure.Errorf(http.StatusNotFound, "NotFound",
			"Here are the issuers of attached clusters: /{tenant}/{cluster}/.well-known/openid-configuration and /{tenant}/{cluster}/openid/v1/jwks.")
	}
	e, ok := d.clusters.entry(parts[1])
	switch {
	case !ok || e.TenantID != parts[0] || e.IssuerURL == "":
		return nil, "", azure.Errorf(http.StatusNotFound, "IssuerNotFound", "No attached cluster of this cloud has the issuer at this address.")
	case e.keys == nil:
		return nil, "", azure.Errorf(http.StatusNotFound, "IssuerWithoutKeys",
			"The attached cluster with this issuer has no keys here: it is not enrolled with this issuer, or its issuer is disabled.")
	}
	switch parts[2] {
	case ".well-known/openid-configuration":
		return e.discovery, "application/json", nil
	case "openid/v1/jwks":
		return e.keySet, "application/jwk-set+json", nil
	}
	return nil, "", azure.Errorf(http.StatusNotFound, "NotFound",
		"An issuer has the documents .well-known/openid-configuration and openid/v1/jwks below its address, and no others.")
}
