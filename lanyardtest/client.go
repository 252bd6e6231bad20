package lanyardtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
)

// HTTPClient gives the client by which everything reaches the cloud: its
// transport leads every name of the cloud, Azure's own included, to this cloud,
// whatever the port; trusts this cloud's authority alone; ignores the
// environment's proxy; and refuses other names. All calls give the same client.
func (c *Cloud) HTTPClient() *http.Client { return c.client }

// ClientOptions gives the options for clients of Azure's SDK and credentials of
// azidentity that lead to this cloud: its names as the configuration and
// [Cloud.HTTPClient] as the transport. Other fields are Azure's defaults, and
// may be set on what is given.
func (c *Cloud) ClientOptions() azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: c.Endpoints.ActiveDirectory,
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: c.Endpoints.ResourceManager, Audience: c.Endpoints.ResourceManager},
			},
		},
		Transport: c.client,
	}
}

// ARMClientOptions gives the same options for clients of Azure Resource Manager
// (the SDK's arm* packages).
func (c *Cloud) ARMClientOptions() *arm.ClientOptions {
	return &arm.ClientOptions{ClientOptions: c.ClientOptions()}
}

// newClient makes the client. address is where the cloud listens, caFile holds
// its authority.
func (c *Cloud) newClient(address, caFile string) (*http.Client, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the cloud's authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, asked string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(asked)
			if err != nil {
				return nil, err
			}
			if !c.names.hold(host) {
				return nil, &foreignNameError{host: host, domain: c.names.domain}
			}
			return dialer.DialContext(ctx, network, address)
		},
		// Certificates are issued by the cloud's clock, and must be judged by it.
		TLSClientConfig:     &tls.Config{RootCAs: roots, Time: c.Now, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 10,
		IdleConnTimeout:     time.Minute,
	}}, nil
}

// names are those by which a cloud is reached.
type names struct {
	domain  string
	aliases []string // host names, and "*." with the parent of host names
}

// hold reports whether host is one of the names.
func (n names) hold(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == n.domain || strings.HasSuffix(host, "."+n.domain) {
		return true
	}
	for _, alias := range n.aliases {
		parent, wild := strings.CutPrefix(alias, "*")
		if host == alias || wild && strings.HasSuffix(host, parent) {
			return true
		}
	}
	return false
}

// foreignNameError is why a name that is not the cloud's is not dialled.
type foreignNameError struct{ host, domain string }

// Error names the host.
func (e *foreignNameError) Error() string {
	return fmt.Sprintf("lanyardtest: %s is no name of the cloud %s, and its clients reach nothing else", e.host, e.domain)
}

// NonRetriable tells the SDK's pipeline that trying again is of no use.
func (*foreignNameError) NonRetriable() {}
