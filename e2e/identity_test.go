package e2e

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
)

// TestQuickstart runs what "make demo" runs.
func TestQuickstart(t *testing.T) {
	bin := t.TempDir()
	for _, program := range []string{"quickstart", "quickstart/platform", "quickstart/workload"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(bin, strings.ReplaceAll(program, "/", "-")), "./"+program)
		cmd.Dir = "../examples"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", program, err, out)
		}
	}
	out, err := exec.CommandContext(testContext(t), filepath.Join(bin, "quickstart"), "-lanyard", filepath.Join(world.bin, "lanyard")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"hello from the vault", "403 ForbiddenByRbac", "AADSTS700213"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the quickstart does not say %q:\n%s", want, out)
		}
	}
}

func TestWorkloadIdentityCredential(t *testing.T) {
	group := newGroup(t)
	reader, stranger := newIdentity(t, group, "reader"), newIdentity(t, group, "stranger")
	vault := newVault(t, group)
	setSecret(t, vault, "greeting", "hello")
	assign(t, *vault.ID, roleSecretsUser, *reader.Properties.PrincipalID)

	got, err := secretsClient(vault, reader.credential(t)).GetSecret(testContext(t), "greeting", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Value != "hello" {
		t.Fatalf("got secret %q", *got.Value)
	}
	_, err = secretsClient(vault, stranger.credential(t)).GetSecret(testContext(t), "greeting", "", nil)
	wantAzureError(t, err, http.StatusForbidden, "Forbidden")
	if !strings.Contains(err.Error(), "ForbiddenByRbac") || !strings.Contains(err.Error(), "Microsoft.KeyVault/vaults/secrets/getSecret/action") {
		t.Fatalf("the refusal does not say what was missing: %v", err)
	}
}

// TestDefaultAzureCredential has an application's usual one line find the
// workload identity in its environment.
func TestDefaultAzureCredential(t *testing.T) {
	group := newGroup(t)
	reader := newIdentity(t, group, "reader")
	vault := newVault(t, group)
	setSecret(t, vault, "greeting", "hello")
	assign(t, *vault.ID+"/secrets/greeting", roleSecretsUser, *reader.Properties.PrincipalID)
	t.Setenv("AZURE_CLIENT_SECRET", "")
	t.Setenv("AZURE_CLIENT_ID", *reader.Properties.ClientID)
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", world.cluster.tokenFile(t, assertion{subject: reader.subject}))
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secretsClient(vault, credential).GetSecret(testContext(t), "greeting", "", nil); err != nil {
		t.Fatal(err)
	}
}

// TestAssertionsThatDoNotMatch presents, one by one, tokens that differ from a
// good one in a single respect. Each is refused with the code of its fault.
func TestAssertionsThatDoNotMatch(t *testing.T) {
	group := newGroup(t)
	who := newIdentity(t, group, "who")
	for name, test := range map[string]struct {
		assertion assertion
		code      string
	}{
		"another subject":               {assertion{subject: who.subject + "x"}, "AADSTS700213"},
		"a subject of other case":       {assertion{subject: strings.ToUpper(who.subject)}, "AADSTS7002138"},
		"a subject with a space":        {assertion{subject: who.subject + " "}, "AADSTS700213"},
		"another cluster":               {assertion{subject: who.subject, cluster: "other"}, "AADSTS700211"},
		"another cluster's key":         {assertion{subject: who.subject, cluster: "other", issuer: world.cluster.url("main")}, "AADSTS7000272"},
		"an issuer with a slash more":   {assertion{subject: who.subject, issuer: world.cluster.url("main") + "/"}, "AADSTS700211"},
		"another audience":              {assertion{subject: who.subject, audience: "https://kubernetes.default.svc"}, "AADSTS700212"},
		"an audience of other case":     {assertion{subject: who.subject, audience: strings.ToLower(exchangeAudience)}, "AADSTS700212"},
		"a token that expired long ago": {assertion{subject: who.subject, lifetime: -time.Hour}, "AADSTS700024"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := workloadCredential(t, *who.Properties.ClientID, test.assertion).GetToken(testContext(t), vaultScope())
			wantEntraError(t, err, test.code)
		})
	}
	if _, err := who.credential(t).GetToken(testContext(t), vaultScope()); err != nil {
		t.Fatalf("the good assertion: %v", err)
	}
}

func vaultScope() policy.TokenRequestOptions {
	return policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}
}

