package controller

import (
	"context"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// pod is as much of a Pod as the detector reads; the rest of it is skipped while
// it is decoded. unmutated is what follows from it, when it was judged.
type pod struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Volumes []workloadidentity.Volume `json:"volumes"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
	judged, unmutated bool
}

type podList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []pod `json:"items"`
}

// DeepCopyObject is runtime.Object's. Volumes are never written after they were
// decoded, so that copies share them.
func (p *pod) DeepCopyObject() runtime.Object {
	out := *p
	p.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// DeepCopyObject is runtime.Object's.
func (l *podList) DeepCopyObject() runtime.Object {
	out := *l
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = make([]pod, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*pod)
	}
	return &out
}

// podWatch lists and watches the pods that ask for the webhook.
type podWatch struct{ client rest.Interface }

var coreV1 = schema.GroupVersion{Version: "v1"}

func newPodWatch(config *rest.Config, over *http.Client) (*podWatch, error) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(coreV1.WithKind("Pod"), &pod{})
	scheme.AddKnownTypeWithName(coreV1.WithKind("PodList"), &podList{})
	metav1.AddToGroupVersion(scheme, coreV1)
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/api", &coreV1
	c.ContentType, c.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientForConfigAndClient(c, over)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return &podWatch{client}, nil
}

func (w *podWatch) request(o metav1.ListOptions) *rest.Request {
	o.LabelSelector = workloadidentity.UseLabel + "=true"
	return w.client.Get().Resource("pods").SpecificallyVersionedParams(&o, metav1.ParameterCodec, coreV1)
}

func (w *podWatch) reflector(store cache.ReflectorStore) *cache.Reflector {
	return cache.NewReflectorWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list := new(podList)
			return list, w.request(o).Do(ctx).Into(list)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			return w.request(o).Watch(ctx)
		},
	}, &pod{}, store, cache.ReflectorOptions{})
}
