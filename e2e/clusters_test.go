package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/hybridkubernetes/armhybridkubernetes"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/go-jose/go-jose/v4"
)

// issuerVersion is an api-version that has the issuer of attached clusters, which
// the Go SDK's own client of them is too old for.
const issuerVersion = "2024-07-15-preview"

func clusterID(group, name string) string {
	return groupScope(group) + "/providers/Microsoft.Kubernetes/connectedClusters/" + name
}

// newConnectedCluster makes a connected cluster by the SDK's client.
func newConnectedCluster(t *testing.T, group, name string) armhybridkubernetes.ConnectedCluster {
	t.Helper()
	ctx := testContext(t)
	clusters := must(armhybridkubernetes.NewConnectedClusterClient(world.env.SubscriptionID, operator(t), armOptions()))
	poller, err := clusters.BeginCreate(ctx, group, name, armhybridkubernetes.ConnectedCluster{
		Location: to.Ptr(location), Tags: map[string]*string{"env": to.Ptr("test")},
		Identity: &armhybridkubernetes.ConnectedClusterIdentity{Type: to.Ptr(armhybridkubernetes.ResourceIdentityTypeSystemAssigned)},
		Properties: &armhybridkubernetes.ConnectedClusterProperties{
			AgentPublicKeyCertificate: to.Ptr("MII"), Distribution: to.Ptr("kind"), Infrastructure: to.Ptr("generic"),
		},
	}, nil)
	made := finish(t, poller, err)
	return made.ConnectedCluster
}

// TestConnectedClusters checks the life cycle with armhybridkubernetes's own
// client, pollers and pagers.
func TestConnectedClusters(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	made := newConnectedCluster(t, group, "east")
	newConnectedCluster(t, group, "west")
	if *made.Properties.ProvisioningState != armhybridkubernetes.ProvisioningStateSucceeded || *made.Properties.Distribution != "kind" ||
		*made.Properties.ConnectivityStatus != armhybridkubernetes.ConnectivityStatusConnecting || made.Identity.PrincipalID == nil {
		t.Errorf("made %+v, identity %+v", *made.Properties, *made.Identity)
	}
	clusters := must(armhybridkubernetes.NewConnectedClusterClient(world.env.SubscriptionID, operator(t), armOptions()))
	got, err := clusters.Get(ctx, group, "EAST", nil)
	if err != nil || *got.ID != *made.ID || *got.Identity.PrincipalID != *made.Identity.PrincipalID {
		t.Fatalf("got %+v %v", got.ConnectedCluster, err)
	}
	changed, err := clusters.Update(ctx, group, "east", armhybridkubernetes.ConnectedClusterPatch{Tags: map[string]*string{"env": to.Ptr("prod")}}, nil)
	if err != nil || *changed.Tags["env"] != "prod" || *changed.Properties.Distribution != "kind" {
		t.Fatalf("changed %+v %v", changed.ConnectedCluster, err)
	}
	names := 0
	for pager := clusters.NewListByResourceGroupPager(group, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		names += len(page.Value)
	}
	if names != 2 {
		t.Errorf("%d clusters are in the group", names)
	}
	found := false
	for pager := clusters.NewListBySubscriptionPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Value {
			found = found || *c.ID == *made.ID
		}
	}
	if !found {
		t.Error("the cluster is not among those of the subscription")
	}
	poller, err := clusters.BeginDelete(ctx, group, "east", nil)
	finish(t, poller, err)
	_, err = clusters.Get(ctx, group, "east", nil)
	wantAzureError(t, err, http.StatusNotFound, "ResourceNotFound")
}

