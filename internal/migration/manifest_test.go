package migration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// wantYAML compares an object with a manifest.
func wantYAML(t *testing.T, what string, got *unstructured.Unstructured, want string) {
	t.Helper()
	var w map[string]any
	if err := yaml.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(got.Object)
	if err != nil {
		t.Fatal(err)
	}
	var g map[string]any
	if err := yaml.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const server = "uid: u, resourceVersion: '5', generation: 2, creationTimestamp: '2026-01-01T00:00:00Z', selfLink: /x, managedFields: [{manager: kubectl}]"

// TestManifests: the workload gets what the webhook looks for and keeps everything
// else, fields that nobody here knows too; what servers write is left out.
func TestManifests(t *testing.T) {
	f := newCluster(t, azureIdentity("orders", ordersClient, "web"), `
kind: Deployment
metadata: {name: web, `+server+`, finalizers: [example.com/f], labels: {app: web}, annotations: {example.com/mine: "1",
  deployment.kubernetes.io/revision: "3", kubectl.kubernetes.io/last-applied-configuration: "{}"}}
spec:
  replicas: 3
  unknownToday: {a: [1, 2.5, true, null]}
  selector: {matchLabels: {aadpodidbinding: web}}
  template:
    metadata: {creationTimestamp: null, labels: {aadpodidbinding: web, app: web}, annotations: {example.com/note: x}}
    spec: {serviceAccount: app, serviceAccountName: app, hostnameOverride: h, containers: [{name: main, image: i, brandNew: {x: 1}}]}
status: {replicas: 3}
`, `
kind: ServiceAccount
metadata: {name: app, `+server+`, labels: {team: a}, annotations: {example.com/mine: "1", azure.workload.identity/service-account-token-expiration: "7200"}}
imagePullSecrets: [{name: pull}]
automountServiceAccountToken: false
`)
	m := f.one(t, Options{Namespaced: true}).Manifests
	wantYAML(t, "the workload", m.Workload, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, finalizers: [example.com/f], labels: {app: web}, annotations: {example.com/mine: "1"}}
spec:
  replicas: 3
  unknownToday: {a: [1, 2.5, true, null]}
  selector: {matchLabels: {aadpodidbinding: web}}
  template:
    metadata:
      labels: {aadpodidbinding: web, app: web, azure.workload.identity/use: "true"}
      annotations: {example.com/note: x, azure.workload.identity/inject-proxy-sidecar: "true", azure.workload.identity/proxy-sidecar-port: "8000"}
    spec: {serviceAccountName: app, hostnameOverride: h, containers: [{name: main, image: i, brandNew: {x: 1}}]}
`)
	wantYAML(t, "the service account", m.ServiceAccount, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: shop, labels: {team: a, azure.workload.identity/use: "true"}, annotations: {example.com/mine: "1",
  azure.workload.identity/client-id: `+ordersClient+`, azure.workload.identity/service-account-token-expiration: "7200"}}
imagePullSecrets: [{name: pull}]
automountServiceAccountToken: false
`)
	if m.Replace {
		t.Error("a Deployment is changed, not replaced")
	}
	// The plan is of copies: what was read is as it was.
	if o := f.objects["Deployment"][0]; o.GetUID() != "u" || o.Object["status"] == nil {
		t.Errorf("what was read has changed: %v", o.Object)
	}
	o := f.one(t, Options{Namespaced: true, ProxyPort: 9000, ExpirationSeconds: 4000, TenantID: "t"}).Manifests
	if got := o.ServiceAccount.GetAnnotations(); got["azure.workload.identity/service-account-token-expiration"] != "4000" || got["azure.workload.identity/tenant-id"] != "t" {
		t.Errorf("the service account with options: %v", got)
	}
	if got := texts(template(o.Workload), "metadata", "annotations")["azure.workload.identity/proxy-sidecar-port"]; got != "9000" {
		t.Errorf("the port is %q", got)
	}
}

