package serving

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

// NewMetadataReflector makes a reflector that follows the metadata of a
// resource's objects, of the one called name where that is not empty, into store.
func NewMetadataReflector(client metadata.ResourceInterface, name string, store cache.ReflectorStore) *cache.Reflector {
	narrow := func(o metav1.ListOptions) metav1.ListOptions {
		if name != "" {
			o.FieldSelector = "metadata.name=" + name
		}
		return o
	}
	return cache.NewReflectorWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, narrow(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, narrow(o))
		},
	}, &metav1.PartialObjectMetadata{}, store, cache.ReflectorOptions{})
}
