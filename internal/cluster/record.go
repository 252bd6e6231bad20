package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// The layout in the store. IDs and names are folded.
//
//	clusters/record/{cluster}                    record
//	clusters/seen/{cluster}                      seen
//	clusters/report/{cluster}/{component}/{pod}  report
//	clusters/trusted/{name}                      TrustedIssuer
//	clusters/trustedurl/{hash of the issuer URL} name; a guard
const (
	prefix     = "clusters/"
	records    = "record"
	seenTimes  = "seen"
	reports    = "report"
	trusted    = "trusted"
	trustedURL = "trustedurl"
)

// key joins the folded parts to a key of the given kind.
func key(kind string, parts ...string) string {
	return azure.Fold(prefix + kind + "/" + strings.Join(parts, "/"))
}

// trustedURLKey is the guard of an issuer URL, which may be long and hold slashes.
func trustedURLKey(issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return key(trustedURL, hex.EncodeToString(sum[:]))
}

// Cluster is what the Resource Manager says of an attached cluster.
type Cluster struct {
	// ID is a random GUID, the cluster's for its life.
	ID       string `json:"id"`
	TenantID string `json:"tenantId"`
	// ResourceID is that of the connected cluster.
	ResourceID string `json:"resourceId"`
	// IssuerEnabled is oidcIssuerProfile.enabled. Without it no token of the
	// cluster is accepted, nor any agent.
	IssuerEnabled bool `json:"issuerEnabled,omitempty"`
	// IssuerURL is the issuer that the cloud has assigned: made when the issuer is
	// first enabled, and the cluster's for its life.
	IssuerURL string `json:"issuerUrl,omitempty"`
	// SelfHostedIssuerURL is an issuer that publishes its own documents; empty:
	// there is none.
	SelfHostedIssuerURL string `json:"selfHostedIssuerUrl,omitempty"`
}

// record is a cluster as it is stored.
type record struct {
	Cluster
	Enrolment *enrolment `json:"enrolment,omitempty"` // nil: never enrolled
	// KeySet is the JWK set of the assigned issuer's keys, each of which is
	// usable. KeysSeen tells by key ID when a key was last published, as far as the
	// cloud has heard.
	KeySet   json.RawMessage      `json:"keySet,omitempty"`
	KeysSeen map[string]time.Time `json:"keysSeen,omitempty"`
}

// enrolment is what an operator has said of a cluster.
type enrolment struct {
	// Issuer is what the cluster's API server says that it is.
	Issuer string `json:"issuer"`
	// AgentSubjects are the service accounts that agents run as.
	AgentSubjects []string  `json:"agentSubjects"`
	Time          time.Time `json:"time"`
}

// issuer gives the issuer of the cluster's tokens: the enrolled one, as long as
// the cluster's resource allows it. Empty: none is accepted.
func (r *record) issuer() string {
	if r.Enrolment == nil || !r.IssuerEnabled {
		return ""
	}
	if issuer := r.Enrolment.Issuer; issuer == r.IssuerURL || issuer == r.SelfHostedIssuerURL {
		return issuer
	}
	return ""
}

// assigned reports whether the issuer of the cluster's tokens is the one that the
// cloud has assigned, whose keys the cloud holds and publishes.
func (r *record) assigned() bool { return r.issuer() != "" && r.issuer() == r.IssuerURL }

// seen is when a cluster was last heard of by its agents' streams.
type seen struct {
	Time time.Time `json:"time"`
}

// TrustedIssuer is an issuer whose keys the operator has given, for one tenant.
type TrustedIssuer struct {
	// Name is the operator's, unique in the cloud whatever its case.
	Name string `json:"name"`
	// IssuerURL is compared to the letter.
	IssuerURL string `json:"issuerUrl"`
	// TenantID is the tenant whose federated credentials trust these keys.
	TenantID string `json:"tenantId"`
	// KeySet is the JWK set.
	KeySet  json.RawMessage `json:"keySet"`
	Created time.Time       `json:"created"`
	Changed time.Time       `json:"changed"`
}
