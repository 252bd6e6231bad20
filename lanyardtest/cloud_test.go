package lanyardtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/lanyardtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		t := newT()
		lanyardtest.New(t)
		b.StopTimer()
		t.finish()
		if t.Failed() {
			b.Fatal(t.logged())
		}
		b.StartTimer()
	}
}

// refused checks that err is the service's answer with the status and code.
func refused(t *testing.T, err error, status int, code string) {
	t.Helper()
	response, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		t.Fatalf("got error %v, want %d %s", err, status, code)
	}
	if response.StatusCode != status || response.ErrorCode != code {
		t.Fatalf("got %d %s, want %d %s:\n%v", response.StatusCode, response.ErrorCode, status, code, err)
	}
}

// get sends a GET with a token for the scope.
func get(t *testing.T, client *http.Client, address string, credential azcore.TokenCredential, scope string) (*http.Response, error) {
	t.Helper()
	token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Token)
	response, err := client.Do(r)
	if err == nil {
		t.Cleanup(func() { response.Body.Close() })
	}
	return response, err
}

// TestManyInParallel: twenty clouds at once, each with the whole of a small
// set-up.
func TestManyInParallel(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			cloud := lanyardtest.New(t)
			vault := cloud.Vault(t, "vault")
			cloud.Secret(t, vault, "number", fmt.Sprint(i))
			reader, stranger := cloud.Identity(t, "reader"), cloud.Identity(t, "stranger")
			cloud.Assign(t, reader.PrincipalID, "Key Vault Secrets User", vault.ResourceID+"/secrets/number")
			got, err := readSecret(t.Context(), vault.URL, "number", reader.Credential(), cloud.ClientOptions())
			if err != nil || got != fmt.Sprint(i) {
				t.Errorf("read %q, %v", got, err)
			}
			_, err = readSecret(t.Context(), vault.URL, "number", stranger.Credential(), cloud.ClientOptions())
			refused(t, err, http.StatusForbidden, "Forbidden")
			if why := cloud.Why(t, err); why.ObjectID != stranger.PrincipalID || !strings.Contains(why.Reason, "it has no role assignments") {
				t.Errorf("why: %+v", why)
			}
		})
	}
}

// TestNeighbours: what is of one cloud is worth nothing at another, even when
// the other's address is known.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	one, other := lanyardtest.New(t), lanyardtest.New(t)
	if one.TenantID == other.TenantID || one.SubscriptionID == other.SubscriptionID || one.Bootstrap.ClientSecret == other.Bootstrap.ClientSecret {
		t.Error("the clouds have an identifier or a secret in common")
	}
	// One client's names lead to its own cloud, so a token is all that could get
	// to the other.
	scope := "https://management.azure.com/.default"
	subscriptions := other.Endpoints.ResourceManager + "/subscriptions?api-version=2022-12-01"
	response, err := get(t, other.HTTPClient(), subscriptions, one.Operator(), scope)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token of another cloud: %v, %v", response, err)
	}
	response, err = get(t, other.HTTPClient(), subscriptions, other.Operator(), scope)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the cloud's own token: %v, %v", response, err)
	}
	// And the clients trust their own cloud's authority alone.
	transport := one.HTTPClient().Transport.(*http.Transport).Clone()
	transport.DialContext = other.HTTPClient().Transport.(*http.Transport).DialContext
	defer transport.CloseIdleConnections()
	if _, err := get(t, &http.Client{Transport: transport}, subscriptions, other.Operator(), scope); err == nil ||
		!strings.Contains(err.Error(), "certificate") {
		t.Errorf("the other cloud was trusted: %v", err)
	}
}

