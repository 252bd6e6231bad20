package provider

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/token"
)

func clusterURL(sub, name, action string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/rg/providers/Microsoft.Kubernetes/connectedClusters/%s%s?api-version=2024-07-15-preview",
		sub, name, action)
}

// enrolment is the body of an enrolment with a key of its own.
func enrolment(tb testing.TB, issuer, keyID string) string {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	cloudtest.Must(tb, err)
	set, err := token.EncodeKeySet([]token.VerificationKey{{ID: keyID, Algorithm: token.RS256, Public: key.Public()}})
	cloudtest.Must(tb, err)
	return fmt.Sprintf(`{"issuer": %q, "keys": %s, "agentSubjects": ["system:serviceaccount:azure-workload-identity-system:azure-wi-webhook-admin"]}`, issuer, set)
}

func member(v any, names ...string) string {
	for _, name := range names {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

// TestClusterOfAnother: an operator of another tenant writes a cluster that says, in
// every spelling that some reader takes for it, that it has the ID of somebody else's:
// to enrol keys of theirs with its issuer, by which they would be all its workloads,
// and to end it. JSON's names are compared in Go without case, and by all of Unicode's.
func TestClusterOfAnother(t *testing.T) {
	w := newWorld(t, false)
	w.put(groupURL("rg"), `{"location": "westeurope"}`)
	group := fmt.Sprintf("/subscriptions/%s/resourceGroups/rg?api-version=2021-04-01", otherSubID)
	w.send("foreigner", http.MethodPut, group, `{"location": "westeurope"}`).Want(t, http.StatusCreated)

	profile := `"agentPublicKeyCertificate": "", "oidcIssuerProfile": {"enabled": true}`
	victim := w.put(clusterURL(subscriptionID, "victim", ""), `{"location": "westeurope", "properties": {`+profile+`}}`)
	id := member(victim, "properties", "miscellaneousProperties", "clusterId")
	issuer := member(victim, "properties", "oidcIssuerProfile", "issuerUrl")
	w.send("owner", http.MethodPost, clusterURL(subscriptionID, "victim", "/enroll"), enrolment(t, issuer, "good")).Want(t, http.StatusOK)

	for i, name := range []string{"clusterId", "ClusterID", "clu\u017fterId", "CLU\u017fTERID"} {
		url := func(action string) string { return clusterURL(otherSubID, fmt.Sprint("evil", i), action) }
		w.send("foreigner", http.MethodPut, url(""), fmt.Sprintf(`{"location": "westeurope", "properties": {%s, %q: %q}}`, profile, name, id))
		w.send("foreigner", http.MethodPatch, url(""), fmt.Sprintf(`{"properties": {%q: %q}}`, name, id))
		if a := w.send("foreigner", http.MethodPost, url("/enroll"), enrolment(t, issuer, "evil")); a.Status == http.StatusOK {
			t.Errorf("%s: another's cluster was enrolled: %s", name, a.Body)
		}
		if a := w.send("foreigner", http.MethodGet, url(""), ""); member(cloudtest.Decode[map[string]any](t, a), "properties", "miscellaneousProperties", "clusterId") == id {
			t.Errorf("%s: another's cluster is shown: %s", name, a.Body)
		}
		w.send("foreigner", http.MethodDelete, url(""), "")
		keys, ok := w.clusters.Keys(tenantID, issuer)
		if !ok || !slices.Equal(keys.IDs(), []string{"good"}) {
			t.Fatalf("%s: the cluster has the keys %v", name, keys.IDs())
		}
	}
}
