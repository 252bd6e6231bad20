package pods

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

// Names that azure-workload-identity's users rely on, written out: they must not
// change with the agent's own constants.
const (
	wiMount        = "/var/run/secrets/azure/wi"
	wiVolumePrefix = "azure-workload-identity-reserved-"
)

var wiVariables = []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}

// admit has the API server admit a pod, as "kubectl create --dry-run=server" does,
// and gives the pod as it would be, and what was warned of.
func admit(t *testing.T, namespace, manifest string) (*corev1.Pod, []string, error) {
	t.Helper()
	w := &warnings{}
	config := rest.CopyConfig(world.Get(t).RESTConfig())
	config.WarningHandler = w
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	var p corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(manifest), &p); err != nil {
		t.Fatal(err)
	}
	admitted, err := client.CoreV1().Pods(namespace).Create(t.Context(), &p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return admitted, w.all, err
}

// labelled is a pod that asks for the webhook: what is in its metadata beside the
// label, and its spec.
func labelled(metadata, spec string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {%s, labels: {azure.workload.identity/use: \"true\"}}, spec: {%s}}", metadata, spec)
}

// variables are upstream's that a container has.
func variables(c corev1.Container) []string {
	var names []string
	for _, e := range c.Env {
		if slices.Contains(wiVariables, e.Name) {
			names = append(names, e.Name)
		}
	}
	return names
}

// wantMutated wants upstream's variables, in its order, and its mount, of all
// containers but those to skip, and its volume of the pod, once.
func wantMutated(t *testing.T, p *corev1.Pod, named string, skip ...string) {
	t.Helper()
	volume := wiVolumePrefix + fmt.Sprintf("%x", sha256.Sum256([]byte(named)))[:30]
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		mounts := slices.DeleteFunc(slices.Clone(c.VolumeMounts), func(m corev1.VolumeMount) bool { return m.Name != volume })
		want, wantMounts := wiVariables, []corev1.VolumeMount{{Name: volume, ReadOnly: true, MountPath: wiMount}}
		if slices.Contains(skip, c.Name) {
			want, wantMounts = nil, []corev1.VolumeMount{}
		}
		if diff := cmp.Diff(want, variables(c)) + cmp.Diff(wantMounts, mounts); diff != "" {
			t.Errorf("container %s (-want +got):\n%s", c.Name, diff)
		}
	}
	volumes := slices.DeleteFunc(slices.Clone(p.Spec.Volumes), func(v corev1.Volume) bool { return !strings.HasPrefix(v.Name, wiVolumePrefix) })
	if len(volumes) != 1 || volumes[0].Name != volume {
		t.Fatalf("the token volumes are %+v; want one, %s", volumes, volume)
	}
	token := volumes[0].Projected.Sources[0].ServiceAccountToken
	if token == nil || token.Path != "token/azure-identity-token" || token.Audience != "api://AzureADTokenExchange" || *volumes[0].Projected.DefaultMode != 0o644 {
		t.Errorf("the token volume is %+v", volumes[0].Projected)
	}
}

func wantUntouched(t *testing.T, p *corev1.Pod) {
	t.Helper()
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if len(c.Env) > 0 || hasTokenMount(c) {
			t.Errorf("container %s got %v %v", c.Name, c.Env, c.VolumeMounts)
		}
	}
	if slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, wiVolumePrefix) }) {
		t.Errorf("the pod got %+v", p.Spec.Volumes)
	}
}