// TestNoWayOut: clients of a cloud reach nothing else, and say so at once.
func TestNoWayOut(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t)
	tries := &counter{}
	options := cloud.ClientOptions()
	options.PerRetryPolicies = []policy.Policy{tries}
	for _, address := range []string{
		"https://example.com/", "https://vault.azure.net/", "https://example.blob.core.windows.net/", "https://127.0.0.1/",
		"https://x" + strings.TrimPrefix(cloud.Endpoints.VaultSuffix, "vault."),
	} {
		tries.n = 0
		_, err := readSecret(t.Context(), address, "s", cloud.Operator(), options)
		if err == nil || !strings.Contains(err.Error(), "reach nothing else") || tries.n != 1 {
			t.Errorf("%s: after %d tries: %v", address, tries.n, err)
		}
	}
}

// counter is a policy that counts how often a request is tried.
type counter struct{ n int }

func (c *counter) Do(r *policy.Request) (*http.Response, error) {
	c.n++
	return r.Next()
}

// TestAzureNames: programs that name Azure's own hosts reach the cloud by its
// transport alone.
func TestAzureNames(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t)
	vault := cloud.Vault(t, "greetings")
	cloud.Secret(t, vault, "greeting", "hello")
	got, err := readSecret(t.Context(), "https://greetings.vault.azure.net", "greeting", cloud.Operator(),
		azcore.ClientOptions{Transport: cloud.HTTPClient()})
	if err != nil || got != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	client, err := arm.NewClient("test", "v1.0.0", cloud.Operator(),
		&arm.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: cloud.HTTPClient()}})
	if err != nil {
		t.Fatal(err)
	}
	if client.Endpoint() != "https://management.azure.com" {
		t.Fatalf("the client asks %s", client.Endpoint())
	}
	response, err := get(t, cloud.HTTPClient(), client.Endpoint()+vault.ResourceID+"?api-version=2023-07-01", cloud.Operator(),
		client.Endpoint()+"/.default")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", response, err)
	}
}

// TestHelpersAskTwice: making the same thing again gives the same thing.
func TestHelpersAskTwice(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t)
	group, issuer := cloud.ResourceGroup(t, "shop"), cloud.Issuer(t, "cluster")
	if again := cloud.ResourceGroup(t, "shop"); again != group {
		t.Errorf("%+v, then %+v", group, again)
	}
	if again := cloud.Issuer(t, "cluster"); again != issuer {
		t.Errorf("%+v, then %+v", issuer, again)
	}
	identity, vault := group.Identity(t, "orders"), group.Vault(t, "orders-vault")
	if again := group.Identity(t, "orders"); again != identity {
		t.Errorf("%+v, then %+v", identity, again)
	}
	if again := group.Vault(t, "orders-vault"); again != vault {
		t.Errorf("%+v, then %+v", vault, again)
	}
	if !strings.HasPrefix(identity.ResourceID, group.ResourceID+"/") || !strings.HasPrefix(vault.ResourceID, group.ResourceID+"/") {
		t.Errorf("%s and %s are not in %s", identity.ResourceID, vault.ResourceID, group.ResourceID)
	}
	for range 2 {
		cloud.Secret(t, vault, "s", "1")
		cloud.Federate(t, identity, issuer, "system:serviceaccount:shop:orders")
	}
	// By name, by GUID, by ID: one role, one assignment.
	first := cloud.Assign(t, identity.PrincipalID, "Reader", group.ResourceID)
	for _, role := range []string{"Reader", "reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7",
		"/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"} {
		if again := cloud.Assign(t, identity.PrincipalID, role, group.ResourceID); again != first {
			t.Errorf("%s: %s, then %s", role, first, again)
		}
	}
}

