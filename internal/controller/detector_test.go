package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// testPod is a pod that asks for the webhook, as the API server keeps it.
func testPod(namespace, name string, change func(pod map[string]any)) map[string]any {
	p := map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"namespace": namespace, "name": name, "uid": "uid-" + name, "labels": map[string]any{workloadidentity.UseLabel: "true"}},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "a", "image": "i"}}},
		"status":   map[string]any{"phase": "Running"},
	}
	if change != nil {
		change(p)
	}
	return p
}

func withToken(volume, path, audience string) func(map[string]any) {
	return func(p map[string]any) {
		p["spec"].(map[string]any)["volumes"] = []any{map[string]any{"name": volume, "projected": map[string]any{"sources": []any{
			map[string]any{"serviceAccountToken": map[string]any{"path": path, "audience": audience}}}}}}
	}
}

func podPath(namespace, name string) string {
	return "/api/v1/namespaces/" + namespace + "/pods/" + name
}

// TestDetector: pods that ask and have nothing are found, whenever they were
// made, until they are gone, have ended or have it.
func TestDetector(t *testing.T) {
	api := cluster(t)
	for name, change := range map[string]func(map[string]any){
		"mutated":     withToken(workloadidentity.VolumeNamePrefix+"1", "token/azure-identity-token", "api://AzureADTokenExchange"),
		"by-itself":   withToken("mine", "token", "api://AzureADTokenExchange"),
		"old-release": withToken("azure-identity-token", "azure-identity-token", "api://AzureADTokenExchange"),
		"binding":     withToken("mine", "token", "api://AKSIdentityBinding"),
		"bare":        nil,
		"pending":     func(p map[string]any) { p["status"] = map[string]any{"phase": "Pending"} },
		"other-token": withToken("mine", "token", "vault"),
		"succeeded":   func(p map[string]any) { p["status"] = map[string]any{"phase": "Succeeded"} },
		"failed":      func(p map[string]any) { p["status"] = map[string]any{"phase": "Failed"} },
		"deleted":     func(p map[string]any) { p["metadata"].(map[string]any)["deletionTimestamp"] = "2026-03-01T12:00:00Z" },
		"not-asked":   func(p map[string]any) { p["metadata"].(map[string]any)["labels"] = map[string]any{"a": "b"} },
		"static": func(p map[string]any) {
			p["metadata"].(map[string]any)["annotations"] = map[string]any{workloadidentity.MirrorAnnotation: "9a0b"}
		},
	} {
		api.put(podPath("ns", name), testPod("ns", name, change))
	}
	own := func(p map[string]any) {
		p["metadata"].(map[string]any)["labels"].(map[string]any)[workloadidentity.SystemLabel] = "true"
	}
	api.put(podPath("azwi", "own"), testPod("azwi", "own", own))
	api.put(podPath("other", "system-elsewhere"), testPod("other", "system-elsewhere", own))
	config := testConfig(t, api)
	config.Detect, config.Instance = true, "webhook-1"
	config.Settings.CustomToken = &workloadidentity.CustomTokenEndpoint{AnnotationSuffix: "x", Audience: "api://AKSIdentityBinding"}
	w := start(t, api, config)
	found := func(want ...string) {
		t.Helper()
		eventually(t, func() error {
			list, ok := w.detector.unmutated()
			var names []string
			for _, p := range list {
				names = append(names, p.Name)
			}
			slices.Sort(names)
			if !ok || !slices.Equal(names, want) {
				return fmt.Errorf("%q, want %q", names, want)
			}
			_, metrics := w.plain(t, "metrics", "/metrics")
			if !strings.Contains(metrics, fmt.Sprintf("lanyard_webhook_unmutated_pods %d\n", len(want))) {
				return fmt.Errorf("the metric does not say %d", len(want))
			}
			return nil
		})
	}
	found("bare", "other-token", "pending", "system-elsewhere")
	eventually(t, func() error {
		api.mu.Lock()
		defer api.mu.Unlock()
		if len(api.watches) < 4 {
			return fmt.Errorf("%d watches", len(api.watches))
		}
		return nil
	})
	api.put(podPath("ns", "late"), testPod("ns", "late", nil))
	found("bare", "late", "other-token", "pending", "system-elsewhere")
	api.put(podPath("ns", "bare"), testPod("ns", "bare", func(p map[string]any) { p["status"] = map[string]any{"phase": "Succeeded"} }))
	api.remove(podPath("ns", "late"))
	api.remove(podPath("ns", "pending"))
	found("other-token", "system-elsewhere")
}

// TestDetectorsEvents: one event a pod, among all replicas.
func TestDetectorsEvents(t *testing.T) {
	api := cluster(t)
	api.put(podPath("ns", "bare"), testPod("ns", "bare", nil))
	config := testConfig(t, api)
	config.Detect, config.Instance = true, "webhook-1"
	const events = "/apis/events.k8s.io/v1/namespaces/ns/events"
	for range 2 {
		start(t, api, config)
	}
	eventually(t, func() error {
		if n := api.written(events); n != 2 {
			return fmt.Errorf("%d were tried", n)
		}
		return nil
	})
	api.mu.Lock()
	defer api.mu.Unlock()
	var made []map[string]any
	for _, path := range slices.Sorted(maps.Keys(api.objects)) {
		if strings.HasPrefix(path, events) {
			made = append(made, api.objects[path])
		}
	}
	if len(made) != 1 {
		t.Fatalf("%d events", len(made))
	}
	e := made[0]
	want := map[string]any{"apiVersion": "v1", "kind": "Pod", "namespace": "ns", "name": "bare", "uid": "uid-bare"}
	if diff := cmp.Diff(want, e["regarding"]); diff != "" {
		t.Errorf("regarding (-want +got):\n%s", diff)
	}
	for _, field := range []string{"eventTime", "reportingController", "reportingInstance", "action", "reason", "type", "note"} {
		if text, _ := e[field].(string); text == "" || len(text) > 1024 {
			t.Errorf("%s is %v", field, e[field])
		}
	}
}

// TestOwnPodsNeedNoWebhook: they are let through untouched even by a webhook that
// knows nothing yet, so that it can be started by itself.
func TestOwnPodsNeedNoWebhook(t *testing.T) {
	api := newFakeAPI(t)
	api.put(configPath, configuration())
	for _, path := range []string{"/version", "/api/v1/serviceaccounts"} {
		api.setFail(path, 503)
	}
	w := launch(t, testConfig(t, api))
	eventually(t, func() error { // the certificate is in order, and nothing else
		if err := w.ready(); err == nil || strings.Contains(err.Error(), "certificate") {
			return fmt.Errorf("/readyz: %w", err)
		}
		return nil
	})
	w.trust(t, bundleOf(t, api, 0))
	in := func(namespace, label string) response {
		r := strings.Replace(review("app", 1), `"namespace":"ns","operation"`, `"namespace":"`+namespace+`","operation"`, 1)
		return w.post(t, strings.Replace(r, `"app":"web"`, `"`+label+`":"true"`, 1))
	}
	got := in("azwi", workloadidentity.SystemLabel)
	if !got.Allowed || got.Patch != nil || len(got.Warnings) != 1 {
		t.Errorf("its own pod: %+v", got)
	}
	if got := in("azwi", "app"); got.Allowed || got.Status.Code != 503 {
		t.Errorf("a pod beside it: %+v", got)
	}
	if got := in("ns", workloadidentity.SystemLabel); got.Allowed || got.Status.Code != 503 {
		t.Errorf("a pod that says it is its own: %+v", got)
	}
}
