package workloadidentity

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Settings are the operator's choices, the same for every pod.
type Settings struct {
	// TenantID is the tenant of identities whose service account names none.
	// Required.
	TenantID string
	// AuthorityHost is where pods ask for tokens, with a trailing slash as
	// Azure's clouds have it. Required; AuthorityHost finds it by a cloud's name.
	AuthorityHost string
	// Audience of projected tokens; DefaultAudience when empty.
	Audience string
	// ProxyImage and ProxyInitImage are the token proxy's images; upstream's
	// when empty.
	ProxyImage, ProxyInitImage string
	// AgentImage is Lanyard's agent image, whose commands take the place of
	// upstream's images, with fewer rights; upstream's are injected when it is
	// empty. With it, ProxyImage and ProxyInitImage must be empty.
	AgentImage string
	// ProxyLogLevel is what the token proxy is told to log: "warning" when empty.
	ProxyLogLevel string
	// NativeSidecar makes the token proxy an init container that keeps running,
	// which clusters from Kubernetes 1.32 on understand on every node.
	NativeSidecar bool
	// CustomToken is the custom token endpoint; nil without one.
	CustomToken *CustomTokenEndpoint
	// Cloud is the Lanyard that pods are pointed at; nil before Azure.
	Cloud *Cloud
}

// CustomTokenEndpoint is a token endpoint inside the cluster, which pods choose
// by an annotation (AKS's identity bindings).
type CustomTokenEndpoint struct {
	// AnnotationSuffix makes the annotation azure.workload.identity/use-<suffix>
	// whose value "true", in any case, chooses the endpoint. Required.
	AnnotationSuffix string
	// Audience of the projected token. Required, and not the default audience.
	Audience string
	// TokenProxy is the endpoint's URL; pods get no variable when it is empty.
	TokenProxy string
	// SNIName is the name that pods ask for in TLS; none when empty.
	SNIName string
	// CAData, CAConfigMap (key ca.crt) or CASigner with CALabelSelector (a
	// cluster trust bundle) is the endpoint's CA. At most one of the three.
	CAData, CAConfigMap, CASigner string
	CALabelSelector               *metav1.LabelSelector
	// CADataConfigMap names a ConfigMap of the webhook's own namespace (key ca.crt)
	// from which the caller takes CAData, and keeps taking it. While CAData is empty,
	// pods that choose the endpoint are refused.
	CADataConfigMap string
}

// annotation is the key by which a pod chooses the endpoint.
func (c *CustomTokenEndpoint) annotation() string {
	return customTokenAnnotationPrefix + c.AnnotationSuffix
}

