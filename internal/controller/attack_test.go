package controller

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// Anybody in the cluster may send the webhook what only the API server should, and
// whoever may make pods and service accounts has them come from there.

func synced(t *testing.T, r *running) {
	t.Helper()
	eventually(t, func() error {
		if !r.accounts.synced.Load() {
			return fmt.Errorf("the service accounts are not in memory")
		}
		return nil
	})
}

// TestEndlessReviewsFillNoMemory: one pod sends many reviews of the largest size,
// each but for its last byte. What is too many is refused at once, and the API server
// is still answered, about large pods too.
func TestEndlessReviewsFillNoMemory(t *testing.T) {
	api := cluster(t)
	w := start(t, api, testConfig(t, api))
	synced(t, w)
	config := w.client.Transport.(*http.Transport).TLSClientConfig
	pad := []byte(strings.Repeat(" ", 1<<20))
	open := make([]net.Conn, 0, 8)
	dialer := &tls.Dialer{NetDialer: standin.Neighbour(t), Config: config}
	for range cap(open) {
		conn, err := dialer.DialContext(t.Context(), "tcp", w.Addr("webhook").String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		open = append(open, conn)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", MutatePath, len(pad)*6+1)
		for range 6 {
			if _, err := conn.Write(pad); err != nil {
				break // it was refused
			}
		}
	}
	taken := func() int {
		w.bodies.mu.Lock()
		defer w.bodies.mu.Unlock()
		return w.bodies.all
	}
	eventually(t, func() error {
		if n := taken(); n < 3*len(pad)*6 {
			return fmt.Errorf("%d bytes are taken", n)
		}
		return nil
	})
	if n := taken(); n > 24<<20 {
		t.Errorf("%d bytes are taken by one address", n)
	}
	large := strings.Replace(review("app", 2), `"labels":`, `"annotations":{"large":"`+strings.Repeat("x", 200<<10)+`"},"labels":`, 1)
	if got := w.post(t, large); !got.Allowed || len(got.Patch) == 0 {
		t.Errorf("a large pod meanwhile: %+v", got)
	}
	for _, conn := range open {
		conn.Close()
	}
	eventually(t, func() error {
		if n := taken(); n != 0 {
			return fmt.Errorf("%d bytes are taken when nobody is there", n)
		}
		return nil
	})
}

// TestPathsAreNoNames: a service account's name that is a path would show another
// namespace's identity, or whatever else the webhook may read.
func TestPathsAreNoNames(t *testing.T) {
	api := cluster(t)
	api.put("/api/v1/namespaces/other/serviceaccounts/admin", map[string]any{
		"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{
			"namespace": "other", "name": "admin", "annotations": map[string]any{workloadidentity.ClientIDAnnotation: clientID},
		}})
	w := start(t, api, testConfig(t, api))
	for _, name := range []string{
		"../../other/serviceaccounts/admin", "x/../../../other/serviceaccounts/admin", "..", ".", "%2e%2e", "a/b", strings.Repeat("a", 300),
	} {
		if got := w.post(t, review(name, 1)); got.Allowed || got.Status.Code != http.StatusBadRequest || strings.Contains(string(got.Patch), clientID) {
			t.Errorf("%.40q: %+v", name, got)
		}
	}
	forged := strings.ReplaceAll(review("admin", 1), `"namespace":"ns"`, `"namespace":"ns/../other"`)
	if got := w.post(t, forged); got.Allowed || got.Status.Code != http.StatusBadRequest {
		t.Errorf("a namespace that is a path: %+v", got)
	}
}

// TestQuestionsAreBounded: pods whose service account is not known wait for the API
// server, and only so many of them. Those whose account is known don't.
func TestQuestionsAreBounded(t *testing.T) {
	api := cluster(t)
	w := start(t, api, testConfig(t, api))
	synced(t, w)
	for range maxQuestions {
		w.accounts.asking <- struct{}{}
	}
	if got := w.post(t, review("nobody", 1)); got.Allowed || got.Status.Code != http.StatusTooManyRequests {
		t.Errorf("one more: %+v", got)
	}
	if got := w.post(t, review("app", 1)); !got.Allowed {
		t.Errorf("a known account: %+v", got)
	}
}

// TestForgedNamespacesAreNoLabels: metrics have a series for a namespace, of some
// hundred at most. Whoever makes namespaces up does not use these up.
func TestForgedNamespacesAreNoLabels(t *testing.T) {
	api := cluster(t)
	w := start(t, api, testConfig(t, api))
	synced(t, w)
	for i := range 20 {
		w.post(t, strings.ReplaceAll(review("app", 1), `"namespace":"ns"`, fmt.Sprintf(`"namespace":"forged-%d"`, i)))
	}
	w.post(t, review("app", 1))
	_, text := w.plain(t, "metrics", "/metrics")
	if strings.Contains(text, "forged-") {
		t.Error("a namespace that is not there is a label")
	}
	if !strings.Contains(text, `azwi_mutation_request_count{namespace="ns"`) {
		t.Error("one that is there is none")
	}
}

// TestLongAnnotationsAreCut: every service account is remembered, and anybody's
// annotations may have a quarter of a megabyte.
func TestLongAnnotationsAreCut(t *testing.T) {
	api := cluster(t)
	long := strings.Repeat("x", 200<<10)
	api.put(accountsPath+"long", serviceAccount("long", map[string]any{
		workloadidentity.ClientIDAnnotation: long, workloadidentity.TenantIDAnnotation: long, workloadidentity.ExpirationAnnotation: long,
	}))
	w := start(t, api, testConfig(t, api))
	synced(t, w)
	w.accounts.mu.RLock()
	a := w.accounts.known[accountKey{"ns", "long"}]
	w.accounts.mu.RUnlock()
	for _, kept := range []string{a.clientID, a.tenantID, a.expiration} {
		if len(kept) == 0 || len(kept) > 512 {
			t.Errorf("%d bytes are kept of an annotation", len(kept))
		}
	}
	// Nor while a list of them is taken.
	object, err := slim(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{workloadidentity.ClientIDAnnotation: long}}})
	if err != nil || len(object.(*metav1.PartialObjectMetadata).Annotations[workloadidentity.ClientIDAnnotation]) > 512 {
		t.Errorf("a list keeps %+.80v: %v", object, err)
	}
	if got := w.post(t, review("long", 1)); got.Allowed {
		t.Errorf("it has no valid expiration: %+v", got)
	}
	raw, err := json.Marshal(w.post(t, strings.Replace(review("long", 1), `"labels":`, `"annotations":{"`+workloadidentity.ExpirationAnnotation+`":"3600"},"labels":`, 1)))
	if err != nil || len(raw) > 64<<10 {
		t.Errorf("the answer has %d bytes: %v", len(raw), err)
	}
}

// TestUntoldIsNoMistake: a cloud that does not tell of all credentials gives no ground
// for a warning that one is missing.
func TestUntoldIsNoMistake(t *testing.T) {
	for _, incomplete := range []bool{false, true} {
		cloud, api := newFakeCloud(t), cluster(t)
		config := cloud.linked(t, api)
		cloud.lines[1].Cluster.Incomplete = incomplete
		w := start(t, api, config, cloud.reach)
		eventually(t, func() error {
			if state := w.link.client.Load().State(); !state.Synced() {
				return fmt.Errorf("the cloud has not been heard")
			}
			return nil
		})
		if got := w.post(t, review("app", 1)); !got.Allowed || (len(got.Warnings) == 0) != incomplete {
			t.Errorf("incomplete %v: %+v", incomplete, got.Warnings)
		}
	}
}