// TestContract has the API server admit what upstream's own tests do, and what its
// users do beside.
func TestContract(t *testing.T) {
	n := world.Get(t).Namespace(t, nil)
	n.Apply(fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, annotations: {azure.workload.identity/client-id: %s, azure.workload.identity/service-account-token-expiration: "7200"}}
`, *newSite(t).identity.Properties.ClientID))
	const (
		one = "containers: [{name: busybox-1, image: i}]"
		two = "serviceAccountName: app, containers: [{name: busybox-1, image: i}, {name: busybox-2, image: i}]"
	)
	for _, tt := range []struct {
		name, manifest string
		named          string // as the volume's name has it; "": the pod stays as it is
		skip           []string
	}{
		{"a pod", labelled("name: p", two), "p", nil},
		{"one without a name", labelled("generateName: p-", two), "p- (prefix)", nil},
		{"of the default service account", labelled("name: p", one), "p", []string{"busybox-1"}},
		{"init containers and sidecars", labelled("name: p", two+`, initContainers: [{name: init, image: i}, {name: side, image: i, restartPolicy: Always}]`), "p", nil},
		{"a container to skip, and nothing", labelled(`name: p, annotations: {azure.workload.identity/skip-containers: "busybox-1;"}`, two), "p", []string{"busybox-1"}},
		{"containers to skip, and spaces", labelled(`name: p, annotations: {azure.workload.identity/skip-containers: " busybox-2 ;init"}`, two+", initContainers: [{name: init, image: i}]"), "p", []string{"busybox-2", "init"}},
		{"the node's network", labelled("name: p", two+", hostNetwork: true"), "p", nil},
		{"Windows", labelled("name: p", two+", os: {name: windows}, nodeSelector: {kubernetes.io/os: windows}"), "p", nil},
		{"a token of its own elsewhere", labelled("name: p", `serviceAccountName: app, containers: [{name: a, image: i, volumeMounts: [{name: own, mountPath: /var/run/secrets/tokens}]}],
			volumes: [{name: own, projected: {sources: [{serviceAccountToken: {path: t, audience: vault}}]}}]`), "p", nil},
		{"the label with another value", strings.Replace(labelled("name: p", two), `"true"`, `"false"`, 1), "", nil},
		{"no label", strings.Replace(labelled("name: p", two), `azure.workload.identity/use: "true"`, "", 1), "", nil},
		{"a static pod's picture", labelled("name: p, annotations: {kubernetes.io/config.mirror: x}", one+", nodeName: "+world.Get(t).Nodes()[0]), "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, warned, err := admit(t, n.Name, tt.manifest)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.named == "":
				wantUntouched(t, p)
			case p.Spec.ServiceAccountName == "default": // it names no identity
				if !slices.ContainsFunc(warned, func(w string) bool { return strings.Contains(w, "no annotation azure.workload.identity/client-id") }) ||
					cmp.Diff(wiVariables[1:], variables(p.Spec.Containers[0])) != "" {
					t.Errorf("%q, %v", warned, p.Spec.Containers[0].Env)
				}
			default:
				wantMutated(t, p, tt.named, tt.skip...)
			}
		})
	}
}

// TestContractKeepsThePodsOwn: variables of the pod, in whatever form, and fields
// that are newer than the webhook.
func TestContractKeepsThePodsOwn(t *testing.T) {
	n, _ := newApp(t)
	p, _, err := admit(t, n.Name, labelled("name: p", fmt.Sprintf(`serviceAccountName: app, resources: {limits: {cpu: 1, memory: 64Mi}}, containers: [{name: a, image: i, securityContext: %s, env: [
		{name: AZURE_TENANT_ID, value: mine}, {name: AZURE_CLIENT_ID, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: AZURE_AUTHORITY_HOST, value: ""}]}]`, restricted)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]corev1.EnvVar{}
	for _, e := range p.Spec.Containers[0].Env {
		if got[e.Name].Name != "" {
			t.Errorf("%s twice", e.Name)
		}
		got[e.Name] = e
	}
	if got["AZURE_TENANT_ID"].Value != "mine" || got["AZURE_CLIENT_ID"].ValueFrom == nil || got["AZURE_AUTHORITY_HOST"].Value != "" ||
		got["AZURE_FEDERATED_TOKEN_FILE"].Value != wiMount+"/token/azure-identity-token" {
		t.Errorf("%+v", p.Spec.Containers[0].Env)
	}
	if p.Spec.Resources == nil || p.Spec.Resources.Limits.Cpu().String() != "1" {
		t.Errorf("the pod's resources are %+v", p.Spec.Resources)
	}
}

// TestContractExpiration: the pod's own goes before its service account's, and what
// is out of range is refused, by upstream's words.
func TestContractExpiration(t *testing.T) {
	n := world.Get(t).Namespace(t, nil)
	const key = "azure.workload.identity/service-account-token-expiration"
	for name, value := range map[string]string{"short": "100", "words": "invalid", "long": "86401", "good": "7200"} {
		n.Apply(fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s, annotations: {%s: %q}}}", name, key, value))
	}
	for _, tt := range []struct {
		account, own string
		want         int64
		denied       string
	}{
		{"good", "", 7200, ""},
		{"good", "3600", 3600, ""},
		{"default", "86400", 86400, ""},
		{"default", "", 3600, ""},
		{"short", "4000", 4000, ""},
		{"short", "", 0, "token expiration 100 not valid. Expected value to be between 3600 and 86400"},
		{"long", "", 0, "token expiration 86401 not valid. Expected value to be between 3600 and 86400"},
		{"words", "", 0, `strconv.ParseInt: parsing "invalid": invalid syntax`},
		{"good", "100", 0, "token expiration 100 not valid. Expected value to be between 3600 and 86400"},
		{"good", "invalid", 0, `strconv.ParseInt: parsing "invalid": invalid syntax`},
	} {
		p, _, err := admit(t, n.Name, labelled(fmt.Sprintf("name: p, annotations: {%s: %q}", key, tt.own), "serviceAccountName: "+tt.account+", containers: [{name: a, image: i}]"))
		if tt.denied != "" {
			if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `admission webhook "mutation.azure-workload-identity.io" denied the request: `) || !strings.HasSuffix(err.Error(), tt.denied) {
				t.Errorf("account %s, pod %q: %v; want %q", tt.account, tt.own, err, tt.denied)
			}
			continue
		}
		if err != nil {
			t.Errorf("account %s, pod %q: %v", tt.account, tt.own, err)
			continue
		}
		i := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, wiVolumePrefix) })
		if got := *p.Spec.Volumes[i].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds; got != tt.want {
			t.Errorf("account %s, pod %q: %d seconds, want %d", tt.account, tt.own, got, tt.want)
		}
	}
}

// TestContractProxy: the proxy's containers, and the pods that cannot have them.
func TestContractProxy(t *testing.T) {
	n := world.Get(t).Namespace(t, nil)
	with := func(more, spec string) string {
		return labelled(`name: p, annotations: {`+injectProxy+more+`}`, spec+"initContainers: [{name: mine, image: i}], containers: [{name: a, image: i}]")
	}
	p, _, err := admit(t, n.Name, with(`, azure.workload.identity/proxy-sidecar-port: "8080"`, ""))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range p.Spec.InitContainers {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"azwi-proxy-init", "azwi-proxy", "mine"}, names); diff != "" || len(p.Spec.Containers) != 1 {
		t.Fatalf("init containers (-want +got):\n%s", diff)
	}
	side := p.Spec.InitContainers[1]
	if side.RestartPolicy == nil || *side.RestartPolicy != corev1.ContainerRestartPolicyAlways || side.Ports[0].ContainerPort != 8080 || !slices.Contains(side.Args, "--proxy-port=8080") ||
		!slices.Contains(p.Spec.InitContainers[0].Env, corev1.EnvVar{Name: "PROXY_PORT", Value: "8080"}) {
		t.Errorf("%+v", p.Spec.InitContainers[:2])
	}
	// The proxy is Linux's, and what it needs is no Windows pod's, as with upstream.
	if _, _, err := admit(t, n.Name, with("", "os: {name: windows}, ")); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "cannot be set for a windows pod") {
		t.Errorf("Windows: %v", err)
	}
	for manifest, denied := range map[string]string{
		with("", "hostNetwork: true, "):                                   "hostNetwork is set to true, cannot inject proxy sidecar",
		with(`, azure.workload.identity/proxy-sidecar-port: "abc"`, ""):   `failed to parse proxy sidecar port: strconv.ParseInt: parsing "abc": invalid syntax`,
		with(`, azure.workload.identity/proxy-sidecar-port: "70000"`, ""): "proxy sidecar port 70000 not valid",
	} {
		if _, _, err := admit(t, n.Name, manifest); !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), denied) {
			t.Errorf("%v; want %q", err, denied)
		}
	}
}

// TestContractOfControllers: pods that controllers make, which a node need not run
// for it to be seen what they got.
func TestContractOfControllers(t *testing.T) {
	n, _ := newApp(t)
	template := fmt.Sprintf(`{metadata: {labels: {app: x, azure.workload.identity/use: "true"}}, spec: {serviceAccountName: app, restartPolicy: %%s, nodeSelector: {no: node}, containers: [{name: a, image: i, securityContext: %s}]}}`, restricted)
	always, never := fmt.Sprintf(template, "Always"), fmt.Sprintf(template, "Never")
	n.Apply(fmt.Sprintf(`
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: set}, spec: {serviceName: set, selector: {matchLabels: {app: x}}, template: %[1]s}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: x}}, template: %[1]s}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {schedule: "0 0 1 1 *", suspend: true, jobTemplate: {spec: {template: %[2]s}}}}
`, always, never))
	if _, err := n.Cluster.Kubectl(t.Context(), "create", "job", "--namespace="+n.Name, "--from=cronjob/nightly", "now"); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"StatefulSet", "ReplicaSet", "Job"} {
		var found *corev1.Pod
		n.Eventually("the pod of a "+owner, func(ctx context.Context) (bool, string) {
			list, err := n.Cluster.Client().CoreV1().Pods(n.Name).List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			for _, p := range list.Items {
				if metav1.GetControllerOf(&p).Kind == owner {
					found = &p
				}
			}
			return found != nil, fmt.Sprint(len(list.Items), " pods")
		})
		named := found.GenerateName + " (prefix)"
		if owner == "StatefulSet" { // which names its pods itself
			named = found.Name
		}
		wantMutated(t, found, named)
	}
}

// TestContractOfDebuggers: what is done to a pod that is there. Nothing of it is
// changed, nor held up, and a copy of it is itself.
func TestContractOfDebuggers(t *testing.T) {
	n, _ := newApp(t)
	kubectl := func(args ...string) {
		t.Helper()
		if _, err := n.Cluster.Kubectl(t.Context(), append(args, "--namespace="+n.Name)...); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) *corev1.Pod {
		t.Helper()
		p, err := n.Cluster.Client().CoreV1().Pods(n.Name).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	spec := fmt.Sprintf("serviceAccountName: app, nodeSelector: {no: node}, containers: [{name: a, image: i, securityContext: %s}]", restricted)
	n.Apply(labelled("name: web", spec) + "\n---\n" + strings.Replace(labelled("name: plain", spec), `azure.workload.identity/use: "true"`, "", 1))
	wantMutated(t, get("web"), "web")

	kubectl("label", "pod/plain", "azure.workload.identity/use=true")
	wantUntouched(t, get("plain"))
	kubectl("debug", "pod/web", "--image=i", "--container=dbg", "--profile=restricted", "--attach=false")
	if got := get("web").Spec.EphemeralContainers; len(got) != 1 || len(got[0].Env) > 0 || len(got[0].VolumeMounts) > 0 {
		t.Errorf("the ephemeral container is %+v", got)
	}
	kubectl("debug", "pod/web", "--image=i", "--copy-to=copy", "--keep-labels", "--container=dbg", "--profile=restricted", "--attach=false")
	copied := get("copy")
	if got := variables(copied.Spec.Containers[len(copied.Spec.Containers)-1]); !slices.Equal(got, wiVariables) {
		t.Errorf("the copy's own container has %q", got)
	}
	wantMutated(t, copied, "web")
}

// TestContractOfDryRuns: nothing stays of one.
func TestContractOfDryRuns(t *testing.T) {
	n := world.Get(t).Namespace(t, kubetest.Restricted())
	const spec = "containers: [{name: a, image: i, securityContext: " + restricted + "}]"
	p, _, err := admit(t, n.Name, labelled("name: p", spec))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Spec.Volumes) == 0 {
		t.Error("the pod is not shown as it would be")
	}
	maps, err := n.Cluster.Client().CoreV1().ConfigMaps(n.Name).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=lanyard-agent"})
	if err != nil || len(maps.Items) != 0 {
		t.Errorf("config maps %v, %v", maps, err)
	}
	n.Apply(labelled("name: p", spec+", nodeSelector: {no: node}"))
	if maps, err = n.Cluster.Client().CoreV1().ConfigMaps(n.Name).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=lanyard-agent"}); err != nil || len(maps.Items) != 1 {
		t.Errorf("after the pod was made: config maps %v, %v", maps, err)
	}
}