// TestHelpersFail: a helper that fails says what the cloud said.
func TestHelpersFail(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t)
	fake := newT()
	defer fake.finish()
	identity, vault := cloud.Identity(t, "orders"), cloud.Vault(t, "greetings")
	for name, test := range map[string]struct {
		f    func()
		want string
	}{
		"a vault's name":     {func() { cloud.Vault(fake, "x") }, "VaultNameNotValid"},
		"an unknown role":    {func() { cloud.Assign(fake, identity.PrincipalID, "Reeder", vault.ResourceID) }, `no role "Reeder"`},
		"an unknown GUID":    {func() { cloud.Assign(fake, identity.PrincipalID, cloud.TenantID, vault.ResourceID) }, "RoleDefinitionDoesNotExist"},
		"a client ID":        {func() { cloud.Assign(fake, identity.ClientID, "Reader", vault.ResourceID) }, identity.PrincipalID},
		"a scope":            {func() { cloud.Assign(fake, identity.PrincipalID, "Reader", "/nowhere") }, "RESPONSE 4"},
		"a secret's name":    {func() { cloud.Secret(fake, vault, "a b", "") }, "BadParameter"},
		"why, without error": {func() { cloud.Why(fake, nil) }, "there is no error"},
		"why, of another":    {func() { cloud.Why(fake, io.EOF) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			if message := fake.failure(test.f); !strings.Contains(message, test.want) {
				t.Errorf("failed with %q, want %s", message, test.want)
			}
		})
	}
}

// TestStrictAzure: the whole journey without anything that is not Azure's.
func TestStrictAzure(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t, lanyardtest.WithStrictAzure())
	vault, identity := cloud.Vault(t, "greetings"), cloud.Identity(t, "orders")
	cloud.Secret(t, vault, "greeting", "hello")
	cloud.Assign(t, identity.PrincipalID, "Key Vault Secrets User", vault.ResourceID)
	issuer := cloud.Issuer(t, "cluster")
	cloud.Federate(t, identity, issuer, "system:serviceaccount:shop:orders")
	got, err := readSecret(t.Context(), vault.URL, "greeting", identity.WorkloadCredential(issuer, "shop", "orders"), cloud.ClientOptions())
	if err != nil || got != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	_, err = identity.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
	refused(t, err, http.StatusBadRequest, "AADSTS70003")
}

// TestRehearsal: what takes its time on Azure takes it here, and nobody waits.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	began := time.Now() // and the test takes no time of the cloud's
	cloud := lanyardtest.New(t, lanyardtest.WithNow(func() time.Time { return began }),
		lanyardtest.WithRehearsal("credentialPropagation", "roleAssignmentLag=30s"))
	vault, identity := cloud.Vault(t, "greetings"), cloud.Identity(t, "orders")
	issuer := cloud.Issuer(t, "cluster")
	cloud.Federate(t, identity, issuer, "system:serviceaccount:shop:orders")
	read := func() error {
		_, err := readSecret(t.Context(), vault.URL, "greeting", identity.WorkloadCredential(issuer, "shop", "orders"), cloud.ClientOptions())
		return err
	}
	refused(t, read(), http.StatusBadRequest, "AADSTS70021")
	cloud.Advance(2*time.Minute - time.Second)
	refused(t, read(), http.StatusBadRequest, "AADSTS70021")
	cloud.Advance(time.Second)
	refused(t, read(), http.StatusForbidden, "Forbidden")
	cloud.Assign(t, identity.PrincipalID, "Key Vault Secrets User", vault.ResourceID)
	refused(t, read(), http.StatusForbidden, "Forbidden")
	cloud.Advance(30 * time.Second)
	refused(t, read(), http.StatusNotFound, "SecretNotFound")
}

