package controller

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/lanyard-id/lanyard/internal/trust"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

const trustPath = "/api/v1/namespaces/ns/configmaps/" + workloadidentity.TrustConfigMap

// TestTrustOfANamespace: the first pod of a namespace, and not a dry run, has the
// config map made before it is let in; later ones find it.
func TestTrustOfANamespace(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	w := start(t, api, cloud.config(t, api), cloud.reach)
	dry := strings.Replace(review("app", 1), `"dryRun":false`, `"dryRun":true`, 1)
	if got := w.post(t, dry); !got.Allowed || api.get(trustPath) != nil {
		t.Errorf("a dry run: %+v, %v", got, api.get(trustPath))
	}
	none := strings.Replace(review("app", 1), `"labels":`, `"annotations":{"lanyard.dev/trust":"none"},"labels":`, 1)
	if got := w.post(t, none); !got.Allowed || api.get(trustPath) != nil {
		t.Errorf("a pod that needs no trust: %+v, %v", got, api.get(trustPath))
	}
	var pods sync.WaitGroup
	for range 5 {
		pods.Go(func() {
			if got := w.post(t, review("app", 1)); !got.Allowed || api.get(trustPath) == nil {
				t.Errorf("%+v", got)
			}
		})
	}
	pods.Wait()
	if n := api.written("/api/v1/namespaces/ns/configmaps"); n != 1 {
		t.Errorf("%d writes", n)
	}
	made := api.get(trustPath)
	meta := made["metadata"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"app.kubernetes.io/managed-by": "lanyard-agent", "app.kubernetes.io/component": "trust"}, meta["labels"]); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	data, binary := made["data"].(map[string]any), made["binaryData"].(map[string]any)
	if got := slices.Sorted(maps.Keys(data)); !slices.Equal(got, []string{"ca-bundle.crt", "ca.crt"}) || data["ca.crt"] != string(cloud.ca.pem) {
		t.Errorf("data %q, authority %v", got, data["ca.crt"])
	}
	roots, err := trust.PublicRoots()
	if err != nil {
		t.Fatal(err)
	}
	want := append(roots, cloud.ca.cert)
	bundle, err := trust.Parse([]byte(data["ca-bundle.crt"].(string)))
	if err != nil || !slices.EqualFunc(want, bundle, (*x509.Certificate).Equal) {
		t.Errorf("the bundle has %d certificates, want %d; %v", len(bundle), len(want), err)
	}
	raw, err := base64.StdEncoding.DecodeString(binary["truststore.p12"].(string))
	if err != nil {
		t.Fatal(err)
	}
	store, err := pkcs12.DecodeTrustStore(raw, "")
	if err != nil || !slices.EqualFunc(want, store, (*x509.Certificate).Equal) {
		t.Errorf("the trust store has %d certificates, want %d; %v", len(store), len(want), err)
	}
	hash, err := trust.SubjectHash(cloud.ca.cert)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.post(t, review("app", 1)); !bytes.Contains(got.Patch, []byte(`"path":"trust/certs/`+hash+`.0"`)) {
		t.Errorf("OpenSSL does not find %s: %s", hash, got.Patch)
	}
	// Deleted by someone, it is made anew for the next pod.
	eventually(t, func() error { return w.knows("ns", true) })
	api.remove(trustPath)
	eventually(t, func() error { return w.knows("ns", false) })
	if got := w.post(t, review("app", 1)); !got.Allowed || api.get(trustPath) == nil {
		t.Errorf("%+v", got)
	}
}

// knows tells whether the config map of a namespace is known.
func (r *running) knows(namespace string, want bool) error {
	r.Webhook.trust.mu.RLock()
	defer r.Webhook.trust.mu.RUnlock()
	if _, ok := r.Webhook.trust.known[namespace]; ok != want {
		return fmt.Errorf("known: %v", ok)
	}
	return nil
}

// TestTrustOfReplicas: two replicas at one namespace make one config map.
func TestTrustOfReplicas(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	config := cloud.config(t, api)
	one, two := start(t, api, config, cloud.reach), start(t, api, config, cloud.reach)
	for _, w := range []*running{one, two} {
		w.client.CloseIdleConnections()
		w.trust(t, bundleOf(t, api, 0))
		if got := w.post(t, review("app", 1)); !got.Allowed {
			t.Errorf("%+v", got)
		}
	}
	if api.get(trustPath)["metadata"].(map[string]any)["resourceVersion"] == "" || api.written(trustPath) != 0 {
		t.Error("the second replica wrote what the first had made")
	}
}

// TestTrustOfSomeoneElse: a config map that is not the webhook's is left alone,
// and pods do not get their trust from it.
func TestTrustOfSomeoneElse(t *testing.T) {
	for _, before := range []bool{true, false} { // the webhook's start
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			cloud, api := newFakeCloud(t), cluster(t)
			theirs := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": "ns", "name": workloadidentity.TrustConfigMap}, "data": map[string]any{"ca.crt": "x"}}
			if before {
				api.put(trustPath, theirs)
			}
			w := start(t, api, cloud.config(t, api), cloud.reach)
			<-w.Webhook.trust.synced
			if !before {
				api.mu.Lock()
				api.objects[trustPath] = theirs // and the watch is late
				api.mu.Unlock()
			}
			got := w.post(t, review("app", 1))
			if got.Allowed || got.Status.Code != http.StatusConflict || !strings.Contains(got.Status.Message, "ns/azure-wi-lanyard-trust is not the webhook's") {
				t.Errorf("%+v", got)
			}
			if api.get(trustPath)["data"].(map[string]any)["ca.crt"] != "x" {
				t.Error("it was written")
			}
		})
	}
}

