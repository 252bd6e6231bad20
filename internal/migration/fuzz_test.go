package migration

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
	"github.com/lanyard-id/lanyard/internal/podidentity"
)

// FuzzPlan: workloads of any shape, of people and controllers that nobody here knows,
// end in a plan; what is moved has what the webhook looks for, and runs as the service
// account that the identity is to trust; what was read is as it was.
func FuzzPlan(f *testing.F) {
	for _, seed := range []string{
		deployment("web", "web", "serviceAccountName: app, containers: [{name: main}]"),
		deployment("web", "web", ""),
		"{kind: Job, metadata: {name: once}, spec: {selector: {}, template: {metadata: {labels: {aadpodidbinding: web, controller-uid: u}}, spec: {}}}}",
		"{kind: CronJob, metadata: {name: nightly}, spec: {jobTemplate: {spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}}}",
		"{kind: Pod, metadata: {name: alone, labels: {aadpodidbinding: web}}, spec: {volumes: [1, {name: kube-api-access-x}], containers: [null, {volumeMounts: {}}]}}",
		"{kind: Pod, metadata: {name: alone, labels: {aadpodidbinding: web}, ownerReferences: [{controller: true, uid: x}, 3]}}",
		"{kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {aadpodidbinding: web, x: 1}, annotations: null}, spec: {serviceAccountName: [], os: 1}}}}",
		"{kind: Deployment, metadata: 1, spec: []}",
	} {
		f.Add(seed)
	}
	objects := podidentity.Objects{
		Identities: []v1.AzureIdentity{{Spec: v1.AzureIdentitySpec{ClientID: ordersClient, ResourceID: ordersID}}},
		Bindings:   []v1.AzureIdentityBinding{{Spec: v1.AzureIdentityBindingSpec{AzureIdentity: "orders", Selector: "web"}}},
	}
	objects.Identities[0].Namespace, objects.Identities[0].Name = "shop", "orders"
	objects.Bindings[0].Namespace, objects.Bindings[0].Name = "shop", "orders"
	app := unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "shop", "name": "app"}}}
	f.Fuzz(func(t *testing.T, text string) {
		// Objects come as JSON, with whole numbers as such.
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			return
		}
		var o unstructured.Unstructured
		if o.UnmarshalJSON(raw) != nil || o.IsList() {
			return
		}
		o.SetNamespace("shop")
		before, err := json.Marshal(o.Object)
		if err != nil {
			return
		}
		c := Cluster{Objects: objects, ServiceAccounts: []unstructured.Unstructured{app}}
		if o.GetKind() == "Pod" {
			c.Pods = append(c.Pods, o)
		} else {
			c.Workloads = append(c.Workloads, o)
		}
		for _, w := range New(c, Options{Namespaced: true}).Workloads {
			if w.State != Move {
				continue
			}
			moved := template(w.Manifests.Workload)
			labels, annotations := texts(moved, "metadata", "labels"), texts(moved, "metadata", "annotations")
			if labels["azure.workload.identity/use"] != "true" || annotations["azure.workload.identity/inject-proxy-sidecar"] != "true" ||
				accountOf(&Workload{object: w.Manifests.Workload}) != w.ServiceAccount || w.Manifests.ServiceAccount.GetName() != w.ServiceAccount {
				t.Errorf("%s is moved by %v and %v", text, w.Manifests.Workload.Object, w.Manifests.ServiceAccount.Object)
			}
			if w.Manifests.Workload.Object["status"] != nil || w.Manifests.ServiceAccount.GetAnnotations()["azure.workload.identity/client-id"] != ordersClient {
				t.Errorf("%s is moved by %v and %v", text, w.Manifests.Workload.Object, w.Manifests.ServiceAccount.Object)
			}
			if _, err := yaml.Marshal(w.Manifests.Workload.Object); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		if after, err := json.Marshal(o.Object); err != nil || string(after) != string(before) {
			t.Errorf("what was read has changed to %s (%v)", after, err)
		}
	})
}
