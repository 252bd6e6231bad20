package workloadidentity

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTrustOfAPod(t *testing.T) {
	tests := []struct {
		name, annotation string // "-": none
		set              []Language
		env, items       []string
		denied           string
	}{
		{name: "the default", annotation: "-", env: []string{"SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "JAVA_TOOL_OPTIONS"},
			items: []string{"trust/certs/0a1b2c3d.0", "trust/ca.crt", "trust/ca-bundle.crt", "trust/truststore.p12"}},
		{name: "none", annotation: "none"},
		{name: "go", annotation: "go", env: []string{"SSL_CERT_DIR"}, items: []string{"trust/certs/0a1b2c3d.0"}},
		{name: "go and openssl", annotation: "openssl,go", env: []string{"SSL_CERT_DIR"}, items: []string{"trust/certs/0a1b2c3d.0"}},
		{name: "node", annotation: " node ", env: []string{"NODE_EXTRA_CA_CERTS"}, items: []string{"trust/ca.crt"}},
		{name: "python and java", annotation: "java, python", env: []string{"JAVA_TOOL_OPTIONS", "REQUESTS_CA_BUNDLE"}, items: []string{"trust/ca-bundle.crt", "trust/truststore.p12"}},
		{name: "dotnet", annotation: "dotnet", set: []Language{LanguageDotnet}, env: []string{"SSL_CERT_FILE"}, items: []string{"trust/ca-bundle.crt"}},
		{name: "nothing set up", annotation: "-", set: []Language{}},
		{name: "unknown", annotation: "go,cobol", denied: `"cobol" is none of go, openssl, dotnet, node, python, java`},
		{name: "not set up", annotation: "dotnet", denied: `no trust for "dotnet"; it is set up for: go, openssl, node, python, java`},
		{name: "empty", annotation: "", denied: "is empty"},
		{name: "none and some", annotation: "none,go", denied: `"none" is none of`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]}}`
			if tt.annotation != "-" {
				pod = strings.Replace(pod, `"p"`, `"p","annotations":{"`+TrustAnnotation+`":"`+tt.annotation+`"}`, 1)
			}
			s := cloudSettings(t, func(c *Cloud) { c.Trust = tt.set })
			m, err := Decide(parsePod(t, pod), annotated(), s, nil)
			if tt.denied != "" {
				wantDenied(t, err, tt.denied)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out := apply(t, pod, m.Patch)
			if diff := cmp.Diff(tt.env, names(t, out, "spec", "containers", 0, "env")[4:], cmp.Transformer("empty", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
			var items []string
			list, _ := at(t, out, "spec", "volumes", 0, "projected", "sources", 1, "configMap", "items").([]any)
			for _, item := range list {
				items = append(items, item.(map[string]any)["path"].(string))
			}
			if diff := cmp.Diff(tt.items, items); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
			if m.Trust != (len(tt.items) > 0) {
				t.Errorf("needs the config map: %v", m.Trust)
			}
		})
	}
}

// TestTrustOfContainers: a variable of the container's own stays, and one that
// does not have the volume where the variables say gets none of them: a bundle
// that is not there breaks every connection.
func TestTrustOfContainers(t *testing.T) {
	const own = VolumeNamePrefix + "0123"
	const ownVolume = `"volumes":[{"name":"` + own + `","projected":{"sources":[{"serviceAccountToken":{"path":"token/azure-identity-token","audience":"api://AzureADTokenExchange"}}]}}],`
	all := []string{"SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "JAVA_TOOL_OPTIONS"}
	tests := []struct {
		name, volumes, container string
		want                     []string // of the variables for trust, in the end
		warned                   string
	}{
		{"own bundle", "", `"env":[{"name":"REQUESTS_CA_BUNDLE","value":"/b"}]`, []string{"REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS"}, ""},
		{"own options", "", `"env":[{"name":"JAVA_TOOL_OPTIONS","value":"-Xmx1g"}]`, []string{"JAVA_TOOL_OPTIONS", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"}, "-Djavax.net.ssl.trustStore=/var/run/secrets/azure/wi/trust/truststore.p12"},
		{"own trust store", "", `"env":[{"name":"JAVA_TOOL_OPTIONS","value":"-Djavax.net.ssl.trustStore=/t"}]`, []string{"JAVA_TOOL_OPTIONS", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"}, ""},
		{"another volume in its place", "", `"volumeMounts":[{"name":"v","mountPath":"/var/run/secrets/azure/wi"}]`, nil, `mounts its own volume "v"`},
		{"a volume of upstream's", ownVolume, `"env":[]`, all, ""},
		{"mounted by upstream", ownVolume, `"volumeMounts":[{"name":"` + own + `","mountPath":"/var/run/secrets/azure/wi"}]`, all, ""},
		{"where later releases of upstream mount it", ownVolume, `"volumeMounts":[{"name":"` + own + `","mountPath":"/var/run/secrets/azure/wi/0123"}]`, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := `{"metadata":{"name":"p"},"spec":{` + tt.volumes + `"containers":[{"name":"a",` + tt.container + `}]}}`
			out, m := mutate(t, pod, annotated(), cloudSettings(t, nil))
			var got []string
			for _, name := range names(t, out, "spec", "containers", 0, "env") {
				if !strings.HasPrefix(name, "AZURE_") {
					got = append(got, name)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
			wantWarned(t, m, tt.warned)
			if got := at(t, out, "spec", "volumes", 0, "projected", "sources", 1, "configMap", "name"); got != TrustConfigMap {
				t.Errorf("the volume's second source is %v", got)
			}
		})
	}
}

// TestTwoAuthorities: while one succeeds another OpenSSL finds both.
func TestTwoAuthorities(t *testing.T) {
	s := cloudSettings(t, func(c *Cloud) {
		c.Trust, c.SubjectHashes = []Language{LanguageGo}, []string{"0000000a", "0000000b", "0000000a"}
	})
	out, _ := mutate(t, `{"metadata":{"name":"p"},"spec":{}}`, annotated(), s)
	want := decode(t, `[{"key":"ca.crt","path":"trust/certs/0000000a.0"},{"key":"ca.crt","path":"trust/certs/0000000b.0"}]`)
	if diff := cmp.Diff(want, at(t, out, "spec", "volumes", 0, "projected", "sources", 1, "configMap", "items")); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestTrustKeys(t *testing.T) {
	for _, tt := range []struct {
		set  []Language
		want []string
	}{
		{nil, []string{TrustKeyCA, TrustKeyBundle, TrustKeyJava}},
		{[]Language{}, nil},
		{[]Language{LanguageGo, LanguageNode}, []string{TrustKeyCA}},
		{[]Language{LanguageDotnet, LanguagePython}, []string{TrustKeyBundle}},
	} {
		s := cloudSettings(t, func(c *Cloud) { c.Trust = tt.set })
		if diff := cmp.Diff(tt.want, s.Cloud.TrustKeys()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.set, diff)
		}
	}
}
