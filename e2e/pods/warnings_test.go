package pods

import (
	"context"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// warnings collects what the API server warns of.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

// applyWarnings creates a pod, and gives what the API server warned of.
func applyWarnings(t testing.TB, namespace, manifest string) []string {
	t.Helper()
	w := &warnings{}
	if err := create(t, namespace, manifest, w); err != nil {
		t.Fatal(err)
	}
	return w.all
}

// create creates a pod, and gives the API server's answer.
func create(t testing.TB, namespace, manifest string, w rest.WarningHandler) error {
	t.Helper()
	config := rest.CopyConfig(world.Get(t).RESTConfig())
	config.WarningHandler = w
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	var object unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace).
		Create(ctx, &object, metav1.CreateOptions{})
	return err
}
