package channel

import "encoding/json"

// Audience is the one that the service account tokens of agents have. They are
// worth nothing at a token endpoint, nor is a workload's token here.
const Audience = "api://lanyard-agent"

// ChangesPath and ReportsPath are the paths of a cluster's two endpoints below
// https://agents.D; cluster is its ID, a GUID, as its issuer URL ends with it.
func ChangesPath(cluster string) string { return "/v1/clusters/" + cluster + "/changes" }

// ReportsPath is documented with [ChangesPath].
func ReportsPath(cluster string) string { return "/v1/clusters/" + cluster + "/reports" }

// HistoryParameter and RevisionParameter are the query parameters by which an
// agent resumes a stream: the [Change.History] of the last reset, and the
// revision of the last [KindSynced] after it. Without both, or when the cloud
// cannot tell what changed since, the stream begins with a reset.
const (
	HistoryParameter  = "history"
	RevisionParameter = "revision"
)

// ContentType is that of the stream: JSON objects, each ended by a line feed.
const ContentType = "application/x-ndjson"

// MaxLineBytes bounds a line of the stream.
const MaxLineBytes = 1 << 20

// Kind says what a [Change] is about.
type Kind string

// The kinds of changes.
const (
	// KindReset comes first where the cloud cannot tell what changed since the
	// revision that the agent asked for: all that the agent knew is void, and the
	// whole state follows. It may come later too, when the cloud's storage was
	// restored.
	KindReset Kind = "reset"
	// KindCluster brings the cluster's own record, new or changed.
	KindCluster Kind = "cluster"
	// KindCredential brings a federated credential, new or changed, that trusts
	// this cluster's issuer.
	KindCredential Kind = "credential"
	// KindCredentialGone says that a credential trusts this cluster no more:
	// deleted, changed, or its identity disabled or deleted. Only its ID is set.
	KindCredentialGone Kind = "credentialGone" //nolint:gosec // a name
	// KindSynced ends the whole state, and every group of changes of one
	// revision: an agent may resume from there.
	KindSynced Kind = "synced"
	// KindHeartbeat says that the cloud is there and nothing has changed. It comes
	// every [HeartbeatSeconds].
	KindHeartbeat Kind = "heartbeat"
)

// HeartbeatSeconds is the time between heartbeats. An agent that hears nothing
// for three of them dials again.
const HeartbeatSeconds = 5

// Change is one line of the stream. Kinds that the agent does not know are to be
// ignored, and so are unknown fields.
type Change struct {
	// Revision is the cloud's, and grows within one history.
	Revision int64 `json:"revision,string"`
	// History is set by KindReset alone: it names what the revisions that follow
	// count in. Another replica of the cloud, or the same one restarted, has
	// another.
	History    string      `json:"history,omitempty"`
	Kind       Kind        `json:"kind"`
	Cluster    *Cluster    `json:"cluster,omitempty"`
	Credential *Credential `json:"credential,omitempty"`
}

// Cluster is what an agent learns of the cluster that it is in.
type Cluster struct {
	// ID is a GUID; ResourceID is the ARM ID of the connected cluster.
	ID         string `json:"id"`
	ResourceID string `json:"resourceId"`
	TenantID   string `json:"tenantId"`
	// IssuerURL is the issuer by which federated credentials know the cluster.
	IssuerURL string `json:"issuerUrl"`
	// KeyIDs are those of the signing keys that the cloud accepts of the cluster.
	KeyIDs []string `json:"keyIds"`
	// Incomplete: there are more credentials than are told. That one is not told says
	// nothing then.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Credential is a federated credential that trusts the cluster's issuer, of a
// managed identity or an application.
type Credential struct {
	// ID is opaque and names the credential in later changes.
	ID       string `json:"id"`
	ClientID string `json:"clientId,omitempty"`
	TenantID string `json:"tenantId,omitempty"`
	// Name is for people: the identity and the credential.
	Name string `json:"name,omitempty"`
	// Subject is the one that it matches, exactly. It is empty where an
	// expression matches instead: Flexible is true then.
	Subject   string   `json:"subject,omitempty"`
	Flexible  bool     `json:"flexible,omitempty"`
	Audiences []string `json:"audiences,omitempty"`
}

// ReportSeconds is how often an agent reports what it sees, changed or not. The
// cloud takes no more than one report of a component and a pod in
// [ReportPauseSeconds], and answers others with 429.
const (
	ReportSeconds      = 60
	ReportPauseSeconds = 5
)

// Report is what an agent tells: each time all of it, since a report takes the
// place of the one before it of the same component in the same pod, which is the
// one that the agent's token is bound to. A report is answered with 200 and {}.
type Report struct {
	// Component is the role that reports: "webhook". Required: letters, digits and
	// dashes in lower case.
	Component string `json:"component"`
	// AgentVersion and KubernetesVersion are for people.
	AgentVersion      string `json:"agentVersion,omitempty"`
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// NodeCount is how many nodes the cluster has; 0: not known.
	NodeCount int `json:"nodeCount,omitempty"`
	// Issuer and Keys are what the API server publishes: its discovery document's
	// issuer, and its JWK set; both or neither. Keys are taken for the issuer that
	// the cloud has assigned, and left alone for another.
	Issuer string          `json:"issuer,omitempty"`
	Keys   json.RawMessage `json:"keys,omitempty"`
	// Unmutated are pods that ask for the webhook and run without what it adds;
	// an empty list that is present says that there are none.
	Unmutated *[]UnmutatedPod `json:"unmutated,omitempty"`
}

// UnmutatedPod is a pod that should have been mutated and was not.
type UnmutatedPod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}
