package workloadidentity

import "strings"

// Pod is the few fields of a pod that decide what it gets. They are read from
// the API server's JSON; every other field stays where it is, since patches only
// add.
type Pod struct {
	Metadata PodMetadata `json:"metadata"`
	Spec     *PodSpec    `json:"spec"`
}

// PodMetadata is a pod's name, annotations, and the one label that counts. A pod
// that a controller makes has a GenerateName and, while it is admitted, often no
// Name.
type PodMetadata struct {
	Name         string            `json:"name"`
	GenerateName string            `json:"generateName"`
	Annotations  map[string]string `json:"annotations"`
	Labels       PodLabels         `json:"labels"`
}

// PodLabels are the labels that are read.
type PodLabels struct {
	// System is SystemLabel's.
	System string `json:"azure-workload-identity.io/system"`
}

// PodSpec is a pod's containers and what they share.
type PodSpec struct {
	ServiceAccountName string       `json:"serviceAccountName"`
	HostNetwork        bool         `json:"hostNetwork"`
	DNSPolicy          string       `json:"dnsPolicy"`
	HostAliases        []HostAlias  `json:"hostAliases"`
	Volumes            []Volume     `json:"volumes"`
	InitContainers     []*Container `json:"initContainers"`
	Containers         []*Container `json:"containers"`
}

// Container is a container's name, variables and mounts.
type Container struct {
	Name         string        `json:"name"`
	Env          []EnvVar      `json:"env"`
	VolumeMounts []VolumeMount `json:"volumeMounts"`
}

// EnvVar is an environment variable. That it is there is mostly enough, whether
// by value, by reference (Value is empty then) or empty.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// HostAlias is a line of the pod's hosts file.
type HostAlias struct {
	IP        string   `json:"ip"`
	Hostnames []string `json:"hostnames"`
}

// VolumeMount is which volume lies where.
type VolumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
}

// Volume is a volume's name and, of a projected one, its sources.
type Volume struct {
	Name      string           `json:"name"`
	Projected *ProjectedVolume `json:"projected"`
}

// ProjectedVolume is what a projected volume is made of.
type ProjectedVolume struct {
	Sources []VolumeSource `json:"sources"`
}

// VolumeSource is a token, a config map, or something else, which is not read.
type VolumeSource struct {
	ServiceAccountToken *TokenSource     `json:"serviceAccountToken"`
	ConfigMap           *ConfigMapSource `json:"configMap"`
}

// TokenSource is where a token lies in a volume, and whom it is for.
type TokenSource struct {
	Path     string `json:"path"`
	Audience string `json:"audience"`
}

// ConfigMapSource is the name of a config map.
type ConfigMapSource struct {
	Name string `json:"name"`
}

// ServiceAccountName is the name of the pod's service account.
func (p *Pod) ServiceAccountName() string {
	if p == nil || p.Spec == nil || p.Spec.ServiceAccountName == "" {
		return DefaultServiceAccount
	}
	return p.Spec.ServiceAccountName
}

// DisplayName is the pod's name, or what is known of it while it has none.
func (p *Pod) DisplayName() string {
	if p.Metadata.Name != "" {
		return p.Metadata.Name
	}
	return p.Metadata.GenerateName + " (prefix)"
}

// System tells whether the pod says that it is one of the webhook's own.
func (p *Pod) System() bool { return p != nil && p.Metadata.Labels.System == "true" }

// Mirror tells whether the pod is the API server's picture of a static pod, which
// a node runs by a file of its own. It has no service account, and the API server
// refuses one that a token's volume was added to.
func (p *Pod) Mirror() bool {
	if p == nil {
		return false
	}
	_, ok := p.Metadata.Annotations[MirrorAnnotation]
	return ok
}

// ServiceAccount is what the webhook needs of a service account.
type ServiceAccount struct {
	Namespace, Name string
	// ClientID is the identity's client ID, "" without the annotation.
	ClientID string
	// TenantID is the annotated tenant. It counts only with HasTenantID: an
	// empty annotation is not the same as none.
	TenantID    string
	HasTenantID bool
	// Expiration is the annotated lifetime of tokens, unparsed.
	Expiration string
}

// Subject is the name that the account's tokens carry.
func (a ServiceAccount) Subject() string {
	return "system:serviceaccount:" + a.Namespace + ":" + a.Name
}

// ServiceAccountOf reads a service account's annotations.
func ServiceAccountOf(namespace, name string, annotations map[string]string) ServiceAccount {
	tenant, has := annotations[TenantIDAnnotation]
	return ServiceAccount{
		Namespace: namespace, Name: name, ClientID: CutAnnotation(annotations[ClientIDAnnotation]),
		TenantID: CutAnnotation(tenant), HasTenantID: has,
		Expiration: CutAnnotation(annotations[ExpirationAnnotation]),
	}
}

// CutAnnotation gives as much of the value of a service account's annotation as is
// looked at: 512 bytes. What is longer is not valid, nor is what is left of it; it
// would be remembered for every service account, and be in every container.
func CutAnnotation(value string) string {
	if len(value) <= maxAnnotation {
		return value
	}
	return strings.ToValidUTF8(strings.Clone(value[:maxAnnotation]), "")
}
