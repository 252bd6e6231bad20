package lanyardtest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/lanyard-id/lanyard/lanyardtest"
)

// setUp is what a platform team provides for a shop: two identities, a vault, and
// who may do what. A real one takes a credential, a subscription and
// [lanyardtest.Cloud.ARMClientOptions], and uses the SDK's arm* packages; here
// the helpers do.
func setUp(t testing.TB, cloud *lanyardtest.Cloud) (reader, writer lanyardtest.Identity, vault lanyardtest.Vault) {
	t.Helper()
	shop := cloud.ResourceGroup(t, "shop")
	vault = shop.Vault(t, "shop-vault")
	reader, writer = shop.Identity(t, "reader"), shop.Identity(t, "writer")
	cloud.Assign(t, reader.PrincipalID, "Key Vault Secrets User", vault.ResourceID+"/secrets/price-list")
	cloud.Assign(t, writer.PrincipalID, "Contributor", shop.ResourceID)
	return reader, writer, vault
}

// A platform team proves its set-up before Azure sees it: here, that a role at
// one secret opens one secret, and that a Contributor reads none.
func Example_platformTeam() {
	t := newT() // a test has its own
	defer t.finish()

	cloud := lanyardtest.New(t)
	reader, writer, vault := setUp(t, cloud)
	cloud.Secret(t, vault, "price-list", "apples: 3")
	cloud.Secret(t, vault, "payroll", "not for everyone")

	for _, identity := range []lanyardtest.Identity{reader, writer} {
		for _, name := range []string{"price-list", "payroll"} {
			_, err := readSecret(t.Context(), vault.URL, name, identity.Credential(), cloud.ClientOptions())
			answer := "allowed"
			if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
				answer = fmt.Sprintf("denied with %d", refused.StatusCode)
			}
			fmt.Println(identity.Name, name, answer)
		}
	}
	// Output:
	// reader price-list allowed
	// reader payroll denied with 403
	// writer price-list denied with 403
	// writer payroll denied with 403
}
