package main

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
	"github.com/lanyard-id/lanyard/internal/migration"
)

// objects FILE gives the script's API server the objects of manifests to list, in the
// place of those that it had, and the resources that `podidentity detect` reads.
func objects(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: objects FILE")
	}
	resources := map[string]string{
		"Pod": "pods", "Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "AzureIdentity": v1.AzureIdentityResource,
		"AzureIdentityBinding": v1.AzureIdentityBindingResource, "AzurePodIdentityException": v1.AzurePodIdentityExceptionResource,
	}
	for _, k := range migration.WorkloadKinds() {
		resources[k.Kind] = k.Resource
	}
	lists := map[string][]unstructured.Unstructured{}
	for _, resource := range resources {
		lists[resource] = []unstructured.Unstructured{}
	}
	for text := range strings.SplitSeq(ts.ReadFile(args[0]), "\n---\n") {
		var o unstructured.Unstructured
		ts.Check(yaml.Unmarshal([]byte(text), &o.Object))
		resource := resources[o.GetKind()]
		if resource == "" {
			ts.Fatalf("no resource has the kind of %s", text)
		}
		lists[resource] = append(lists[resource], o)
	}
	k := ts.Value(kubernetesKey{}).(*kubernetesAPI)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lists = lists
}

// readonly checks that nobody has written to the script's API server.
func readonly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: readonly")
	}
	k := ts.Value(kubernetesKey{}).(*kubernetesAPI)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.writes) > 0 {
		ts.Fatalf("requests that write: %q", k.writes)
	}
}

// list answers with the objects of a resource, of a namespace or all, by labels.
func (k *kubernetesAPI) list(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	namespace, _, _ := strings.Cut(rest, "/")
	if namespace == "forbidden" {
		k.refuse(w, http.StatusForbidden, "Forbidden", r.URL.Path+" is forbidden")
		return
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		k.refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	items := []any{}
	for _, o := range k.lists[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]] {
		if (namespace == "" || o.GetNamespace() == namespace) && selector.Matches(labels.Set(o.GetLabels())) {
			items = append(items, o.Object)
		}
	}
	k.answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": items})
}

// TestCommandLine: whatever somebody called something, a shell takes it as one word.
func TestCommandLine(t *testing.T) {
	words := []string{"plain", "/subscriptions/0/x", "", "two words", "$(touch pwned)", "it's", "a\nb", "`x`", "*", "~", "é", "-f", "a;b"}
	out, err := exec.Command("sh", "-c", "set -- "+strings.TrimPrefix(commandLine("x", words), "x ")+`; printf '%s\0' "$@"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); strings.Join(got, "|") != strings.Join(words, "|") {
		t.Errorf("%q; want %q", got, words)
	}
	if got := commandLine("kubectl", []string{"apply"}, nil, []string{"-f", "out/web.yaml"}); got != "kubectl apply -f out/web.yaml" {
		t.Errorf("quoted without need: %s", got)
	}
}

// TestOwnFiles: a file counts as the command's own for as long as nobody touched it.
func TestOwnFiles(t *testing.T) {
	content := manifestContent(&unstructured.Unstructured{Object: map[string]any{"kind": "Pod", "n": json.Number("1")}})
	if !isOwnFile(content) {
		t.Errorf("not its own: %s", content)
	}
	for _, other := range []string{"", "\n", string(content) + "a: b\n", strings.Replace(string(content), "Pod", "Job", 1), strings.SplitAfter(string(content), "\n")[1]} {
		if isOwnFile([]byte(other)) {
			t.Errorf("its own: %s", other)
		}
	}
}
