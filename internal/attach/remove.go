package attach

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Removal is what taking the agent out of a cluster would do.
type Removal struct {
	objects []unstructured.Unstructured
	// Kept says why the agent's namespace stays, empty where it goes too or was
	// not made by attach.
	Kept string
	// Pods counts the pods that the webhook has set up and that have not ended. They
	// go on running, and get no tokens any more; where they trust a cloud by a
	// config map that goes, their containers cannot be started again.
	Pods int
}

// Objects are those that would be deleted, in their order.
func (r *Removal) Objects() []Object {
	all := make([]Object, len(r.objects))
	for i := range r.objects {
		all[i] = nameOf(&r.objects[i])
	}
	return all
}

// Removal lists what attach and the agent have put into the cluster: everything
// by its labels, wherever it is. An agent that Helm installed is an error that
// says how Helm takes it out; it would go on making things.
func (c *Cluster) Removal(ctx context.Context) (*Removal, error) {
	if err := c.refuseHelms(ctx); err != nil {
		return nil, err
	}
	have, err := c.installed(ctx)
	if err != nil {
		return nil, err
	}
	brought, err := c.list(ctx, kindNamed("ConfigMap"), metav1.NamespaceAll, trust)
	if err != nil {
		return nil, err
	}
	for i := range brought {
		brought[i].SetKind("ConfigMap")
	}
	have = append(have, brought...)
	// The order of kinds, backwards: the webhook's configuration first, so that no
	// pod waits for a webhook that is going; what the agent makes after the agent.
	slices.SortStableFunc(have, func(a, b unstructured.Unstructured) int { return rank(b.GetKind()) - rank(a.GetKind()) })
	r := &Removal{}
	var namespaces []unstructured.Unstructured
	for _, o := range have {
		if o.GetKind() == "Namespace" {
			namespaces = append(namespaces, o)
			continue
		}
		r.objects = append(r.objects, o)
	}
	for _, ns := range namespaces {
		others, err := c.others(ctx, ns.GetName())
		if err != nil {
			return nil, err
		}
		if len(others) > 0 {
			r.Kept = fmt.Sprintf("the namespace %s stays: it holds %s", ns.GetName(), strings.Join(others, ", "))
			continue
		}
		r.objects = append(r.objects, ns)
	}
	pods, err := c.list(ctx, podResource, metav1.NamespaceAll, "azure.workload.identity/use=true")
	if err != nil {
		return nil, err
	}
	for _, pod := range pods {
		if ended(&pod) {
			continue
		}
		if slices.ContainsFunc(objectsIn(&pod, "spec", "volumes"), func(v map[string]any) bool {
			return strings.HasPrefix(text(v, "name"), "azure-workload-identity-reserved-")
		}) {
			r.Pods++
		}
	}
	return r, nil
}

// ended reports whether a pod's containers have, for good.
func ended(pod *unstructured.Unstructured) bool {
	phase := text(inner(pod.Object, "status"), "phase")
	return phase == "Succeeded" || phase == "Failed"
}

// refuseHelms is an error where a release of Helm's has the agent's chart.
func (c *Cluster) refuseHelms(ctx context.Context) error {
	found, err := c.list(ctx, kindNamed("Deployment"), metav1.NamespaceAll, nameLabel+"="+agentName+","+managedByLabel+"=Helm")
	if err != nil || len(found) == 0 {
		return err
	}
	found[0].SetKind("Deployment")
	return foreignError([]*unstructured.Unstructured{&found[0]})
}

// inhabitants are the kinds of which one that is not attach's keeps a namespace.
var inhabitants = []kind{
	podResource,
	kindNamed("ConfigMap"), kindNamed("Secret"), kindNamed("Service"), kindNamed("ServiceAccount"), kindNamed("Deployment"),
	{schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}, "PersistentVolumeClaim", true},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, "StatefulSet", true},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, "DaemonSet", true},
	{schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, "Job", true},
	{schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}, "CronJob", true},
}

// others are the things in a namespace that are not attach's, nor what every
// namespace has.
func (c *Cluster) others(ctx context.Context, namespace string) ([]string, error) {
	var all []string
	for _, k := range inhabitants {
		found, err := c.list(ctx, k, namespace, "")
		if err != nil {
			return nil, err
		}
		for i := range found {
			o := &found[i]
			everywhere := k.name == "ConfigMap" && o.GetName() == "kube-root-ca.crt" || k.name == "ServiceAccount" && o.GetName() == "default"
			if !isOurs(o) && !everywhere {
				all = append(all, k.name+" "+o.GetName())
			}
		}
	}
	return all, nil
}

// Remove deletes what a removal lists, one kind after the other, and waits until
// each is gone; then it looks whether anything is left, or was made while the
// agent was still there. done is told of each object that is deleted, and say
// what is awaited.
func (c *Cluster) Remove(ctx context.Context, r *Removal, done func(Object), say func(string)) error {
	for range 3 {
		for i := range r.objects {
			o := &r.objects[i]
			if err := c.remove(ctx, o); err != nil {
				return err
			}
			if last := i+1 == len(r.objects) || r.objects[i+1].GetKind() != o.GetKind(); last {
				if err := c.gone(ctx, r.objects, o.GetKind(), say); err != nil {
					return err
				}
			}
			done(nameOf(o))
		}
		var err error
		if r, err = c.Removal(ctx); err != nil || len(r.objects) == 0 {
			return err
		}
	}
	return fmt.Errorf("the cluster still has %s: something makes it anew", nameOf(&r.objects[0]))
}

// gone waits until no object of a kind is there any more.
func (c *Cluster) gone(ctx context.Context, objects []unstructured.Unstructured, kindName string, say func(string)) error {
	return eventually(ctx, say, func() (string, error) {
		for i := range objects {
			if objects[i].GetKind() != kindName {
				continue
			}
			o, err := c.live(ctx, nameOf(&objects[i]))
			if err != nil {
				return "", err
			}
			if o != nil && o.GetUID() == objects[i].GetUID() {
				return "waiting for " + nameOf(o).String() + " to be gone", nil
			}
		}
		return "", nil
	})
}
