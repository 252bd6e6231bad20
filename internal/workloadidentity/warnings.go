package workloadidentity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// maxWarning is the length to which the API server asks webhooks to keep a
// warning, in bytes.
const maxWarning = 256

// warnf adds an admission warning, once.
func (d *decision) warnf(format string, args ...any) {
	if len(d.out.Warnings) == maxWarnings {
		return
	}
	w := shorten(fmt.Sprintf(format, args...), maxWarning)
	if !slices.Contains(d.out.Warnings, w) {
		d.out.Warnings = append(d.out.Warnings, w)
	}
}

// warnAboutServiceAccount names the mistakes by which a pod gets a token that
// nobody takes.
func (d *decision) warnAboutServiceAccount() {
	switch {
	case d.client == "" && !d.hasOwnClientID():
		d.warnf("service account %q has no annotation %s: the pod does not know which identity it is", d.sa.Name, ClientIDAnnotation)
	case d.client == d.sa.ClientID && d.client != "" && !azure.IsGUID(d.sa.ClientID):
		d.warnf("service account %q: annotation %s is %q, which is not a GUID; it takes the identity's client ID", d.sa.Name, ClientIDAnnotation, d.sa.ClientID)
	}
	if t := d.sa.TenantID; t != "" && !isTenant(t) {
		d.warnf("service account %q: annotation %s is %q, which is neither a GUID nor a domain", d.sa.Name, TenantIDAnnotation, t)
	}
}

// hasOwnClientID: every container names its identity itself, so that the service
// account need not.
func (d *decision) hasOwnClientID() bool {
	spec := d.pod.Spec
	for _, c := range spec.Containers {
		if !hasVariable(c.Env, envClientID) {
			return false
		}
	}
	return len(spec.Containers) > 0
}

// warnAboutSkips names containers to skip that the pod does not have. Another
// webhook may still add them, so that this is no error.
func (d *decision) warnAboutSkips(names []string) {
	known := map[string]bool{"": true, ProxyContainer: true, ProxyInitContainer: true}
	for _, c := range slices.Concat(d.pod.Spec.InitContainers, d.pod.Spec.Containers) {
		known[c.Name] = true
	}
	for _, name := range names {
		if known[name] {
			continue
		}
		if strings.Contains(name, ",") {
			d.warnf("annotation %s: %q is no container; names are separated by semicolons", SkipContainersAnnotation, name)
			continue
		}
		d.warnf("annotation %s: the pod has no container %q", SkipContainersAnnotation, name)
	}
}

// warnAboutProxy: the annotation counts by being there, which its value may
// seem to contradict.
func (d *decision) warnAboutProxy() {
	if v := d.pod.Metadata.Annotations[InjectProxyAnnotation]; v != "" && !strings.EqualFold(v, "true") {
		d.warnf("annotation %s is %q: the proxy is injected all the same; remove the annotation to go without", InjectProxyAnnotation, v)
	}
}

// isTenant: Entra takes a tenant's ID or one of its domains.
func isTenant(s string) bool {
	return azure.IsGUID(s) || (strings.Contains(s, ".") && !strings.ContainsAny(s, " /:"))
}