// TestTime: the cloud's clock is what tokens go by, and the credentials with it.
func TestTime(t *testing.T) {
	t.Parallel()
	began := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	cloud := lanyardtest.New(t, lanyardtest.WithNow(func() time.Time { return began }))
	if now := cloud.Now(); !now.Equal(began) {
		t.Errorf("it is %s, want %s", now, began)
	}
	vault, identity := cloud.Vault(t, "greetings"), cloud.Identity(t, "orders")
	cloud.Secret(t, vault, "greeting", "hello")
	cloud.Assign(t, identity.PrincipalID, "Key Vault Secrets User", vault.ResourceID)
	credential := identity.Credential()
	read := func() error {
		_, err := readSecret(t.Context(), vault.URL, "greeting", credential, cloud.ClientOptions())
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	options := policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}
	token, err := credential.GetToken(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	cloud.Advance(time.Minute)
	if again, err := credential.GetToken(t.Context(), options); err != nil || again != token {
		t.Errorf("a token that is good for long was not kept: %v", err)
	}
	cloud.Advance(30 * 24 * time.Hour) // longer than certificates last, too
	if got := cloud.Now().Sub(began); got != 30*24*time.Hour+time.Minute {
		t.Errorf("the clock went %s ahead", got)
	}
	if again, err := credential.GetToken(t.Context(), options); err != nil || again == token {
		t.Errorf("a token that had expired was given out: %v", err)
	}
	if err := read(); err != nil {
		t.Error(err)
	}
	last := cloud.Audit(t)
	if got := last[len(last)-1].Time; !got.Equal(cloud.Now()) {
		t.Errorf("the last record is of %s, and it is %s", got, cloud.Now())
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("time went back")
			}
		}()
		cloud.Advance(-time.Second)
	}()
}

// TestClaims: a client that answers a challenge gets a new token, whatever is
// kept.
func TestClaims(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t)
	operator := cloud.Operator()
	options := policy.TokenRequestOptions{Scopes: []string{cloud.Endpoints.ResourceManager + "/.default"}, TenantID: cloud.TenantID}
	first, err := operator.GetToken(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	options.Claims = `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`
	second, err := operator.GetToken(t.Context(), options)
	if err != nil || second == first {
		t.Errorf("the challenged token was given again: %v", err)
	}
	options.TenantID = "11111111-1111-1111-1111-111111111111"
	_, err = operator.GetToken(t.Context(), options)
	refused(t, err, http.StatusBadRequest, "AADSTS90002")
	if _, err := operator.GetToken(t.Context(), policy.TokenRequestOptions{}); err == nil {
		t.Error("a token for no scope")
	}
}

// TestEnd: when the test is over nothing is left, and its log is told only if it
// has failed.
func TestEnd(t *testing.T) {
	t.Parallel()
	for _, failed := range []bool{false, true} {
		t.Run(fmt.Sprintf("failed %t", failed), func(t *testing.T) {
			t.Parallel()
			fake := newT()
			cloud := lanyardtest.New(fake)
			cloud.Identity(fake, "orders")
			if failed {
				fake.Fail()
			}
			fake.finish()
			if fake.Failed() != failed {
				t.Errorf("ending failed: %s", fake.logged())
			}
			if told := strings.Contains(fake.logged(), "path=/subscriptions/"+cloud.SubscriptionID); told != failed {
				t.Errorf("failed %t, and the log says %q", failed, fake.logged())
			}
			if strings.Contains(fake.logged(), cloud.Bootstrap.ClientSecret) {
				t.Error("the log has the operator's secret")
			}
			for _, dir := range fake.dirs {
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left: %v", dir, err)
				}
			}
			if response, err := cloud.HTTPClient().Get(cloud.Endpoints.ResourceManager); err == nil {
				response.Body.Close()
				t.Error("the cloud still answers")
			}
		})
	}
}

// TestStartFails: what went wrong is the test's failure.
func TestStartFails(t *testing.T) {
	t.Parallel()
	fake := newT()
	defer fake.finish()
	fake.cancel()
	if message := fake.failure(func() { lanyardtest.New(fake) }); !strings.Contains(message, context.Canceled.Error()) {
		t.Errorf("failed with %q", message)
	}
}

func TestWithLogger(t *testing.T) {
	t.Parallel()
	var logs standin.Log
	fake := newT()
	cloud := lanyardtest.New(fake, lanyardtest.WithLogger(slog.New(slog.NewTextHandler(&logs, nil))))
	cloud.Identity(fake, "orders")
	fake.Fail()
	fake.finish()
	if !strings.Contains(logs.String(), "userAssignedIdentities/orders") || strings.Contains(fake.logged(), "orders") {
		t.Errorf("the logger has %q, the test's log %q", logs.String(), fake.logged())
	}
}