func TestClientSecretCredential(t *testing.T) {
	if _, err := operator(t).GetToken(testContext(t), vaultScope()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ tenant, client, secret, code string }{
		"a wrong secret":          {world.env.TenantID, world.env.Bootstrap.ClientID, "wrong", "AADSTS7000215"},
		"an unknown client":       {world.env.TenantID, "11111111-1111-1111-1111-111111111111", "x", "AADSTS700016"},
		"the object ID as client": {world.env.TenantID, world.env.Bootstrap.ObjectID, world.env.Bootstrap.ClientSecret, "AADSTS700016"},
	} {
		t.Run(name, func(t *testing.T) {
			credential := must(azidentity.NewClientSecretCredential(test.tenant, test.client, test.secret, nil))
			_, err := credential.GetToken(testContext(t), vaultScope())
			wantEntraError(t, err, test.code)
		})
	}
	t.Run("an unknown resource", func(t *testing.T) {
		_, err := operator(t).GetToken(testContext(t), policy.TokenRequestOptions{Scopes: []string{"https://nothing.example/.default"}})
		wantEntraError(t, err, "AADSTS500011")
	})
	t.Run("an unknown tenant", func(t *testing.T) {
		credential := must(azidentity.NewClientSecretCredential("22222222-2222-2222-2222-222222222222", world.env.Bootstrap.ClientID, "x", nil))
		_, err := credential.GetToken(testContext(t), vaultScope())
		if err == nil || !strings.Contains(err.Error(), "AADSTS90002") {
			t.Fatalf("got %v, want AADSTS90002", err)
		}
	})
}

// TestDeletedCredentialEndsTokens deletes first a credential, then an identity,
// and asks for a token right after.
func TestDeletedCredentialEndsTokens(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	first, second := newIdentity(t, group, "first"), newIdentity(t, group, "second")
	credentials := must(armmsi.NewFederatedIdentityCredentialsClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := first.credential(t).GetToken(ctx, vaultScope()); err != nil {
		t.Fatal(err)
	}
	if _, err := credentials.Delete(ctx, group, "first", "main", nil); err != nil {
		t.Fatal(err)
	}
	_, err := first.credential(t).GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS70025")

	identities := must(armmsi.NewUserAssignedIdentitiesClient(world.env.SubscriptionID, operator(t), armOptions()))
	if _, err := identities.Delete(ctx, group, "second", nil); err != nil {
		t.Fatal(err)
	}
	_, err = second.credential(t).GetToken(ctx, vaultScope())
	wantEntraError(t, err, "AADSTS700016")
}

// TestIdentityLifecycle checks identities and their credentials with armmsi's
// own clients and pagers.
func TestIdentityLifecycle(t *testing.T) {
	group := newGroup(t)
	ctx := testContext(t)
	made := newIdentity(t, group, "one")
	newIdentity(t, group, "two")
	identities := must(armmsi.NewUserAssignedIdentitiesClient(world.env.SubscriptionID, operator(t), armOptions()))
	again, err := identities.CreateOrUpdate(ctx, group, "ONE", armmsi.Identity{Location: made.Location, Tags: map[string]*string{"a": new(string)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *again.Properties.ClientID != *made.Properties.ClientID || *again.Properties.PrincipalID != *made.Properties.PrincipalID {
		t.Fatal("an update changed the identity's IDs")
	}
	names := map[string]bool{}
	for pager := identities.NewListByResourceGroupPager(group, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Value {
			names[strings.ToLower(*i.Name)] = true
		}
	}
	if len(names) != 2 || !names["one"] || !names["two"] {
		t.Fatalf("listed %v", names)
	}
	credentials := must(armmsi.NewFederatedIdentityCredentialsClient(world.env.SubscriptionID, operator(t), armOptions()))
	_, err = credentials.CreateOrUpdate(ctx, group, "one", "again", federation("main", made.subject), nil)
	if err == nil || !strings.Contains(err.Error(), "Issuer and subject combination already exists for this Managed Identity.") {
		t.Fatalf("a second credential of the same issuer and subject: %v", err)
	}
	for i := range 19 {
		name := "extra-" + string(rune('a'+i))
		if _, err := credentials.CreateOrUpdate(ctx, group, "one", name, federation("main", made.subject+name), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err = credentials.CreateOrUpdate(ctx, group, "one", "too-many", federation("main", made.subject+"z"), nil)
	if err == nil || !strings.Contains(err.Error(), "20") {
		t.Fatalf("the 21st credential: %v", err)
	}
	count := 0
	for pager := credentials.NewListPager(group, "one", nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		count += len(page.Value)
	}
	if count != 20 {
		t.Fatalf("listed %d credentials, want 20", count)
	}
	if _, err := identities.Delete(ctx, group, "one", nil); err != nil {
		t.Fatal(err)
	}
	_, err = identities.Get(ctx, group, "one", nil)
	wantAzureError(t, err, http.StatusNotFound, "ResourceNotFound")
	reborn := newIdentity(t, group, "one")
	if *reborn.Properties.ClientID == *made.Properties.ClientID {
		t.Fatal("a new identity of the same name has the old one's client ID")
	}
}
