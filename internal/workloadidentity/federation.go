package workloadidentity

import "github.com/lanyard-id/lanyard/internal/azure"

// Federation tells what a cloud knows of who may become whom from this cluster.
// Warnings alone follow from it: what counts is what the cloud decides when the
// pod asks for a token, which may be later.
type Federation interface {
	// Issuer is the URL by which the cloud knows the cluster's tokens.
	Issuer() string
	// TenantKnown reports whether a tenant has anything to do with the cluster.
	TenantKnown(tenantID string) bool
	// Trusted reports how a client's federated credentials stand to a token of
	// this cluster with a subject and an audience.
	Trusted(clientID, subject, audience string) Trusted
}

// Trusted is how near a client's federated credentials come to a token.
type Trusted int

// How near they come.
const (
	// TrustedNowhere: no credential of the client trusts the cluster, or there is
	// no such client.
	TrustedNowhere Trusted = iota
	// TrustedElsewhere: some trust the cluster, for other subjects.
	TrustedElsewhere
	// TrustedOtherwise: one has the subject, and another audience.
	TrustedOtherwise
	// TrustedHere: one matches, or may match: an expression decides.
	TrustedHere
)

// warnAboutFederation names what a token of the pod would be refused for. Pods of
// a custom token endpoint are its own matter, and containers that name a client
// themselves may name any.
func (d *decision) warnAboutFederation(f Federation) {
	if f == nil || d.custom != nil {
		return
	}
	if azure.IsGUID(d.tenant) && !f.TenantKnown(d.tenant) {
		d.warnf("tenant %s is unknown to the cloud, or nothing in it trusts this cluster", d.tenant)
		return
	}
	if !azure.IsGUID(d.client) || d.hasOwnClientID() {
		return
	}
	subject, audience := d.sa.Subject(), d.settings.Audience
	switch f.Trusted(d.client, subject, audience) {
	case TrustedHere:
		return
	case TrustedOtherwise:
		d.warnf("the federated credential of client %s for %s has another audience than %s", d.client, subject, audience)
		return
	case TrustedElsewhere:
		d.warnf("no federated credential of client %s has the subject %s", d.client, subject)
	default:
		d.warnf("client %s is unknown, or has no federated credential that trusts this cluster", d.client)
	}
	// In pieces, each short enough to be shown whole.
	d.warnf("the pod's tokens have the issuer %s", f.Issuer())
	d.warnf("the pod's tokens have the subject %s and the audience %s", subject, audience)
	d.warnf("to create the federated credential: lanyard serviceaccount create phase federated-identity --service-account-namespace %s --service-account-name %s",
		d.sa.Namespace, d.sa.Name)
	d.warnf("with --managed-identity RESOURCE-ID or --aad-application-client-id %s; or: az identity federated-credential create", d.client)
}
