package tokenproxy

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/lanyard-id/lanyard/internal/serving"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// authorityKey is where the ConfigMap holds the authority, as others' do.
const authorityKey = "ca.crt"

// certificates gives the token proxy's: of a directory, or its own, whose
// authority is in a ConfigMap, from where the webhook gives it to pods.
func certificates(c *Config, dyn dynamic.Interface, meta metadata.Interface) (serving.Certificates, error) {
	if c.CertDir != "" {
		return serving.NewFiles(c.CertDir, nil, c.Log)
	}
	name := c.Service + "-ca"
	return serving.NewKeeper(serving.KeeperConfig{
		Dynamic: dyn, Metadata: meta, Namespace: c.Namespace, Secret: c.Service + "-cert",
		Names: serving.Names{
			Authority: c.Service + "-ca", Organization: "lanyard",
			DNS: append([]string{c.Service + "." + c.Namespace + ".svc"}, c.DNSNames...),
		},
		Trust: serving.Trust{
			What: "config map " + c.Namespace + "/" + name, Resource: configMaps, Namespace: c.Namespace, Name: name,
			Publish: func(ctx context.Context, bundle []byte) error {
				return publishAuthority(ctx, dyn.Resource(configMaps).Namespace(c.Namespace), c.Namespace, name, string(bundle))
			},
		},
		Log: c.Log, Now: c.Now,
	})
}

// publishAuthority writes the authority to the ConfigMap unless it is there, and
// leaves the rest of it as it is.
func publishAuthority(ctx context.Context, client dynamic.ResourceInterface, namespace, name, bundle string) error {
	absent := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": namespace},
	}}
	return serving.Ensure(ctx, client, absent, func(object *unstructured.Unstructured) (bool, error) {
		if has, _, err := unstructured.NestedString(object.Object, "data", authorityKey); err == nil && has == bundle {
			return false, nil
		}
		if err := unstructured.SetNestedField(object.Object, bundle, "data", authorityKey); err != nil {
			return false, fmt.Errorf("config map %s/%s: %w", namespace, name, err)
		}
		return true, nil
	})
}
