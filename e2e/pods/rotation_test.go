package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// TestKeyRotation rotates the keys of the cluster's API server while a pod reads:
// the new key is published beside the old one, then it signs, then the old one
// goes. The agent reports each change, the cloud publishes it, and no reading
// fails; pods made before and after go on.
func TestKeyRotation(t *testing.T) {
	c := world.Get(t)
	n, s := newApp(t)
	steady := func(name string) {
		n.Apply(pod(name, podSpec{account: "app", containers: []string{container("main", steadyImage, s.vault, "greeting")}}))
		waitReads(t, n, name, "main", 10)
	}
	steady("before")
	private, public, err := c.NewServiceAccountKey()
	if err != nil {
		t.Fatal(err)
	}
	restart := func(change func(o *kubetest.APIServerOptions)) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.RestartAPIServer(ctx, change); err != nil {
			t.Fatal(err)
		}
	}
	old := publishedKeys(t, n)
	restart(func(o *kubetest.APIServerOptions) { o.Keys = append(o.Keys, public) })
	n.Eventually("the cloud to publish the new key", func(context.Context) (bool, string) {
		now := publishedKeys(t, n)
		return len(now) == len(old)+1, fmt.Sprint(now)
	})
	restart(func(o *kubetest.APIServerOptions) { o.SigningKey = private })
	steady("after")
	waitReads(t, n, "before", "main", 10)
	for _, name := range []string{"before", "after"} {
		if last := lastTally(t, n, name, "main"); last.Failures > 0 {
			t.Errorf("pod %s: %+v", name, firstFailure(tallies(t, n, name, "main")))
		}
	}
}

// publishedKeys are the key IDs that the cluster's issuer publishes.
func publishedKeys(t testing.TB, n *kubetest.Namespace) []string {
	t.Helper()
	var set struct {
		Keys []struct{ KID string }
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(world.issuer, "/")+"/openid/v1/jwks", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := world.azure.transport.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("the issuer's keys: %s %v", answer.Status, err)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k.KID)
	}
	slices.Sort(ids)
	return ids
}
