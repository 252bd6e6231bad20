package lanyardtest_test

import (
	"fmt"
	"strings"

	"github.com/lanyard-id/lanyard/lanyardtest"
)

// Whoever asks why a request was refused reads the decision: what was missing,
// and what the caller has instead.
func Example_askingWhy() {
	t := newT() // a test has its own
	defer t.finish()

	cloud := lanyardtest.New(t)
	vault := cloud.Vault(t, "greetings")
	cloud.Secret(t, vault, "greeting", "hello")
	orders := cloud.Identity(t, "orders")
	cloud.Assign(t, orders.PrincipalID, "Key Vault Reader", vault.ResourceID)

	_, err := readSecret(t.Context(), vault.URL, "greeting", orders.Credential(), cloud.ClientOptions())
	why := cloud.Why(t, err)
	fmt.Println(why.Result, why.Action)
	_, roles, _ := strings.Cut(why.Reason, "; ") // after the identifiers, which are random
	fmt.Println(strings.ReplaceAll(roles, vault.ResourceID, "{vault}"))

	decisions := map[string]int{}
	for _, record := range cloud.Audit(t) {
		if record.Kind == "authorization" && record.ObjectID == orders.PrincipalID {
			decisions[record.Result]++
		}
	}
	fmt.Println(decisions)
	// Output:
	// denied Microsoft.KeyVault/vaults/secrets/getSecret/action
	// it has Key Vault Reader at {vault}: does not include it
	// map[denied:1]
}
