package migration

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestRead(t *testing.T) {
	t.Run("one namespace, and the pods with the label alone", func(t *testing.T) {
		f := newCluster(t)
		if _, err := Read(t.Context(), f, "shop", true); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(f.asked, `pods "shop" "aadpodidbinding"`) || slices.ContainsFunc(f.asked, func(s string) bool {
			return !strings.Contains(s, `"shop"`) && s != `namespaces "" "kubernetes.io/metadata.name=shop"`
		}) {
			t.Errorf("it asked for %q", f.asked)
		}
	})
	t.Run("bindings of all namespaces, and all pods where there are exceptions", func(t *testing.T) {
		f := newCluster(t, "{kind: AzurePodIdentityException, metadata: {name: e}, spec: {podLabels: {app: x}}}")
		if _, err := Read(t.Context(), f, "shop", false); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`azureidentities "" ""`, `azureidentitybindings "" ""`, `azurepodidentityexceptions "shop" ""`, `pods "shop" ""`} {
			if !slices.Contains(f.asked, want) {
				t.Errorf("it asked for %q; want %s", f.asked, want)
			}
		}
	})
	t.Run("no pod identity", func(t *testing.T) {
		for _, resource := range []string{"azureidentities", "azureidentitybindings"} {
			f := newCluster(t)
			f.missing = []string{resource}
			_, err := Read(t.Context(), f, "shop", true)
			if err == nil || !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "the cluster has no AAD pod identity: its custom resource definitions (azureidentities.aadpodidentity.k8s.io, ...) are not there") {
				t.Errorf("without %s: %v", resource, err)
			}
		}
	})
	t.Run("no exceptions", func(t *testing.T) {
		f := newCluster(t)
		f.missing = []string{"azurepodidentityexceptions"}
		if _, err := Read(t.Context(), f, "shop", true); err != nil {
			t.Error(err)
		}
	})
	t.Run("namespaces that may not be read", func(t *testing.T) {
		f := newCluster(t)
		f.forbidden = "namespaces"
		if _, err := Read(t.Context(), f, "shop", true); err != nil {
			t.Error(err)
		}
		f.forbidden = "pods"
		if _, err := Read(t.Context(), f, "shop", true); !apierrors.IsForbidden(err) {
			t.Errorf("pods: %v", err)
		}
	})
	t.Run("no such namespace", func(t *testing.T) {
		if _, err := Read(t.Context(), newCluster(t), "shpo", true); err == nil || !strings.Contains(err.Error(), `no namespace "shpo"`) {
			t.Error(err)
		}
	})
	t.Run("what is none", func(t *testing.T) {
		f := newCluster(t, "{kind: AzureIdentity, metadata: {name: odd}, spec: {type: many}}")
		if _, err := Read(t.Context(), f, "shop", true); err == nil || !strings.Contains(err.Error(), "reading azureidentities shop/odd") {
			t.Error(err)
		}
	})
}
