package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/e2e/environment"
)

// rehearsal is a cloud that takes Azure's time, beside that of the other tests.
// This process has the other one's proxy and roots for good, so that clients are
// given a transport of their own; nothing else of the SDK is changed.
type rehearsal struct {
	environment.File
	imds    string
	envFile string
	http    *http.Client
	refused atomic.Int64 // answers with 429
	asked   atomic.Int64 // requests to the token service
}

func newRehearsal(t *testing.T, flags ...string) *rehearsal {
	t.Helper()
	issuerCA := filepath.Join(t.TempDir(), "issuer-ca.pem")
	if err := os.WriteFile(issuerCA, world.cluster.certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	flags = append(flags, "--clock", "--issuer-allow", "127.0.0.1/32", "--issuer-ca", issuerCA)
	r := &rehearsal{envFile: ownCloud(t, nil, flags...)}
	var err error
	if r.File, err = environment.Read(r.envFile); err != nil {
		t.Fatal(err)
	}
	r.imds = r.Endpoints.IMDS
	ca, err := os.ReadFile(r.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Proxy:           http.ProxyURL(must(url.Parse(r.Proxy))),
	}
	t.Cleanup(transport.CloseIdleConnections)
	r.http = &http.Client{Transport: transport}
	return r
}

// Do sends an SDK's request: that to the machine's metadata service to where it
// listens here, all others through the cloud's proxy.
func (r *rehearsal) Do(request *http.Request) (*http.Response, error) {
	client := r.http
	if request.URL.Host == "169.254.169.254" {
		here := must(url.Parse(r.imds))
		request.URL.Host = here.Host
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	if strings.HasSuffix(request.URL.Path, "/token") {
		r.asked.Add(1)
	}
	response, err := client.Do(request)
	if err == nil && response.StatusCode == http.StatusTooManyRequests {
		r.refused.Add(1)
	}
	return response, err
}

func (r *rehearsal) options() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: r, Cloud: cloud.Configuration{
		ActiveDirectoryAuthorityHost: r.Endpoints.ActiveDirectory,
		Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: r.Endpoints.ResourceManager, Audience: r.Endpoints.ResourceManager},
		},
	}}
}

func (r *rehearsal) arm() *arm.ClientOptions { return &arm.ClientOptions{ClientOptions: r.options()} }

func (r *rehearsal) operator() azcore.TokenCredential {
	return must(azidentity.NewClientSecretCredential(r.TenantID, r.Bootstrap.ClientID, r.Bootstrap.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: r.options(), DisableInstanceDiscovery: true}))
}

// clock runs "lanyard clock".
func (r *rehearsal) clock(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), filepath.Join(world.bin, "lanyard"), append(append([]string{"clock"}, args...), "--env-file", r.envFile)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("lanyard clock %v: %v\n%s", args, err, out)
	}
}

