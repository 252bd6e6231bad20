package migration

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/podidentity"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// judge fills in what becomes of a workload.
func (p *planner) judge(w *Workload) {
	w.State = Move
	for _, pod := range w.pods {
		d := p.decide(w.Namespace, pod.GetLabels())
		w.Pods = append(w.Pods, Pod{Name: pod.GetName(), Reason: d.Explain()})
	}
	d := p.decide(w.Namespace, w.labels())
	w.Reason = d.Explain()
	for _, id := range d.Identities() {
		w.Identities = append(w.Identities, Identity{
			Namespace: id.Namespace, Name: id.Name, Type: id.Spec.Type, ClientID: id.Spec.ClientID, ResourceID: id.Spec.ResourceID, TenantID: id.Spec.TenantID,
		})
		if len(id.Spec.AuxiliaryTenantIDs) > 0 {
			w.warn("AzureIdentity %s/%s has auxiliary tenants, for which pod identity gives further tokens in one answer; workload identity gives one for the tenant that is asked for", id.Namespace, id.Name)
		}
	}
	if d.Exception != nil {
		w.State = Excepted
		return
	}
	p.checkIdentity(w, d)
	p.checkObject(w)
	if w.State == Blocked {
		return
	}
	p.chooseAccount(w)
	if w.State == Move && p.moved(w) {
		w.State = Moved
		return
	}
	p.warnings(w)
}

// labels are those of the workload's template, by which it makes pods; those of its
// pods where they alone have the label.
func (w *Workload) labels() map[string]string {
	var labels map[string]string
	if w.object != nil {
		labels = texts(template(w.object), "metadata", "labels")
	}
	fromTemplate := labels[v1.BindingLabel] != "" || len(w.pods) == 0
	if !fromTemplate {
		labels = w.pods[0].GetLabels()
		if w.object != nil && labels[v1.BindingLabel] != "" {
			w.warn("the label %s is on its pods and not in its template: pods that it makes from now on have none", v1.BindingLabel)
		}
	}
	for _, pod := range w.pods {
		switch value := pod.GetLabels()[v1.BindingLabel]; {
		case value == labels[v1.BindingLabel]:
		case fromTemplate:
			w.warn("pod %s has the label %s: %q, and the template %q, which counts here", pod.GetName(), v1.BindingLabel, value, labels[v1.BindingLabel])
		default:
			w.block("its pods have different labels %s (%q, %q), and its template has none: put the one that is meant into the template, and run this again", v1.BindingLabel, labels[v1.BindingLabel], value)
			return labels
		}
	}
	return labels
}

// checkIdentity says what is wrong with the identities of a workload, and puts the
// one for requests that name none first.
func (p *planner) checkIdentity(w *Workload, d podidentity.Decision) {
	switch {
	case d.Selector == "":
		w.block("its template has no label %s", v1.BindingLabel)
		return
	case len(d.Matches) == 0:
		w.block("%s; %s", w.Reason, p.bindingHint(d.Selector))
		return
	case len(w.Identities) == 0:
		w.block("%s", w.Reason)
		return
	case len(w.Identities) > 1:
		p.chooseIdentity(w)
	}
	for i, id := range w.Identities {
		name := id.Namespace + "/" + id.Name
		switch {
		case id.Type != v1.UserAssignedMSI && id.Type != v1.ServicePrincipal && id.Type != v1.ServicePrincipalCertificate:
			w.block("AzureIdentity %s has the type %d, which pod identity does not know", name, int(id.Type))
		case !azure.IsGUID(id.ClientID) && i == 0:
			w.block("AzureIdentity %s has the clientID %q, which is no GUID: set that of its identity", name, id.ClientID)
		case !azure.IsGUID(id.ClientID):
			w.warn("AzureIdentity %s has the clientID %q, which is no GUID", name, id.ClientID)
		}
	}
}

// bindingHint says what may be meant by a label that no binding has for a selector.
func (p *planner) bindingHint(selector string) string {
	for _, b := range p.objects.Bindings {
		if azure.EqualFold(b.Spec.Selector, selector) {
			return fmt.Sprintf("AzureIdentityBinding %s/%s has %q, and the case counts", b.Namespace, b.Name, b.Spec.Selector)
		}
	}
	if p.options.Namespaced {
		return "bindings of other namespaces count where pod identity runs without --forceNamespaced (--force-namespaced=false says so here)"
	}
	return "such a pod gets no token by pod identity either"
}

// chooseIdentity finds which of several identities a workload has by default.
func (p *planner) chooseIdentity(w *Workload) {
	var names []string
	chosen := -1
	for i, id := range w.Identities {
		full := id.Namespace + "/" + id.Name
		names = append(names, full)
		if slices.Contains(p.options.DefaultIdentities, id.Name) || slices.Contains(p.options.DefaultIdentities, full) {
			if chosen >= 0 {
				w.block("--default-identity names several of its identities, %s and %s: one can be the default", names[chosen], full)
				return
			}
			chosen = i
		}
	}
	if chosen < 0 {
		w.block("it has several identities, %s, and a service account names one: say with --default-identity which is for requests that name none; "+
			"or take the label's other bindings away", strings.Join(names, ", "))
		return
	}
	first := w.Identities[chosen]
	w.Identities = slices.Insert(slices.Delete(w.Identities, chosen, chosen+1), 0, first)
	w.warn("it has several identities: the programs in it get AzureIdentity %s where they name none, and each of the others by its client ID alone", names[chosen])
}