// enableIssuer has the cloud assign an issuer to a connected cluster, by the
// generic client, and gives its URL.
func enableIssuer(t *testing.T, id string) string {
	t.Helper()
	ctx := testContext(t)
	resources := must(armresources.NewClient(world.env.SubscriptionID, operator(t), armOptions()))
	poller, err := resources.BeginUpdateByID(ctx, id, issuerVersion, armresources.GenericResource{Properties: map[string]any{
		"oidcIssuerProfile": map[string]any{"enabled": true}, "securityProfile": map[string]any{"workloadIdentity": map[string]any{"enabled": true}},
	}}, nil)
	updated := finish(t, poller, err)
	properties, _ := updated.Properties.(map[string]any)
	profile, _ := properties["oidcIssuerProfile"].(map[string]any)
	url, _ := profile["issuerUrl"].(string)
	if url == "" {
		t.Fatalf("the cluster has no issuer: %v", properties)
	}
	return url
}

// enroll gives the cloud the keys by which the main cluster of these tests signs.
func enroll(t *testing.T, id, issuerURL string) {
	t.Helper()
	client := must(arm.NewClient("e2e", "v0.0.0", operator(t), armOptions()))
	req, err := runtime.NewRequest(testContext(t), http.MethodPost, world.env.Endpoints.ResourceManager+id+"/enroll")
	if err != nil {
		t.Fatal(err)
	}
	query := req.Raw().URL.Query()
	query.Set("api-version", issuerVersion)
	req.Raw().URL.RawQuery = query.Encode()
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: world.cluster.keys["main"].Public(), KeyID: "main", Algorithm: "RS256", Use: "sig"}}}
	body := map[string]any{"issuer": issuerURL, "keys": keys, "agentSubjects": []string{"system:serviceaccount:lanyard-system:lanyard-agent"}}
	if err := runtime.MarshalAsJSON(req, body); err != nil {
		t.Fatal(err)
	}
	resp, err := client.Pipeline().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !runtime.HasStatusCode(resp, http.StatusOK) {
		t.Fatal(runtime.NewResponseError(resp))
	}
}

// TestAttachedClusterIssuer: a service account's token of an attached cluster, by
// the issuer that the cloud has assigned, reads what the identity may read, with
// nothing being fetched from anywhere; until the cluster is deleted.
func TestAttachedClusterIssuer(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	id := clusterID(group, "east")
	newConnectedCluster(t, group, "east")
	issuerURL := enableIssuer(t, id)
	enroll(t, id, issuerURL)

	// The documents are what any relying party reads.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuerURL+".well-known/openid-configuration", nil)
	if err != nil {
		t.Fatal(err)
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.NewDecoder(wantStatus(t, req, http.StatusOK).Body).Decode(&discovery); err != nil || discovery.Issuer != issuerURL {
		t.Fatalf("discovery %+v %v", discovery, err)
	}

	made := newIdentity(t, group, "orders")
	credentials := must(armmsi.NewFederatedIdentityCredentialsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := credentials.CreateOrUpdate(ctx, group, "orders", "attached", armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{
			Issuer: to.Ptr(issuerURL), Subject: to.Ptr(made.subject), Audiences: []*string{to.Ptr(exchangeAudience)},
		},
	}, nil); err != nil {
		t.Fatal(err)
	}
	vault := newVault(t, group)
	setSecret(t, vault, "greeting", "hello")
	assign(t, *vault.ID+"/secrets/greeting", roleSecretsUser, *made.Properties.PrincipalID)
	workload := func(a assertion) azcore.TokenCredential {
		a.issuer, a.subject = issuerURL, made.subject
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(world.cluster.sign(t, a)), 0o600); err != nil {
			t.Fatal(err)
		}
		return must(azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientID: *made.Properties.ClientID, TenantID: world.env.TenantID, TokenFilePath: file,
		}))
	}
	secret, err := secretsClient(vault, workload(assertion{})).GetSecret(ctx, "greeting", "", nil)
	if err != nil || *secret.Value != "hello" {
		t.Fatalf("the secret: %v %v", secret.Value, err)
	}
	_, err = workload(assertion{cluster: "other"}).GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS7000272")

	clusters := must(armhybridkubernetes.NewConnectedClusterClient(world.env.SubscriptionID, operator(t), armOptions()))
	poller, err := clusters.BeginDelete(ctx, group, "east", nil)
	finish(t, poller, err)
	_, err = workload(assertion{}).GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS90061")
}
