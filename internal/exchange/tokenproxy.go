package exchange

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
)

// TokenProxy is a token endpoint inside the cluster that takes the authority's
// place, as AKS's identity bindings have it. The workload identity webhook sets
// the variables of its fields.
type TokenProxy struct {
	// URL is AZURE_KUBERNETES_TOKEN_PROXY.
	URL string
	// SNIName is the name to ask for in TLS, AZURE_KUBERNETES_SNI_NAME; empty:
	// the URL's.
	SNIName string
	// CAFile (AZURE_KUBERNETES_CA_FILE) or CAData (AZURE_KUBERNETES_CA_DATA) hold
	// the authorities to trust, in PEM; neither: the system's. A file is read
	// again when it changes.
	CAFile, CAData string
}

// TokenProxyFrom reads the variables, by the rules of Azure's SDKs: nil without
// AZURE_KUBERNETES_TOKEN_PROXY, and an error for the others without it or for two
// sources of authorities.
func TokenProxyFrom(getenv func(string) string) (*TokenProxy, error) {
	p := &TokenProxy{
		URL: getenv("AZURE_KUBERNETES_TOKEN_PROXY"), SNIName: getenv("AZURE_KUBERNETES_SNI_NAME"),
		CAFile: getenv("AZURE_KUBERNETES_CA_FILE"), CAData: getenv("AZURE_KUBERNETES_CA_DATA"),
	}
	switch {
	case p.URL == "" && (p.SNIName != "" || p.CAFile != "" || p.CAData != ""):
		return nil, errors.New("AZURE_KUBERNETES_TOKEN_PROXY is not set, and other variables of a token proxy are")
	case p.URL == "":
		return nil, nil
	case p.CAFile != "" && p.CAData != "":
		return nil, errors.New("only one of AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA can be set")
	}
	return p, nil
}

// proxyTrust makes the transport to a token proxy, anew when its authorities
// change.
type proxyTrust struct {
	proxy TokenProxy

	mu        sync.Mutex
	authority []byte // that transport trusts
	transport *http.Transport
}

func (p *proxyTrust) roundTripper() (http.RoundTripper, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	authority := []byte(p.proxy.CAData)
	if p.proxy.CAFile != "" {
		content, err := os.ReadFile(p.proxy.CAFile)
		if err != nil {
			return nil, fmt.Errorf("the token proxy's authority: %w", err)
		}
		if len(content) == 0 && p.transport != nil {
			content = p.authority // it is being written
		}
		authority = content
	}
	if p.transport != nil && bytes.Equal(authority, p.authority) {
		return p.transport, nil
	}
	config := &tls.Config{ServerName: p.proxy.SNIName, MinVersion: tls.VersionTLS12}
	if p.proxy.CAFile != "" || p.proxy.CAData != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authority) {
			return nil, errors.New("the token proxy's authority: no certificate in PEM")
		}
	}
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
	p.transport, p.authority = newTransport(), authority
	p.transport.TLSClientConfig = config
	return p.transport, nil
}