// Validate checks settings and fills in the defaults. Its errors name what the
// operator set: variables and flags.
func (s *Settings) Validate() error {
	if s.TenantID == "" {
		return errors.New("AZURE_TENANT_ID is required")
	}
	if s.AuthorityHost == "" {
		return errors.New("there is no authority host: set AZURE_ENVIRONMENT")
	}
	if s.AgentImage != "" && s.ProxyImage+s.ProxyInitImage != "" {
		return errors.New("LANYARD_AGENT_IMAGE brings the token proxy: PROXY_IMAGE and PROXY_INIT_IMAGE must not be set beside it")
	}
	setDefault(&s.Audience, DefaultAudience)
	if s.AgentImage == "" {
		setDefault(&s.ProxyImage, DefaultProxyImage)
		setDefault(&s.ProxyInitImage, DefaultProxyInitImage)
	}
	setDefault(&s.ProxyLogLevel, "warning")
	if s.CustomToken != nil {
		if err := s.CustomToken.validate(); err != nil {
			return err
		}
	}
	if s.Cloud != nil {
		return s.Cloud.validate()
	}
	return nil
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func (c *CustomTokenEndpoint) validate() error {
	switch {
	case c.AnnotationSuffix == "":
		return errors.New("--custom-token-endpoint-annotation-suffix must be set with --custom-token-endpoint-audience")
	case c.Audience == "":
		return errors.New("--custom-token-endpoint-audience must be set with --custom-token-endpoint-annotation-suffix")
	case azure.EqualFold(c.Audience, DefaultAudience):
		return fmt.Errorf("--custom-token-endpoint-audience must not be the default audience %q", DefaultAudience)
	}
	if problems := validation.IsQualifiedName(strings.ToLower(c.annotation())); len(problems) > 0 {
		return fmt.Errorf("--custom-token-endpoint-annotation-suffix makes the annotation %q, which is not valid: %s",
			c.annotation(), strings.Join(problems, ", "))
	}
	sources := 0
	data := c.CAData
	if c.CADataConfigMap != "" { // which CAData comes from
		data = c.CADataConfigMap
	}
	for _, v := range []string{data, c.CAConfigMap, c.CASigner} {
		if v != "" {
			sources++
		}
	}
	if sources > 1 {
		return errors.New("only one of AZURE_KUBERNETES_CA_DATA, LANYARD_TOKEN_PROXY_CA_CONFIGMAP, AZURE_KUBERNETES_CA_CONFIGMAP_NAME or AZURE_KUBERNETES_CA_CTB_SIGNER_NAME can be set")
	}
	if c.CALabelSelector != nil && c.CASigner == "" {
		return errors.New("AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR needs AZURE_KUBERNETES_CA_CTB_SIGNER_NAME")
	}
	return nil
}

// Environment is how SettingsFrom reads the process's surroundings.
type Environment struct {
	// Getenv gives a variable, "" when it is not set.
	Getenv func(string) string
	// ReadFile reads a file that a variable names.
	ReadFile func(string) ([]byte, error)
}

// SettingsFrom reads the variables that upstream's webhook reads, and those of
// CloudFrom. The caller sets what flags say, then calls Validate; the suffix and
// audience of a custom token endpoint are flags, and without either there is none.
func SettingsFrom(env Environment, customSuffix, customAudience string) (Settings, error) {
	host, err := AuthorityHost(env)
	if err != nil {
		return Settings{}, err
	}
	cloud, err := CloudFrom(env)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{
		TenantID:       env.Getenv("AZURE_TENANT_ID"),
		AuthorityHost:  host,
		Cloud:          cloud,
		ProxyImage:     env.Getenv("PROXY_IMAGE"),
		ProxyInitImage: env.Getenv("PROXY_INIT_IMAGE"),
		AgentImage:     env.Getenv("LANYARD_AGENT_IMAGE"),
	}
	if customSuffix == "" && customAudience == "" {
		return s, nil
	}
	s.CustomToken = &CustomTokenEndpoint{
		AnnotationSuffix: customSuffix, Audience: customAudience,
		TokenProxy:      env.Getenv(envTokenProxy),
		SNIName:         env.Getenv(envSNIName),
		CAData:          env.Getenv(envCAData),
		CADataConfigMap: env.Getenv("LANYARD_TOKEN_PROXY_CA_CONFIGMAP"),
		CAConfigMap:     env.Getenv("AZURE_KUBERNETES_CA_CONFIGMAP_NAME"),
		CASigner:        env.Getenv("AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"),
	}
	if s.CustomToken.CAData != "" && s.CustomToken.CADataConfigMap != "" {
		return Settings{}, errors.New("AZURE_KUBERNETES_CA_DATA and LANYARD_TOKEN_PROXY_CA_CONFIGMAP exclude each other")
	}
	if raw := env.Getenv("AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR"); raw != "" {
		s.CustomToken.CALabelSelector = new(metav1.LabelSelector)
		if err := json.Unmarshal([]byte(raw), s.CustomToken.CALabelSelector); err != nil {
			return Settings{}, fmt.Errorf("AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR: %w", err)
		}
		if _, err := metav1.LabelSelectorAsSelector(s.CustomToken.CALabelSelector); err != nil {
			return Settings{}, fmt.Errorf("AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR: %w", err)
		}
	}
	return s, nil
}

// authorityHosts are the clouds that AZURE_ENVIRONMENT can name, folded to upper
// case as Azure's Go SDK of the day did.
var authorityHosts = map[string]string{
	"":                       "https://login.microsoftonline.com/",
	"AZURECLOUD":             "https://login.microsoftonline.com/",
	"AZUREPUBLICCLOUD":       "https://login.microsoftonline.com/",
	"AZUREUSGOVERNMENT":      "https://login.microsoftonline.us/",
	"AZUREUSGOVERNMENTCLOUD": "https://login.microsoftonline.us/",
	"AZURECHINACLOUD":        "https://login.chinacloudapi.cn/",
	"AZUREGERMANCLOUD":       "https://login.microsoftonline.de/",
}

// AuthorityHost gives the token service of the cloud that AZURE_ENVIRONMENT
// names. The name AzureStackCloud reads it, as activeDirectoryEndpoint, from the
// JSON file that AZURE_ENVIRONMENT_FILEPATH names: that is how a webhook is
// pointed at a cloud of one's own.
func AuthorityHost(env Environment) (string, error) {
	name := env.Getenv("AZURE_ENVIRONMENT")
	if !azure.EqualFold(name, "AzureStackCloud") {
		if host, ok := authorityHosts[strings.ToUpper(name)]; ok {
			return host, nil
		}
		return "", fmt.Errorf("AZURE_ENVIRONMENT names no cloud that is known: %q", name)
	}
	path := env.Getenv("AZURE_ENVIRONMENT_FILEPATH")
	if path == "" {
		return "", errors.New("AZURE_ENVIRONMENT is AzureStackCloud, which needs AZURE_ENVIRONMENT_FILEPATH")
	}
	raw, err := env.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("AZURE_ENVIRONMENT_FILEPATH: %w", err)
	}
	var cloud struct {
		ActiveDirectoryEndpoint string `json:"activeDirectoryEndpoint"`
	}
	if err := json.Unmarshal(raw, &cloud); err != nil {
		return "", fmt.Errorf("AZURE_ENVIRONMENT_FILEPATH: %s: %w", path, err)
	}
	if !strings.HasPrefix(cloud.ActiveDirectoryEndpoint, "https://") {
		return "", fmt.Errorf("AZURE_ENVIRONMENT_FILEPATH: %s: activeDirectoryEndpoint must be an https URL, not %q",
			path, cloud.ActiveDirectoryEndpoint)
	}
	return cloud.ActiveDirectoryEndpoint, nil
}