// identity makes a user-assigned identity.
func (r *rehearsal) identity(t *testing.T, name string) armmsi.Identity {
	t.Helper()
	ctx := testContext(t)
	groups := must(armresources.NewResourceGroupsClient(r.SubscriptionID, r.operator(), r.arm()))
	if _, err := groups.CreateOrUpdate(ctx, "rg", armresources.ResourceGroup{Location: to.Ptr(location)}, nil); err != nil {
		t.Fatal(err)
	}
	identities := must(armmsi.NewUserAssignedIdentitiesClient(r.SubscriptionID, r.operator(), r.arm()))
	made, err := identities.CreateOrUpdate(ctx, "rg", name, armmsi.Identity{Location: to.Ptr(location)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made.Identity
}

// TestRehearsedDelays: a fresh federated credential is unknown and a fresh role
// counts for nothing until their time has come, which "lanyard clock" brings;
// the SDK asks once, and does not wait.
func TestRehearsedDelays(t *testing.T) {
	r := newRehearsal(t, "--rehearse", "credentialPropagation,roleAssignmentLag")
	ctx := testContext(t)
	who := r.identity(t, "orders")
	credentials := must(armmsi.NewFederatedIdentityCredentialsClient(r.SubscriptionID, r.operator(), r.arm()))
	if _, err := credentials.CreateOrUpdate(ctx, "rg", "orders", "cluster", federation("main", "system:serviceaccount:shop:orders"), nil); err != nil {
		t.Fatal(err)
	}
	workload := func() azcore.TokenCredential {
		return must(azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: r.options(), ClientID: *who.Properties.ClientID, TenantID: r.TenantID, DisableInstanceDiscovery: true,
			TokenFilePath: world.cluster.tokenFile(t, assertion{subject: "system:serviceaccount:shop:orders"}),
		}))
	}
	before := r.asked.Load()
	_, err := workload().GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS70021")
	if asked := r.asked.Load() - before; asked != 1 {
		t.Errorf("the SDK asked %d times for what will not change soon", asked)
	}
	r.clock(t, "advance", "1m59s")
	_, err = workload().GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS70021")
	r.clock(t, "advance", "1s")
	if _, err := workload().GetToken(ctx, vaultScope()); err != nil {
		t.Fatal(err)
	}

	vaults := must(armkeyvault.NewVaultsClient(r.SubscriptionID, r.operator(), r.arm()))
	parameters := vaultParameters()
	parameters.Properties.TenantID = to.Ptr(r.TenantID)
	poller, err := vaults.BeginCreateOrUpdate(ctx, "rg", "v"+strings.ReplaceAll(uuid.NewString(), "-", "")[:20], parameters, nil)
	vault := finish(t, poller, err)
	secrets := must(azsecrets.NewClient(*vault.Properties.VaultURI, workload(), &azsecrets.ClientOptions{ClientOptions: r.options()}))
	read := func() error {
		_, err := secrets.GetSecret(ctx, "greeting", "", nil)
		return err
	}
	assignments := must(armauthorization.NewRoleAssignmentsClient(r.SubscriptionID, r.operator(), r.arm()))
	made, err := assignments.Create(ctx, *vault.ID, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID: who.Properties.PrincipalID, PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
			RoleDefinitionID: to.Ptr("/subscriptions/" + r.SubscriptionID + "/providers/Microsoft.Authorization/roleDefinitions/" + roleSecretsUser),
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantAzureError(t, read(), http.StatusForbidden, "Forbidden")
	r.clock(t, "advance", "10m")
	wantAzureError(t, read(), http.StatusNotFound, "SecretNotFound") // allowed: there is none
	if _, err := assignments.DeleteByID(ctx, *made.ID, nil); err != nil {
		t.Fatal(err)
	}
	wantAzureError(t, read(), http.StatusNotFound, "SecretNotFound")
	r.clock(t, "advance", "10m")
	wantAzureError(t, read(), http.StatusForbidden, "Forbidden")
}

// TestRehearsedIMDS: more programs than the metadata service takes at a time all
// get their token, since the SDK tries again; and what has changed of the identity
// shows a day later.
func TestRehearsedIMDS(t *testing.T) {
	r := newRehearsal(t, "--imds", "127.0.0.1:0", "--imds-identity", "orders", "--rehearse", "imdsThrottle,imdsTokenCache")
	ctx := testContext(t)
	r.identity(t, "orders")
	const programs = 30 // the service takes 20 in a second
	var running sync.WaitGroup
	for range programs {
		running.Go(func() {
			credential := must(azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: r.options()}))
			if _, err := credential.GetToken(ctx, vaultScope()); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if r.refused.Load() == 0 {
		t.Error("nobody was refused with 429")
	}

	// The SDK keeps tokens for its process, so that the next programs are not it.
	ask := func() (token, refusal string) {
		t.Helper()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet,
			r.imds+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Metadata", "true")
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var answer struct {
			Token   string `json:"access_token"`
			Refusal string `json:"error_description"`
		}
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Token, answer.Refusal
	}
	kept, refusal := ask()
	if kept == "" {
		t.Fatal(refusal)
	}
	identities := must(armmsi.NewUserAssignedIdentitiesClient(r.SubscriptionID, r.operator(), r.arm()))
	if _, err := identities.Delete(ctx, "rg", "orders", nil); err != nil {
		t.Fatal(err)
	}
	if again, refusal := ask(); again != kept {
		t.Errorf("the deletion shows at once: %s", refusal)
	}
	r.clock(t, "advance", "24h")
	if token, refusal := ask(); token != "" || refusal != "Identity not found" {
		t.Errorf("a day later: %q", refusal)
	}
}

// TestRehearsedThrottle: the sixth write of an identity within seconds is refused
// with 429, and the SDK makes it when it may.
func TestRehearsedThrottle(t *testing.T) {
	r := newRehearsal(t, "--rehearse", "armThrottle")
	ctx := testContext(t)
	who := r.identity(t, "orders")
	identities := must(armmsi.NewUserAssignedIdentitiesClient(r.SubscriptionID, r.operator(), r.arm()))
	for i := range 5 {
		if refused := r.refused.Load(); refused != 0 {
			t.Fatalf("%d refusals before write %d", refused, i+2)
		}
		who.Tags = map[string]*string{"n": to.Ptr(string(rune('a' + i)))}
		if _, err := identities.CreateOrUpdate(ctx, "rg", "orders", armmsi.Identity{Location: who.Location, Tags: who.Tags}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if r.refused.Load() == 0 {
		t.Error("nothing was refused with 429")
	}
	got, err := identities.Get(ctx, "rg", "orders", nil)
	if err != nil || *got.Tags["n"] != "e" {
		t.Errorf("the last write is not there: %v", err)
	}
}