// checkObject says what is wrong with the workload itself.
func (p *planner) checkObject(w *Workload) {
	if w.object == nil {
		w.block("it is made by %s, which this command does not know: set in the template of its pods the label %s: \"true\", the annotation %s: \"true\", and a service account with the annotation %s",
			w.owner, workloadidentity.UseLabel, workloadidentity.InjectProxyAnnotation, workloadidentity.ClientIDAnnotation)
		return
	}
	spec := child(template(w.object), "spec")
	system := texts(spec, "os")["name"]
	if system == "" {
		system = texts(spec, "nodeSelector")["kubernetes.io/os"]
	}
	switch {
	case spec == nil:
		w.block("its template of pods has no spec")
	case w.object.GetDeletionTimestamp() != nil:
		w.block("it is being deleted")
	case ended(w.object):
		w.block("it has run to its end: there is nothing to move but the manifest that it was made from")
	case spec["hostNetwork"] == true:
		w.block("its pods are on the network of their node (hostNetwork), where neither pod identity nor the token proxy reaches them: let its programs take a WorkloadIdentityCredential, with the label %s and a service account", workloadidentity.UseLabel)
	case system == "windows":
		w.block("its pods run on Windows, for which there is no token proxy: let its programs take a WorkloadIdentityCredential, with the label %s and a service account", workloadidentity.UseLabel)
	case len(validation.IsDNS1123Subdomain(w.Name))+len(validation.IsDNS1123Label(w.Namespace)) > 0:
		w.block("its name is none for a service account or a file")
	}
}

// chooseAccount finds the service account that a workload is to run as: its own. In
// the place of the default one, which is everybody's, a new one of its name.
func (p *planner) chooseAccount(w *Workload) {
	name, client := accountOf(w), w.Identities[0].ClientID
	account := p.accounts[objectName{w.Namespace, name}]
	has := func() string { return account.GetAnnotations()[workloadidentity.ClientIDAnnotation] }
	if name == "default" && (account == nil || !azure.EqualFold(has(), client)) {
		name = w.Name
		account = p.accounts[objectName{w.Namespace, name}]
		switch {
		case account == nil:
			w.NewServiceAccount = true
			w.warn("it runs as the service account default now: what Kubernetes's roles give to that, the new one, %s, does not have", name)
		case !azure.EqualFold(has(), client):
			w.block("it runs as the service account default, and in its place would a new one called %s; there is one of that name, which is somebody's: set spec.serviceAccountName in its template, and run this again", name)
		}
	} else if account == nil {
		w.block("its service account %s is not there", name)
	} else if other := has(); other != "" && !azure.EqualFold(other, client) {
		w.block("its service account %s has the identity with the client ID %s: give it a service account of its own, or take the annotation %s away, and run this again", name, other, workloadidentity.ClientIDAnnotation)
	}
	w.ServiceAccount = name
}

// accountOf is the service account that a workload's pods run as.
func accountOf(w *Workload) string {
	spec := child(template(w.object), "spec")
	for _, field := range []string{"serviceAccountName", "serviceAccount"} {
		if name, _ := spec[field].(string); name != "" {
			return name
		}
	}
	return "default"
}

// moved reports whether a workload has its identity by workload identity.
func (p *planner) moved(w *Workload) bool {
	account := p.accounts[objectName{w.Namespace, w.ServiceAccount}]
	return account != nil && accountOf(w) == w.ServiceAccount &&
		azure.EqualFold(account.GetAnnotations()[workloadidentity.ClientIDAnnotation], w.Identities[0].ClientID) &&
		texts(template(w.object), "metadata", "labels")[workloadidentity.UseLabel] == "true"
}

// warnings are what to know before the manifests are applied.
func (p *planner) warnings(w *Workload) {
	o := w.object
	if level := p.enforced[w.Namespace]; level == "baseline" || level == "restricted" {
		w.warn("its namespace enforces the pod security standard %s, which refuses the capability NET_ADMIN that the token proxy's redirect takes: "+
			"its new pods are refused unless the namespace lets them, or its programs take a WorkloadIdentityCredential and the annotation %s goes", level, workloadidentity.InjectProxyAnnotation)
	}
	if release := o.GetAnnotations()["meta.helm.sh/release-name"]; release != "" || o.GetLabels()["app.kubernetes.io/managed-by"] == "Helm" {
		w.warn("Helm has made it: change the chart or its values too, or the next upgrade takes the change back")
	}
	switch w.Kind {
	case "Job", "Pod":
		w.warn("Kubernetes lets nobody change it: it is deleted and made anew")
	case "ReplicaSet", "ReplicationController":
		w.warn("the pods that it has made stay as they are until they are deleted")
	case "StatefulSet", "DaemonSet":
		if child(o.Object, "spec", "updateStrategy")["type"] == "OnDelete" {
			w.warn("its update strategy is OnDelete: the pods that it has made stay as they are until they are deleted")
		}
	}
}
