package pods

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"crypto/tls"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/e2e/environment"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const (
	location           = "westeurope"
	audience           = "api://AzureADTokenExchange"
	roleSecretsUser    = "4633458b-17de-408a-b874-0445c86b69e6"
	roleSecretsOfficer = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
)

// azureClients are Azure's management SDK, signed in as the operator. This
// process is not on the cluster's LAN: the clients are given a transport that
// dials from the cloud's host, and nothing else of them is changed.
type azureClients struct {
	subscription string
	tenant       string
	operatorID   string
	credential   azcore.TokenCredential
	options      *arm.ClientOptions
	transport    *http.Client
}

func newAzureClients(env environment.File, host *kubetest.Host) (azureClients, error) {
	a := azureClients{subscription: env.SubscriptionID, tenant: env.TenantID, operatorID: env.Bootstrap.ObjectID}
	ca, err := os.ReadFile(env.CAFile)
	if err != nil {
		return a, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return a, fmt.Errorf("%s holds no certificate", env.CAFile)
	}
	a.transport = &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return host.Dial(ctx, network, net.JoinHostPort(host.Addr().String(), port))
		},
	}}
	options := azcore.ClientOptions{Transport: a.transport, Cloud: azcloud.Configuration{
		ActiveDirectoryAuthorityHost: env.Endpoints.ActiveDirectory,
		Services: map[azcloud.ServiceName]azcloud.ServiceConfiguration{
			azcloud.ResourceManager: {Endpoint: env.Endpoints.ResourceManager, Audience: env.Endpoints.ResourceManager},
		},
	}}
	a.options = &arm.ClientOptions{ClientOptions: options}
	a.credential, err = azidentity.NewClientSecretCredential(env.TenantID, env.Bootstrap.ClientID, env.Bootstrap.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	return a, err
}

// must is for clients' constructors, which fail on programming errors only.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// site is a resource group with a vault, an identity, and two secrets: the
// identity may read "greeting" and may not read "forbidden".
type site struct {
	group    string
	vault    string // its URL
	identity armmsi.Identity
}

// newSite makes a site that goes when the test ends.
func newSite(t testing.TB) site {
	t.Helper()
	ctx, a := testContext(t), world.azure
	s := site{group: "rg-" + uuid.NewString()[:8]}
	groups := must(armresources.NewResourceGroupsClient(a.subscription, a.credential, a.options))
	if _, err := groups.CreateOrUpdate(ctx, s.group, armresources.ResourceGroup{Location: to.Ptr(location)}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's has ended
		defer cancel()
		poller, err := groups.BeginDelete(ctx, s.group, nil)
		if err == nil {
			_, err = poller.PollUntilDone(ctx, nil)
		}
		if err != nil {
			t.Errorf("deleting resource group %s: %v", s.group, err)
		}
	})
	s.identity = s.newIdentity(t, "app")
	s.newVault(t)
	return s
}

func (s *site) newIdentity(t testing.TB, name string) armmsi.Identity {
	t.Helper()
	a := world.azure
	made, err := must(armmsi.NewUserAssignedIdentitiesClient(a.subscription, a.credential, a.options)).
		CreateOrUpdate(testContext(t), s.group, name, armmsi.Identity{Location: to.Ptr(location)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made.Identity
}

func (s *site) newVault(t testing.TB) {
	t.Helper()
	ctx, a := testContext(t), world.azure
	vaults := must(armkeyvault.NewVaultsClient(a.subscription, a.credential, a.options))
	poller, err := vaults.BeginCreateOrUpdate(ctx, s.group, "kv-"+uuid.NewString()[:8], armkeyvault.VaultCreateOrUpdateParameters{
		Location: to.Ptr(location),
		Properties: &armkeyvault.VaultProperties{
			TenantID: to.Ptr(a.tenant), EnableRbacAuthorization: to.Ptr(true),
			SKU: &armkeyvault.SKU{Family: to.Ptr(armkeyvault.SKUFamilyA), Name: to.Ptr(armkeyvault.SKUNameStandard)},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	vault, err := poller.PollUntilDone(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.vault = *vault.Properties.VaultURI
	assign(t, *vault.ID, roleSecretsOfficer, a.operatorID)
	secrets := must(azsecrets.NewClient(s.vault, a.credential, &azsecrets.ClientOptions{ClientOptions: a.options.ClientOptions}))
	for _, name := range []string{"greeting", "forbidden"} {
		if _, err := secrets.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: to.Ptr(name + " of " + s.group)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	assign(t, *vault.ID+"/secrets/greeting", roleSecretsUser, *s.identity.Properties.PrincipalID)
}

// greeting is the secret that the site's identity may read.
func (s *site) greeting() string { return "greeting of " + s.group }

func assign(t testing.TB, scope, role, principal string) {
	t.Helper()
	a := world.azure
	assignments := must(armauthorization.NewRoleAssignmentsClient(a.subscription, a.credential, a.options))
	if _, err := assignments.Create(testContext(t), strings.TrimPrefix(scope, "/"), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID: to.Ptr(principal), PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
			RoleDefinitionID: to.Ptr("/subscriptions/" + a.subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + role),
		},
	}, nil); err != nil {
		t.Fatal(err)
	}
}

// trust has the site's identity trust a service account of the cluster.
func (s *site) trust(t testing.TB, name, namespace, account string) {
	t.Helper()
	s.trustSubject(t, name, world.issuer, "system:serviceaccount:"+namespace+":"+account, audience)
}

func (s *site) trustSubject(t testing.TB, name, issuer, subject, audience string) {
	t.Helper()
	if _, err := s.credentials().CreateOrUpdate(testContext(t), s.group, *s.identity.Name, name, armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{
			Issuer: to.Ptr(issuer), Subject: to.Ptr(subject), Audiences: []*string{to.Ptr(audience)},
		},
	}, nil); err != nil {
		t.Fatal(err)
	}
}

// distrust takes a federated credential away.
func (s *site) distrust(t testing.TB, name string) {
	t.Helper()
	if _, err := s.credentials().Delete(testContext(t), s.group, *s.identity.Name, name, nil); err != nil {
		t.Fatal(err)
	}
}

func (s *site) credentials() *armmsi.FederatedIdentityCredentialsClient {
	a := world.azure
	return must(armmsi.NewFederatedIdentityCredentialsClient(a.subscription, a.credential, a.options))
}
