package migration

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// manifests are the service account and the workload as they are to be.
func (p *planner) manifests(w *Workload) *Manifests {
	return &Manifests{
		ServiceAccount: p.account(w),
		Workload:       p.workload(w),
		Replace:        w.Kind == "Job" || w.Kind == "Pod",
	}
}

// account is the service account with the identity's label and annotations, as
// `lanyard serviceaccount create` gives them. A new one in the place of the default
// one has that one's pull secrets, without which its pods may not start.
func (p *planner) account(w *Workload) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount"}}
	if have := p.accounts[objectName{w.Namespace, w.ServiceAccount}]; have != nil {
		o = applicable(have)
		o.SetAPIVersion("v1")
		o.SetKind("ServiceAccount")
	} else if standard := p.accounts[objectName{w.Namespace, "default"}]; standard != nil {
		for _, field := range []string{"imagePullSecrets", "automountServiceAccountToken"} {
			if value, ok := standard.DeepCopy().Object[field]; ok {
				o.Object[field] = value
			}
		}
	}
	o.SetNamespace(w.Namespace)
	o.SetName(w.ServiceAccount)
	ensure(o.Object, "metadata", "labels")[workloadidentity.UseLabel] = "true"
	id := w.Identities[0]
	annotations := ensure(o.Object, "metadata", "annotations")
	annotations[workloadidentity.ClientIDAnnotation] = id.ClientID
	if tenant := tenantOf(id, p.options.TenantID); tenant != "" {
		annotations[workloadidentity.TenantIDAnnotation] = tenant
	}
	switch _, has := annotations[workloadidentity.ExpirationAnnotation]; {
	case p.options.ExpirationSeconds != 0:
		annotations[workloadidentity.ExpirationAnnotation] = strconv.FormatInt(p.options.ExpirationSeconds, 10)
	case !has:
		annotations[workloadidentity.ExpirationAnnotation] = strconv.Itoa(workloadidentity.DefaultExpiration)
	}
	return o
}

// tenantOf is the tenant of an identity: the one that was given, or a service
// principal's own.
func tenantOf(id Identity, given string) string {
	if given != "" || !id.Application() {
		return given
	}
	return id.TenantID
}

// workload is the workload with the label and the annotations by which the webhook
// gives its pods the identity and the token proxy. Everything else of it stays.
func (p *planner) workload(w *Workload) *unstructured.Unstructured {
	o := applicable(w.object)
	t := template(o)
	meta := ensure(t, "metadata")
	delete(meta, "creationTimestamp")
	ensure(meta, "labels")[workloadidentity.UseLabel] = "true"
	port := p.options.ProxyPort
	if port == 0 {
		port = workloadidentity.DefaultProxyPort
	}
	annotations := ensure(meta, "annotations")
	annotations[workloadidentity.InjectProxyAnnotation] = "true"
	annotations[workloadidentity.ProxyPortAnnotation] = strconv.Itoa(port)
	spec := ensure(t, "spec")
	spec["serviceAccountName"] = w.ServiceAccount
	delete(spec, "serviceAccount") // the same by its old name
	switch w.Kind {
	case "Job":
		withoutGeneratedSelector(o.Object)
	case "Pod":
		withoutSchedule(spec)
	}
	return o
}

// applicable is a copy of an object without what servers write.
func applicable(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	delete(o.Object, "status")
	meta := ensure(o.Object, "metadata")
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"} {
		delete(meta, field)
	}
	annotations := child(meta, "annotations")
	for _, name := range []string{
		"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision",
		"deprecated.daemonset.template.generation", "batch.kubernetes.io/job-tracking",
	} {
		delete(annotations, name)
	}
	if len(annotations) == 0 {
		delete(meta, "annotations")
	}
	return o
}

// withoutGeneratedSelector takes out of a Job what the API server wrote to tell its
// pods from others', and does not take from anybody else.
func withoutGeneratedSelector(job map[string]any) {
	spec := child(job, "spec")
	if spec["manualSelector"] == true {
		return
	}
	delete(spec, "selector")
	labels := child(spec, "template", "metadata", "labels")
	for _, name := range []string{"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"} {
		delete(labels, name)
	}
}

// withoutSchedule takes out of a pod where it runs, and the volume of the API's token
// that it was given, which a new one is given again.
func withoutSchedule(spec map[string]any) {
	delete(spec, "nodeName")
	delete(spec, "ephemeralContainers")
	const given = "kube-api-access-"
	without(spec, "volumes", given)
	for _, list := range []string{"containers", "initContainers"} {
		containers, _ := spec[list].([]any)
		for _, c := range containers {
			if container, ok := c.(map[string]any); ok {
				without(container, "volumeMounts", given)
			}
		}
	}
}

// without takes the entries of a list away whose name begins so.
func without(m map[string]any, list, prefix string) {
	entries, _ := m[list].([]any)
	kept := slices.DeleteFunc(entries, func(e any) bool {
		entry, _ := e.(map[string]any)
		name, _ := entry["name"].(string)
		return strings.HasPrefix(name, prefix)
	})
	if len(entries) > 0 {
		m[list] = kept
	}
	if len(kept) == 0 {
		delete(m, list)
	}
}
