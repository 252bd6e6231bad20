package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/cluster"
)

// connectedClusterVersions are the api-versions of Microsoft.Kubernetes.
var connectedClusterVersions = []string{
	"2026-05-01", "2026-03-01", "2026-02-01-preview", "2025-12-01-preview", "2025-08-01-preview", "2024-12-01-preview", "2024-07-15-preview",
	"2024-07-01-preview", "2024-06-01-preview", "2024-02-01-preview", "2024-01-01", "2023-11-01-preview", "2022-10-01-preview", "2022-05-01-preview",
	"2021-10-01", "2021-04-01-preview", "2021-03-01", "2020-01-01-preview",
}

// clusterID is where the stored properties have the cluster's ID.
const clusterID = "clusterId"

// connectedClusters are Microsoft.Kubernetes/connectedClusters, which Azure calls
// Azure Arc-enabled Kubernetes: the clusters that are attached to this cloud. Each
// has a record in package cluster, written in the same transaction.
//
// What Azure's agents do by services of their own, agents here do by the action
// enroll, which is a part of writing a cluster, as far as roles go: so the role
// "Kubernetes Cluster - Azure Arc Onboarding" attaches clusters here too.
func connectedClusters(cfg Config) arm.Type {
	return arm.Define(arm.Spec{
		Name: "Microsoft.Kubernetes/connectedClusters", Versions: connectedClusterVersions, In: arm.AtResourceGroup, Tracked: true,
		Members: []string{"identity", "kind"}, SystemData: true, ProvisioningState: true,
	}, arm.Hooks[rawJSON]{
		Put: func(_ context.Context, p *arm.Put[rawJSON]) error { return putConnectedCluster(cfg, p) },
		Delete: func(_ context.Context, r *arm.Request, old *arm.Resource[rawJSON]) error {
			id, err := storedClusterID(old)
			if err != nil {
				return err
			}
			return cfg.Clusters.Delete(r.Tx, id, old.ID.String())
		},
		Show: func(_ context.Context, res *arm.Resource[rawJSON]) (any, error) {
			return showConnectedCluster(cfg, res)
		},
		Actions: []arm.Action[rawJSON]{{
			Name: "enroll", As: "write", Writes: true,
			Run: func(_ context.Context, r *arm.Request, res *arm.Resource[rawJSON], body json.RawMessage) (int, any, error) {
				return enrollConnectedCluster(cfg, r, res, body)
			},
		}},
	})
}

// readOnlyOfCluster are the properties that the service says and nobody writes.
var readOnlyOfCluster = []string{
	clusterID, "kubernetesVersion", "totalNodeCount", "totalCoreCount", "agentVersion", "offering", "lastConnectivityTime",
	"connectivityStatus", "managedIdentityCertificateExpirationTime", "miscellaneousProperties", "provisioningState",
}

// clusterContent are the properties that are acted upon.
type clusterContent struct {
	AgentPublicKeyCertificate *string `json:"agentPublicKeyCertificate"`
	OIDCIssuerProfile         *struct {
		Enabled             bool   `json:"enabled"`
		SelfHostedIssuerURL string `json:"selfHostedIssuerUrl"`
	} `json:"oidcIssuerProfile"`
	SecurityProfile *struct {
		WorkloadIdentity *struct {
			Enabled *bool `json:"enabled"`
		} `json:"workloadIdentity"`
	} `json:"securityProfile"`
}

// putConnectedCluster keeps the properties as they are written, but for those that
// the service says, and brings the cluster's record in step. An issuer profile that
// a PUT doesn't speak of stays: turned off by a client that has not heard of it,
// it would end every token of the cluster.
func putConnectedCluster(cfg Config, p *arm.Put[rawJSON]) error {
	var asked clusterContent
	if len(p.New.Properties) > 0 {
		if err := json.Unmarshal(p.New.Properties, &asked); err != nil {
			return arm.InvalidContent(p.Body, err)
		}
	}
	if asked.AgentPublicKeyCertificate == nil {
		err := azure.Errorf(http.StatusBadRequest, "InvalidRequestContent",
			"The request content was invalid: properties.agentPublicKeyCertificate is required; it may be empty, as agents of this cloud have no certificate.")
		err.Target = "properties.agentPublicKeyCertificate"
		return err
	}
	props, err := decodeProperties(p.New.Properties)
	if err != nil {
		return err
	}
	dropWriteOnly(props)
	for _, name := range readOnlyOfCluster {
		dropMember(props, name)
	}
	var record cluster.Cluster
	if p.Old != nil {
		old, err := decodeProperties(p.Old.Properties)
		if err != nil {
			return err
		}
		record.ID, _ = old[clusterID].(string)
		if asked.OIDCIssuerProfile == nil && old["oidcIssuerProfile"] != nil {
			props["oidcIssuerProfile"] = old["oidcIssuerProfile"]
			if err := json.Unmarshal(p.Old.Properties, &asked); err != nil {
				return fmt.Errorf("reading the issuer profile of %s: %w", p.ID, err)
			}
		}
	}
	record.TenantID, record.ResourceID = p.TenantID, p.New.ID.String()
	if profile := asked.OIDCIssuerProfile; profile != nil {
		record.IssuerEnabled, record.SelfHostedIssuerURL = profile.Enabled, profile.SelfHostedIssuerURL
	}
	if record, err = cfg.Clusters.Put(p.Tx, record); err != nil {
		return err
	}
	props[clusterID] = record.ID
	if asked.OIDCIssuerProfile != nil {
		setIssuer(props, record)
	}
	for name, value := range map[string]string{"azureHybridBenefit": "NotApplicable", "privateLinkState": "Disabled"} {
		if _, ok := props[name]; !ok {
			props[name] = value
		}
	}
	if p.New.Properties, err = json.Marshal(props); err != nil {
		return fmt.Errorf("encoding the properties of %s: %w", p.ID, err)
	}
	return nil
}

