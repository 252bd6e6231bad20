package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// Bounds of what the detector keeps, and of what it tells.
const (
	maxUnmutated = 10_000 // kept; the metric does not grow beyond it
	maxReported  = 1_000  // in a report
)

// detector finds pods that ask for the webhook and run without what it adds: they
// were made while it was not there, or not asked. It follows the pods that have
// the label, and remembers those alone that something is wrong with.
type detector struct {
	watch     *podWatch
	events    *podEvents
	namespace string   // the webhook's own, whose system pods are none of its business
	audiences []string // of tokens that pods may bring themselves
	count     prometheus.Gauge
	log       *slog.Logger

	mu     sync.Mutex
	synced bool
	known  map[types.UID]podName
}

type podName struct{ namespace, name string }

func newDetector(k kubernetes, c WebhookConfig, m *metrics) (*detector, error) {
	watch, err := newPodWatch(k.config, k.http)
	if err != nil {
		return nil, err
	}
	d := &detector{
		watch: watch, events: newPodEvents(k.dynamic, c), namespace: c.Namespace, audiences: []string{c.Settings.Audience}, count: m.unmutated, log: c.Log,
		known: map[types.UID]podName{},
	}
	if custom := c.Settings.CustomToken; custom != nil {
		d.audiences = append(d.audiences, custom.Audience)
	}
	return d, nil
}

// run follows pods until ctx ends.
func (d *detector) run(ctx context.Context) {
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() { d.events.run(ctx) })
	d.watch.reflector(d).RunWithContext(ctx)
}

// unmutated lists the pods, as a report has them; false while they are not known.
func (d *detector) unmutated() ([]channel.UnmutatedPod, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.synced {
		return nil, false
	}
	list := make([]channel.UnmutatedPod, 0, len(d.known))
	for uid, p := range d.known {
		list = append(list, channel.UnmutatedPod{Namespace: p.namespace, Name: p.name, UID: string(uid)})
	}
	slices.SortFunc(list, func(a, b channel.UnmutatedPod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return list[:min(len(list), maxReported)], true
}

// concerns tells whether a pod should have been mutated and was not. One that ends
// or has ended asks for no token any more, and a static one never has a token.
func (d *detector) concerns(p *pod) bool {
	switch {
	case p.Labels[workloadidentity.UseLabel] != "true":
	case p.DeletionTimestamp != nil || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed":
	case p.Namespace == d.namespace && p.Labels[workloadidentity.SystemLabel] == "true":
	case p.Annotations[workloadidentity.MirrorAnnotation] != "":
	case slices.ContainsFunc(p.Spec.Volumes, func(v workloadidentity.Volume) bool { return v.HasToken(d.audiences...) }):
	default:
		return true
	}
	return false
}

// judge keeps of a pod what is needed of it.
func (d *detector) judge(p *pod) *pod {
	return &pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion},
		judged:     true, unmutated: d.concerns(p),
	}
}

// put takes a pod as it is now.
func (d *detector) put(p *pod) {
	if !p.judged {
		p = d.judge(p)
	}
	concerns := p.unmutated
	d.mu.Lock()
	_, was := d.known[p.UID]
	switch {
	case concerns && !was && len(d.known) < maxUnmutated:
		d.known[p.UID] = podName{p.Namespace, p.Name}
	case !concerns:
		delete(d.known, p.UID)
	}
	_, is := d.known[p.UID]
	d.count.Set(float64(len(d.known)))
	d.mu.Unlock()
	if is && !was {
		d.log.Warn("a pod asks for the webhook and runs without what it adds", "namespace", p.Namespace, "pod", p.Name, "uid", p.UID)
		d.events.tell(p.Namespace, p.Name, p.UID)
	}
}

// Transformer makes the reflector judge pods of a list as they arrive, before it
// is whole. Those that come later are put as they are.
func (d *detector) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if p, ok := obj.(*pod); ok {
			return d.judge(p), nil
		}
		return obj, nil
	}
}

// Add takes a pod that is new. With the methods after it, it is the reflector's
// side of the store.
func (d *detector) Add(obj any) error {
	p, ok := obj.(*pod)
	if !ok {
		return fmt.Errorf("a pod is a %T", obj)
	}
	d.put(p)
	return nil
}

// Update is as Add.
func (d *detector) Update(obj any) error { return d.Add(obj) }

// Delete forgets a pod.
func (d *detector) Delete(obj any) error {
	p, ok := obj.(*pod)
	if !ok {
		return fmt.Errorf("a pod is a %T", obj)
	}
	d.put(&pod{ObjectMeta: p.ObjectMeta, judged: true})
	return nil
}

// Replace takes the whole list.
func (d *detector) Replace(list []any, _ string) error {
	now := make(map[types.UID]bool, len(list))
	for _, obj := range list {
		p, ok := obj.(*pod)
		if !ok {
			return fmt.Errorf("a pod is a %T", obj)
		}
		now[p.UID] = true
		d.put(p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for uid := range d.known {
		if !now[uid] {
			delete(d.known, uid)
		}
	}
	d.synced = true
	d.count.Set(float64(len(d.known)))
	return nil
}

// Resync has nothing to do.
func (d *detector) Resync() error { return nil }