// TestNewServiceAccount: one in the place of the default one can pull what that can,
// and a service principal's has its tenant.
func TestNewServiceAccount(t *testing.T) {
	m := newCluster(t, azureIdentity("orders", ordersClient, "web", "type: 2", "tenantID: theirs"), deployment("web", "web", ""),
		"{kind: ServiceAccount, metadata: {name: default, uid: d, annotations: {a: b}}, imagePullSecrets: [{name: pull}], secrets: [{name: token}]}").one(t, Options{Namespaced: true}).Manifests
	wantYAML(t, "the service account", m.ServiceAccount, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop, labels: {azure.workload.identity/use: "true"}, annotations: {
  azure.workload.identity/client-id: `+ordersClient+`, azure.workload.identity/tenant-id: theirs, azure.workload.identity/service-account-token-expiration: "3600"}}
imagePullSecrets: [{name: pull}]
`)
	if got := accountOf(&Workload{object: m.Workload}); got != "web" {
		t.Errorf("the workload runs as %s", got)
	}
}

// TestJobsAndPods: what is made anew has nothing left of the one before it.
func TestJobsAndPods(t *testing.T) {
	job := `
kind: Job
metadata: {name: once, annotations: {batch.kubernetes.io/job-tracking: ""}}
spec:
  MANUAL
  selector: {matchLabels: {batch.kubernetes.io/controller-uid: u}}
  template:
    metadata: {labels: {aadpodidbinding: web, controller-uid: u, job-name: once, batch.kubernetes.io/controller-uid: u, batch.kubernetes.io/job-name: once}}
    spec: {restartPolicy: Never}
`
	identity := azureIdentity("orders", ordersClient, "web")
	w := newCluster(t, identity, strings.Replace(job, "MANUAL", "backoffLimit: 3", 1)).one(t, Options{Namespaced: true})
	wantYAML(t, "the Job", w.Manifests.Workload, `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: shop}
spec:
  backoffLimit: 3
  template:
    metadata:
      labels: {aadpodidbinding: web, azure.workload.identity/use: "true"}
      annotations: {azure.workload.identity/inject-proxy-sidecar: "true", azure.workload.identity/proxy-sidecar-port: "8000"}
    spec: {restartPolicy: Never, serviceAccountName: once}
`)
	if !w.Manifests.Replace {
		t.Error("a Job cannot be changed")
	}
	w = newCluster(t, identity, strings.Replace(job, "MANUAL", "manualSelector: true", 1)).one(t, Options{Namespaced: true})
	if child(w.Manifests.Workload.Object, "spec", "selector", "matchLabels") == nil || texts(template(w.Manifests.Workload), "metadata", "labels")["controller-uid"] == "" {
		t.Errorf("the Job's own selector is gone: %v", w.Manifests.Workload.Object)
	}

	w = newCluster(t, identity, `
kind: Pod
metadata: {name: alone, generateName: al, labels: {aadpodidbinding: web}}
spec:
  nodeName: node1
  serviceAccount: default
  serviceAccountName: default
  ephemeralContainers: [{name: debug}]
  volumes: [{name: data, emptyDir: {}}, {name: kube-api-access-x7k2p, projected: {}}]
  initContainers: [{name: init, volumeMounts: [{name: kube-api-access-x7k2p, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}]
  containers: [{name: main, volumeMounts: [{name: data, mountPath: /data}, {name: kube-api-access-x7k2p, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}]
status: {phase: Running}
`).one(t, Options{Namespaced: true})
	wantYAML(t, "the pod", w.Manifests.Workload, `
apiVersion: v1
kind: Pod
metadata:
  name: alone
  namespace: shop
  generateName: al
  labels: {aadpodidbinding: web, azure.workload.identity/use: "true"}
  annotations: {azure.workload.identity/inject-proxy-sidecar: "true", azure.workload.identity/proxy-sidecar-port: "8000"}
spec:
  serviceAccountName: alone
  volumes: [{name: data, emptyDir: {}}]
  initContainers: [{name: init}]
  containers: [{name: main, volumeMounts: [{name: data, mountPath: /data}]}]
`)
	if !w.Manifests.Replace || len(w.Pods) != 1 {
		t.Errorf("%+v", w)
	}
}

// TestCronJobs: their pods' template is deeper.
func TestCronJobs(t *testing.T) {
	w := newCluster(t, azureIdentity("orders", ordersClient, "web"),
		"{kind: CronJob, metadata: {name: nightly}, spec: {schedule: '@daily', jobTemplate: {spec: {template: {metadata: {labels: {aadpodidbinding: web}}, spec: {}}}}}}").one(t, Options{Namespaced: true})
	wantYAML(t, "the CronJob", w.Manifests.Workload, `
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  schedule: '@daily'
  jobTemplate:
    spec:
      template:
        metadata:
          labels: {aadpodidbinding: web, azure.workload.identity/use: "true"}
          annotations: {azure.workload.identity/inject-proxy-sidecar: "true", azure.workload.identity/proxy-sidecar-port: "8000"}
        spec: {serviceAccountName: nightly}
`)
}

// TestOneRunFollowsAnother: what the manifests make is moved.
func TestOneRunFollowsAnother(t *testing.T) {
	f := newCluster(t, azureIdentity("orders", ordersClient, "web"), deployment("web", "web", "containers: []"))
	m := f.one(t, Options{Namespaced: true}).Manifests
	f.objects["Deployment"] = []unstructured.Unstructured{*m.Workload}
	f.objects["ServiceAccount"] = append(f.objects["ServiceAccount"], *m.ServiceAccount)
	if w := f.one(t, Options{Namespaced: true}); w.State != Moved || len(w.Warnings) > 0 {
		t.Errorf("%s %q", w.State, w.Warnings)
	}
}
