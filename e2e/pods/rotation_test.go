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

// TestTokenRefresh: the kubelet puts a new service account token into the place of
// the old one, and the application, which is not told, goes on.
func TestTokenRefresh(t *testing.T) {
	n, s := newApp(t)
	n.Apply(pod("app", podSpec{account: "app", containers: []string{container("main", steadyImage, s.vault, "greeting")}}))
	waitReads(t, n, "app", "main", 10)
	old := lastTally(t, n, "app", "main").Token
	if err := n.Cluster.RestartKubelet(n.WaitReady("app").Spec.NodeName); err != nil {
		t.Fatal(err)
	}
	waitForNewToken(t, n, "app", "main", old)
}

// TestKeyRotation rotates the keys of the cluster's API server while pods read: the
// new key is published beside the old one, then it signs, then pods have tokens of
// it, then the old one goes. The agent reports each change, the cloud publishes it,
// and no reading fails.
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
	var former []string
	restart := func(change func(o *kubetest.APIServerOptions)) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.RestartAPIServer(ctx, change); err != nil {
			t.Fatal(err)
		}
	}
	old := publishedKeys(t)
	restart(func(o *kubetest.APIServerOptions) {
		former = slices.Clone(o.Keys)
		o.Keys = append(o.Keys, public)
	})
	n.Eventually("the cloud to publish the new key", func(context.Context) (bool, string) {
		now := publishedKeys(t)
		return len(now) == len(old)+1, fmt.Sprint(now)
	})
	restart(func(o *kubetest.APIServerOptions) { o.SigningKey = private })
	steady("after")
	before := lastTally(t, n, "before", "main").Token
	for _, node := range c.Nodes() {
		if err := c.RestartKubelet(node); err != nil {
			t.Fatal(err)
		}
	}
	waitForNewToken(t, n, "before", "main", before)
	// Operators wait here until the last token of the old key has expired; pods that
	// are made anew have none.
	for _, deployment := range []string{webhookDeployment, "lanyard-token-proxy"} {
		replacePods(t, n, deployment)
	}
	restart(func(o *kubetest.APIServerOptions) {
		o.Keys = slices.DeleteFunc(o.Keys, func(k string) bool { return slices.Contains(former, k) })
	})
	for _, name := range []string{"before", "after"} {
		waitReads(t, n, name, "main", 10)
	}
}

// publishedKeys are the key IDs that the cluster's issuer publishes.
func publishedKeys(t testing.TB) []string {
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
