package workloadidentity

import (
	"errors"
	"strings"
	"testing"
)

func environment(vars, files map[string]string) Environment {
	return Environment{
		Getenv: func(k string) string { return vars[k] },
		ReadFile: func(p string) ([]byte, error) {
			if f, ok := files[p]; ok {
				return []byte(f), nil
			}
			return nil, errors.New("no such file")
		},
	}
}

func TestAuthorityHost(t *testing.T) {
	stack := map[string]string{"AZURE_ENVIRONMENT": "AzureStackCloud", "AZURE_ENVIRONMENT_FILEPATH": "/c.json"}
	tests := []struct {
		vars       map[string]string
		file       string
		want, fail string
	}{
		{vars: nil, want: "https://login.microsoftonline.com/"},
		{vars: map[string]string{"AZURE_ENVIRONMENT": "AzurePublicCloud"}, want: "https://login.microsoftonline.com/"},
		{vars: map[string]string{"AZURE_ENVIRONMENT": "AZUREUSGOVERNMENT"}, want: "https://login.microsoftonline.us/"},
		{vars: map[string]string{"AZURE_ENVIRONMENT": "AzureChinaCloud"}, want: "https://login.chinacloudapi.cn/"},
		{vars: map[string]string{"AZURE_ENVIRONMENT": "Mars"}, fail: `no cloud that is known: "Mars"`},
		{vars: stack, file: `{"activeDirectoryEndpoint":"https://login.lanyard.internal/","name":"x"}`, want: "https://login.lanyard.internal/"},
		{vars: stack, file: `{}`, fail: "must be an https URL"},
		{vars: stack, file: `{"activeDirectoryEndpoint":"http://x/"}`, fail: "must be an https URL"},
		{vars: stack, file: `{`, fail: "/c.json"},
		{vars: map[string]string{"AZURE_ENVIRONMENT": "azurestackcloud"}, fail: "needs AZURE_ENVIRONMENT_FILEPATH"},
		{vars: map[string]string{"AZURE_ENVIRONMENT": "AzureStackCloud", "AZURE_ENVIRONMENT_FILEPATH": "/none"}, fail: "no such file"},
	}
	for _, tt := range tests {
		got, err := AuthorityHost(environment(tt.vars, map[string]string{"/c.json": tt.file}))
		if got != tt.want || (tt.fail == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.fail)) {
			t.Errorf("%v: %q, %v; want %q, error %q", tt.vars, got, err, tt.want, tt.fail)
		}
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name             string
		vars             map[string]string
		suffix, audience string
		fail             string
	}{
		{"least", map[string]string{"AZURE_TENANT_ID": "t"}, "", "", ""},
		{"no tenant", nil, "", "", "AZURE_TENANT_ID is required"},
		{"custom", map[string]string{"AZURE_TENANT_ID": "t", "AZURE_KUBERNETES_CA_CTB_SIGNER_NAME": "s", "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR": `{"matchLabels":{"a":"b"}}`}, "identity-binding", "api://b", ""},
		{"suffix alone", map[string]string{"AZURE_TENANT_ID": "t"}, "x", "", "--custom-token-endpoint-audience must be set"},
		{"audience alone", map[string]string{"AZURE_TENANT_ID": "t"}, "", "api://b", "--custom-token-endpoint-annotation-suffix must be set"},
		{"default audience", map[string]string{"AZURE_TENANT_ID": "t"}, "x", "API://azureadtokenexchange", "must not be the default"},
		{"bad suffix", map[string]string{"AZURE_TENANT_ID": "t"}, "x y", "api://b", "not valid"},
		{"two CAs", map[string]string{"AZURE_TENANT_ID": "t", "AZURE_KUBERNETES_CA_DATA": "d", "AZURE_KUBERNETES_CA_CONFIGMAP_NAME": "m"}, "x", "api://b", "only one of"},
		{"selector alone", map[string]string{"AZURE_TENANT_ID": "t", "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR": `{}`}, "x", "api://b", "needs AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"},
		{"bad selector", map[string]string{"AZURE_TENANT_ID": "t", "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR": `{"matchExpressions":[{"key":"k","operator":"Near"}]}`}, "x", "api://b", "LABEL_SELECTOR"},
		{"no selector", map[string]string{"AZURE_TENANT_ID": "t", "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR": `[`}, "x", "api://b", "LABEL_SELECTOR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := SettingsFrom(environment(tt.vars, nil), tt.suffix, tt.audience)
			if err == nil {
				err = s.Validate()
			}
			if (tt.fail == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.fail)) {
				t.Errorf("%v, want %q", err, tt.fail)
			}
			if err == nil && (s.Audience != DefaultAudience || s.ProxyImage != DefaultProxyImage || s.ProxyInitImage != DefaultProxyInitImage) {
				t.Errorf("defaults: %+v", s)
			}
		})
	}
}
