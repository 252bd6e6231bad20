package migration

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// WorkloadKind is a kind of object that makes pods.
type WorkloadKind struct {
	schema.GroupVersionResource
	Kind string
	// template is where its pods' template is.
	template []string
}

// WorkloadKinds are those that can be moved, besides pods that nothing makes.
func WorkloadKinds() []WorkloadKind {
	kind := func(group, resource, name string, template ...string) WorkloadKind {
		return WorkloadKind{schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}, name, template}
	}
	return []WorkloadKind{
		kind("apps", "deployments", "Deployment", "spec", "template"),
		kind("apps", "statefulsets", "StatefulSet", "spec", "template"),
		kind("apps", "daemonsets", "DaemonSet", "spec", "template"),
		kind("apps", "replicasets", "ReplicaSet", "spec", "template"),
		kind("batch", "cronjobs", "CronJob", "spec", "jobTemplate", "spec", "template"),
		kind("batch", "jobs", "Job", "spec", "template"),
		kind("", "replicationcontrollers", "ReplicationController", "spec", "template"),
	}
}

// template gives the part of a workload that has its pods' metadata and spec; nil
// where it has none.
func template(o *unstructured.Unstructured) map[string]any {
	if o.GetKind() == "Pod" {
		return o.Object
	}
	for _, k := range WorkloadKinds() {
		if k.Kind == o.GetKind() {
			return child(o.Object, k.template...)
		}
	}
	return nil
}

// child gives an object inside another; nil where it is not there.
func child(m map[string]any, path ...string) map[string]any {
	for _, name := range path {
		m, _ = m[name].(map[string]any) // of a nil map nil
	}
	return m
}

// ensure gives an object inside another, and makes what is missing.
func ensure(m map[string]any, path ...string) map[string]any {
	for _, name := range path {
		inner, ok := m[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			m[name] = inner
		}
		m = inner
	}
	return m
}

// texts gives an object of texts, such as labels.
func texts(m map[string]any, path ...string) map[string]string {
	all := map[string]string{}
	for name, value := range child(m, path...) {
		if text, ok := value.(string); ok {
			all[name] = text
		}
	}
	return all
}

// gather finds the workloads whose pods or template are concerned: by each pod, the
// topmost of its owners, and those that have no pods at the moment.
func gather(pods, objects []unstructured.Unstructured, concerned func(namespace string, labels map[string]string) bool) []*Workload {
	byUID := make(map[types.UID]*unstructured.Unstructured, len(objects))
	for i := range objects {
		byUID[objects[i].GetUID()] = &objects[i]
	}
	found := map[types.UID]*Workload{}
	for i := range pods {
		pod := &pods[i]
		if !concerned(pod.GetNamespace(), pod.GetLabels()) {
			continue
		}
		top, unknown := topmost(pod, byUID)
		uid := top.GetUID()
		if unknown != nil {
			uid = unknown.UID
		}
		w := found[uid]
		if w == nil {
			w = newWorkload(top, unknown)
			found[uid] = w
		}
		if pod != top {
			w.pods = append(w.pods, pod)
		}
	}
	for i := range objects {
		o := &objects[i]
		if found[o.GetUID()] != nil || metav1.GetControllerOfNoCopy(o) != nil || ended(o) {
			continue
		}
		if concerned(o.GetNamespace(), texts(template(o), "metadata", "labels")) {
			found[o.GetUID()] = newWorkload(o, nil)
		}
	}
	all := make([]*Workload, 0, len(found))
	for _, w := range found {
		slices.SortFunc(w.pods, func(a, b *unstructured.Unstructured) int { return cmp.Compare(a.GetName(), b.GetName()) })
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.owner, b.owner))
	})
	return all
}

func newWorkload(top *unstructured.Unstructured, unknown *metav1.OwnerReference) *Workload {
	w := &Workload{
		Namespace: top.GetNamespace(), Kind: top.GetKind(), Name: top.GetName(), object: top,
		Pods: []Pod{}, Identities: []Identity{}, Problems: []string{}, Warnings: []string{},
	}
	if top.GetKind() == "Pod" {
		w.pods = append(w.pods, top)
	}
	if unknown != nil {
		w.Kind, w.Name, w.object = unknown.Kind, unknown.Name, nil
		w.owner = fmt.Sprintf("%s %s (%s)", unknown.Kind, unknown.Name, unknown.APIVersion)
	}
	return w
}

// topmost climbs from a pod to what makes it, and what makes that. An owner that was
// not read, since its kind is no WorkloadKind or it is gone, ends the climb and is
// given too.
func topmost(o *unstructured.Unstructured, byUID map[types.UID]*unstructured.Unstructured) (top *unstructured.Unstructured, unknown *metav1.OwnerReference) {
	seen := map[types.UID]bool{}
	for {
		ref := metav1.GetControllerOf(o)
		if ref == nil || seen[ref.UID] { // owners in a circle have no topmost
			return o, nil
		}
		seen[ref.UID] = true
		owner := byUID[ref.UID]
		if owner == nil {
			return o, ref
		}
		o = owner
	}
}

// ended reports whether a Job or a pod has run to its end.
func ended(o *unstructured.Unstructured) bool {
	status := child(o.Object, "status")
	switch o.GetKind() {
	case "Pod":
		return status["phase"] == "Succeeded" || status["phase"] == "Failed"
	case "Job":
		conditions, _ := status["conditions"].([]any)
		return slices.ContainsFunc(conditions, func(c any) bool {
			condition, _ := c.(map[string]any)
			return condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
		})
	}
	return false
}