// setIssuer makes the issuer profile say what the record does.
func setIssuer(props map[string]any, record cluster.Cluster) {
	dropMember(props, "oidcIssuerProfile")
	profile := map[string]any{"enabled": record.IssuerEnabled}
	if record.SelfHostedIssuerURL != "" {
		profile["selfHostedIssuerUrl"] = record.SelfHostedIssuerURL
	}
	if record.IssuerEnabled {
		profile["issuerUrl"] = record.IssuerURL
	}
	props["oidcIssuerProfile"] = profile
}

// storedClusterID gives the ID of a resource's cluster: the member of that very name,
// which clients cannot write. A struct would take others for it too, such as one with
// Unicode's long s, which they can.
func storedClusterID(res *arm.Resource[rawJSON]) (string, error) {
	props, err := decodeProperties(res.Properties)
	if err != nil {
		return "", fmt.Errorf("the properties of %s: %w", res.ID, err)
	}
	id, _ := props[clusterID].(string)
	if id == "" {
		return "", fmt.Errorf("the stored properties of %s have no cluster ID", res.ID)
	}
	return id, nil
}

// shownPods is how many unmutated pods a cluster's properties name.
const shownPods = 20

// showConnectedCluster adds what agents have reported. What Azure's contract has no
// property for is in miscellaneousProperties, which are texts by name.
func showConnectedCluster(cfg Config, res *arm.Resource[rawJSON]) (any, error) {
	props, err := decodeProperties(res.Properties)
	if err != nil {
		return nil, err
	}
	id, err := storedClusterID(res)
	if err != nil {
		return nil, err
	}
	delete(props, clusterID)
	s, ok := cfg.Clusters.Status(id)
	if !ok { // made a moment ago by another replica
		s.Connectivity = cluster.Connecting
	}
	more := map[string]string{clusterID: id, "enrolled": strconv.FormatBool(s.Enrolled)}
	if s.UnmutatedKnown {
		more["unmutatedPods"] = strconv.Itoa(s.UnmutatedCount)
		more["unmutatedPodNames"] = podNames(s.Unmutated)
	}
	props["connectivityStatus"], props["miscellaneousProperties"] = s.Connectivity, more
	if !s.LastSeen.IsZero() {
		props["lastConnectivityTime"] = s.LastSeen.UTC().Format(time.RFC3339)
	}
	for name, value := range map[string]string{"agentVersion": s.AgentVersion, "kubernetesVersion": s.KubernetesVersion} {
		if value != "" {
			props[name] = value
		}
	}
	if s.NodeCount > 0 {
		props["totalNodeCount"] = s.NodeCount
	}
	return props, nil
}

// podNames lists some pods.
func podNames(pods []channel.UnmutatedPod) string {
	var names []string
	for i, pod := range pods {
		if i == shownPods {
			names = append(names, "...")
			break
		}
		names = append(names, pod.Namespace+"/"+pod.Name)
	}
	return strings.Join(names, ", ")
}

// enrollConnectedCluster trusts the cluster's issuer and its agents.
func enrollConnectedCluster(cfg Config, r *arm.Request, res *arm.Resource[rawJSON], body json.RawMessage) (int, any, error) {
	var asked struct {
		Issuer        string          `json:"issuer"`
		Keys          json.RawMessage `json:"keys"`
		AgentSubjects []string        `json:"agentSubjects"`
	}
	if len(body) == 0 {
		return 0, nil, azure.Errorf(http.StatusBadRequest, "InvalidRequestContent",
			`The request content was invalid: it is {"issuer": what the API server says, "keys": its JWK set, "agentSubjects": ["system:serviceaccount:NAMESPACE:NAME"]}.`)
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return 0, nil, arm.InvalidContent(body, err)
	}
	if string(asked.Keys) == "null" {
		asked.Keys = nil
	}
	id, err := storedClusterID(res)
	if err != nil {
		return 0, nil, err
	}
	e, err := cfg.Clusters.Enroll(r.Tx, id, res.ID.String(), cluster.Enrolment{Issuer: asked.Issuer, Keys: asked.Keys, AgentSubjects: asked.AgentSubjects})
	if err != nil {
		return 0, nil, err
	}
	caller := r.Caller
	r.AfterCommit(func(ctx context.Context) error { return cfg.Clusters.AuditEnrolment(ctx, caller, e) })
	return http.StatusOK, enrolledCluster{
		ClusterID: e.ID, TenantID: e.TenantID, ResourceID: e.ResourceID, IssuerURL: e.Issuer,
		AgentEndpoint: cfg.Cloud.Agents(), Audience: channel.Audience, KeyIDs: e.KeyIDs, UnusableKeyIDs: e.UnusableKeyIDs,
	}, nil
}

// enrolledCluster is the answer to an enrolment: what agents are configured with.
type enrolledCluster struct {
	ClusterID      string   `json:"clusterId"`
	TenantID       string   `json:"tenantId"`
	ResourceID     string   `json:"resourceId"`
	IssuerURL      string   `json:"issuerUrl"`
	AgentEndpoint  string   `json:"agentEndpoint"`
	Audience       string   `json:"audience"`
	KeyIDs         []string `json:"keyIds,omitempty"`
	UnusableKeyIDs []string `json:"unusableKeyIds,omitempty"`
}
