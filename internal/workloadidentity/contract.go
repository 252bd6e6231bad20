package workloadidentity

// The names that pods and service accounts use, as azure-workload-identity
// v1.6.0 defines them.
const (
	// UseLabel on a pod, with the value "true", asks for the webhook. The
	// webhook configuration's object selector reads it; Decide does not.
	UseLabel = "azure.workload.identity/use"

	// ClientIDAnnotation on a service account names the identity's client ID.
	ClientIDAnnotation = "azure.workload.identity/client-id"
	// TenantIDAnnotation on a service account names its tenant. Present but
	// empty, it keeps AZURE_TENANT_ID away from the pod.
	TenantIDAnnotation = "azure.workload.identity/tenant-id"
	// ExpirationAnnotation on a pod, else on its service account, is the
	// lifetime of the projected token in seconds.
	ExpirationAnnotation = "azure.workload.identity/service-account-token-expiration"
	// SkipContainersAnnotation on a pod lists containers, init containers too,
	// that get nothing, separated by semicolons.
	SkipContainersAnnotation = "azure.workload.identity/skip-containers"
	// InjectProxyAnnotation on a pod asks for the token proxy by being there,
	// whatever its value.
	InjectProxyAnnotation = "azure.workload.identity/inject-proxy-sidecar"
	// ProxyPortAnnotation on a pod is the port that the token proxy listens on.
	ProxyPortAnnotation = "azure.workload.identity/proxy-sidecar-port"
	// customTokenAnnotationPrefix and the configured suffix make the annotation
	// by which a pod asks for the custom token endpoint (identity bindings).
	customTokenAnnotationPrefix = "azure.workload.identity/use-"

	// SystemLabel on a pod, with the value "true", says that it is one of the
	// webhook's own: upstream's manifests have it on all that they install.
	SystemLabel = "azure-workload-identity.io/system"

	// MirrorAnnotation is what a kubelet puts on the pod that it makes for a
	// static one.
	MirrorAnnotation = "kubernetes.io/config.mirror"
)

// Annotations of pods that upstream does not have.
const (
	// PodClientIDAnnotation is the identity's client ID, in place of the service
	// account's. It gives no right that the pod has not: the pod may name any
	// client in AZURE_CLIENT_ID, and the token's subject decides.
	PodClientIDAnnotation = "lanyard.dev/client-id"
	// AuthorityAnnotation chooses one of Cloud.Authorities.
	AuthorityAnnotation = "lanyard.dev/authority"
	// TrustAnnotation is "none", or those of Cloud.Trust, separated by commas,
	// that the pod's containers need.
	TrustAnnotation = "lanyard.dev/trust"
)

// Defaults and limits.
const (
	// DefaultAudience is the audience of projected tokens, which federated
	// credentials expect.
	DefaultAudience = "api://AzureADTokenExchange"
	// MinExpiration, MaxExpiration and DefaultExpiration bound the lifetime of
	// projected tokens, in seconds.
	MinExpiration     = 3600
	MaxExpiration     = 86400
	DefaultExpiration = 3600
	// DefaultProxyPort is where the token proxy listens.
	DefaultProxyPort = 8000
	// DefaultProxyImage and DefaultProxyInitImage are the images of the token
	// proxy and of the container that redirects to it: upstream's.
	DefaultProxyImage     = "mcr.microsoft.com/oss/azure/workload-identity/proxy:v1.6.0"
	DefaultProxyInitImage = "mcr.microsoft.com/oss/azure/workload-identity/proxy-init:v1.6.0"
	// DefaultServiceAccount is the service account of a pod that names none.
	DefaultServiceAccount = "default"
)

// Limits of what strangers write. A pod is looked at before the API server has
// validated it, and one cluster has one webhook: nobody's pod may cost it much.
const (
	// maxContainers is how many containers a pod may have, init containers among
	// them. Each gets some kilobytes.
	maxContainers = 1000
	// maxElements is how many elements the lists and annotations that are read of a
	// review may have together; a pod of that many is larger than the API server
	// keeps. They take more memory than they are long.
	maxElements = 50_000
	// maxAnnotation is the length, in bytes, to which values of a service account's
	// annotations are cut. What is valid of them is shorter.
	maxAnnotation = 512
	// maxMessage is the length of a denial, in bytes: it may quote the pod.
	maxMessage = 1024
	// maxWarnings is how many warnings a pod gets. The API server shows 4096 bytes
	// of them.
	maxWarnings = 32
)

// What a pod gets.
const (
	// VolumeNamePrefix and the first 30 hexadecimal digits of the SHA-256 of the
	// pod's name make the name of the token volume.
	VolumeNamePrefix = "azure-workload-identity-reserved-"
	// MountPath is where containers find the token volume.
	MountPath = "/var/run/secrets/azure/wi"
	// TokenFilePath is the token's place in the volume.
	TokenFilePath = "token/azure-identity-token" //nolint:gosec // a path
	// CAFilePath is the place in the volume of the CA of a custom token endpoint.
	CAFilePath = "ca-cert/ca.crt"

	// TrustConfigMap is the config map in the pod's namespace from which the
	// volume takes the cloud's authority; the keys are its data.
	TrustConfigMap = "azure-wi-lanyard-trust"
	TrustKeyCA     = "ca.crt"         // the cloud's authority, PEM
	TrustKeyBundle = "ca-bundle.crt"  // the public authorities and the cloud's, PEM
	TrustKeyJava   = "truststore.p12" // the same, as Java reads it
	// trustDir is where they lie in the volume, and trustCertDir, below it, the
	// directory of the cloud's authority alone.
	trustDir     = "trust"
	trustCertDir = trustDir + "/certs"

	// ProxyContainer and ProxyInitContainer are the containers of the proxy.
	ProxyContainer     = "azwi-proxy"
	ProxyInitContainer = "azwi-proxy-init"

	envClientID      = "AZURE_CLIENT_ID"
	envTenantID      = "AZURE_TENANT_ID"
	envTokenFile     = "AZURE_FEDERATED_TOKEN_FILE" //nolint:gosec // a name
	envAuthorityHost = "AZURE_AUTHORITY_HOST"
	envTokenProxy    = "AZURE_KUBERNETES_TOKEN_PROXY" //nolint:gosec // a name
	envSNIName       = "AZURE_KUBERNETES_SNI_NAME"
	envCAFile        = "AZURE_KUBERNETES_CA_FILE"
	envCAData        = "AZURE_KUBERNETES_CA_DATA"
	envProxyPort     = "PROXY_PORT"
	envJavaOptions   = "JAVA_TOOL_OPTIONS"
)