// TestTrustCannotBeMade: the pod would never start. It is refused, and told why.
func TestTrustCannotBeMade(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	w := start(t, api, cloud.config(t, api), cloud.reach)
	api.setFail("/api/v1/namespaces/ns/configmaps", 403)
	got := w.post(t, review("app", 1))
	if got.Allowed || got.Status.Code != http.StatusInternalServerError || !strings.Contains(got.Status.Message, "ns/azure-wi-lanyard-trust") || strings.Contains(got.Status.Message, "out of order") {
		t.Errorf("%+v", got)
	}
	api.setFail("/api/v1/namespaces/ns/configmaps", 0)
	if got := w.post(t, review("app", 1)); !got.Allowed {
		t.Errorf("%+v", got)
	}
}

// TestAuthoritySucceeds: another authority in the file reaches the config maps
// that there are, new pods, and the check of the route; nothing is restarted.
func TestAuthoritySucceeds(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	stale := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"ca.crt": "old", "mine": "kept"}, "metadata": map[string]any{
		"namespace": "other", "name": workloadidentity.TrustConfigMap, "labels": map[string]any{managedByLabel: managedBy, "mine": "kept"}}}
	const otherPath = "/api/v1/namespaces/other/configmaps/" + workloadidentity.TrustConfigMap
	api.put(otherPath, stale)
	config := cloud.config(t, api)
	config.Settings.Cloud.Trust = []workloadidentity.Language{workloadidentity.LanguageGo}
	w := start(t, api, config, cloud.reach)
	brought := func(pem []byte) func() error {
		return func() error {
			m := api.get(otherPath)
			data := m["data"].(map[string]any)
			if data["ca.crt"] != string(pem) || data["mine"] != "kept" || m["metadata"].(map[string]any)["labels"].(map[string]any)["mine"] != "kept" {
				return fmt.Errorf("%v", m)
			}
			return nil
		}
	}
	eventually(t, brought(cloud.ca.pem)) // at the start: it was of another one
	former := cloud.ca
	next := newCA(t, "The next CA of the tests")
	writeFile(t, config.AuthorityFile, former.pem, []byte("# and the next\n"), next.pem)
	w.authority.again(t.Context())
	both := append(append([]byte{}, former.pem...), next.pem...)
	eventually(t, brought(both))
	cloud.present(next.issue(t, "login-us.microsoftonline.com", "login.lanyard.example"))
	eventually(t, func() error {
		first := w.routes.order[0]
		w.routes.note(t.Context(), first, w.routes.try(t.Context(), first, w.authority.load()))
		return w.routes.check(aliasURL)
	})
	var hashes []string
	for _, ca := range []*fakeCA{former, next} {
		hash, err := trust.SubjectHash(ca.cert)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
	}
	eventually(t, func() error {
		got := w.post(t, review("app", 1))
		for _, hash := range hashes {
			if !bytes.Contains(got.Patch, []byte(hash)) {
				return fmt.Errorf("no %s in %s", hash, got.Patch)
			}
		}
		return nil
	})
	// What is no authority changes nothing.
	for _, bad := range []string{"", "hello", string(former.pem) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		writeFile(t, config.AuthorityFile, []byte(bad))
		w.authority.again(t.Context())
		if got := w.authority.load(); !bytes.Equal(got.pem, both) {
			t.Errorf("%q was taken for an authority", bad)
		}
	}
}

func TestAuthorityFileIsRefused(t *testing.T) {
	cloud := newFakeCloud(t)
	config := cloud.config(t, newFakeAPI(t))
	leaf := trust.EncodePEM([]*x509.Certificate{mustParse(t, cloud.certificate.Certificate[0])})
	for name, content := range map[string][]byte{"no certificate": []byte("hello"), "no authority": leaf, "a key": []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")} {
		writeFile(t, config.AuthorityFile, content)
		if _, err := NewWebhook(config); err == nil || !strings.Contains(err.Error(), config.AuthorityFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	config.AuthorityFile = ""
	if _, err := NewWebhook(config); err == nil || !strings.Contains(err.Error(), "LANYARD_CA_FILE") {
		t.Errorf("no file: %v", err)
	}
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTokenEndpointsAuthority: pods that choose the endpoint wait for its
// authority; others do not.
func TestTokenEndpointsAuthority(t *testing.T) {
	api := cluster(t)
	config := testConfig(t, api)
	const name = "token-proxy-ca"
	path := "/api/v1/namespaces/" + config.Namespace + "/configmaps/" + name
	config.Settings.CustomToken = &workloadidentity.CustomTokenEndpoint{AnnotationSuffix: "identity-binding", Audience: "api://AKSIdentityBinding", CADataConfigMap: name}
	w := start(t, api, config)
	chosen := strings.Replace(review("app", 1), `"labels":`, `"annotations":{"azure.workload.identity/use-identity-binding":"true"},"labels":`, 1)
	if got := w.post(t, chosen); got.Allowed || got.Status.Code != http.StatusServiceUnavailable || !strings.Contains(got.Status.Message, name) {
		t.Errorf("%+v", got)
	}
	if got := w.post(t, review("app", 1)); !got.Allowed {
		t.Errorf("%+v", got)
	}
	ca := newCA(t, "token proxy")
	api.put(path, map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": config.Namespace},
		"data": map[string]any{"ca.crt": string(ca.pem)},
	})
	eventually(t, func() error {
		if got := w.post(t, chosen); !got.Allowed || !bytes.Contains(got.Patch, []byte("AZURE_KUBERNETES_CA_DATA")) {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}
