package workloadidentity

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cloudSettings are those before a Lanyard at an address, with every way to it.
func cloudSettings(tb testing.TB, change func(*Cloud)) *Settings {
	tb.Helper()
	return testSettings(tb, func(s *Settings) {
		s.Cloud = &Cloud{
			Authorities:   []Authority{AuthorityAlias, AuthorityOverride, AuthorityOwnHost},
			OwnHost:       "https://login.lanyard.example:8443/",
			Address:       netip.MustParseAddr("192.0.2.10"),
			SubjectHashes: []string{"0a1b2c3d"},
		}
		if change != nil {
			change(s.Cloud)
		}
	})
}

func TestCloudSettings(t *testing.T) {
	vars := func(more ...string) map[string]string {
		m := map[string]string{"AZURE_TENANT_ID": tenantID, "LANYARD_CA_FILE": "/ca.pem"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	const ownHost = "https://login.lanyard.example:8443/"
	tests := []struct {
		name  string
		vars  map[string]string
		hosts []string
		fail  string
	}{
		{"least", vars(), []string{aliasHost}, ""},
		{"override", vars("LANYARD_AUTHORITY", "override"), []string{"https://login.microsoftonline.com/"}, ""},
		{"override of another cloud", vars("LANYARD_AUTHORITY", "override", "AZURE_ENVIRONMENT", "AzureChinaCloud"), []string{"https://login.chinacloudapi.cn/"}, ""},
		{"own host", vars("LANYARD_AUTHORITY", "own-host", "LANYARD_AUTHORITY_HOST", "https://login.lanyard.example:8443"), []string{ownHost}, ""},
		{"all ways", vars("LANYARD_AUTHORITY", "own-host, alias,override", "LANYARD_AUTHORITY_HOST", ownHost), []string{ownHost, aliasHost, "https://login.microsoftonline.com/"}, ""},
		{"aliases", vars("LANYARD_ADDRESS", "2001:db8::1", "LANYARD_HOSTS", "kv.vault.azure.net,acr.azurecr.io"), []string{aliasHost}, ""},
		{"none to trust", vars("LANYARD_TRUST", "none"), []string{aliasHost}, ""},
		{"some to trust", vars("LANYARD_TRUST", "go, dotnet"), []string{aliasHost}, ""},
		{"no CA", map[string]string{"AZURE_TENANT_ID": tenantID, "LANYARD_ADDRESS": "192.0.2.1"}, nil, "LANYARD_ADDRESS needs LANYARD_CA_FILE"},
		{"unknown way", vars("LANYARD_AUTHORITY", "dns"), nil, `"dns" is none of alias, override, own-host`},
		{"way twice", vars("LANYARD_AUTHORITY", "alias,alias"), nil, "twice"},
		{"own host without its name", vars("LANYARD_AUTHORITY", "own-host"), nil, "needs LANYARD_AUTHORITY_HOST"},
		{"a name without own host", vars("LANYARD_AUTHORITY_HOST", ownHost), nil, "needs LANYARD_AUTHORITY=own-host"},
		{"own host by http", vars("LANYARD_AUTHORITY", "own-host", "LANYARD_AUTHORITY_HOST", "http://login.lanyard.example/"), nil, "https URL"},
		{"own host with a path", vars("LANYARD_AUTHORITY", "own-host", "LANYARD_AUTHORITY_HOST", ownHost+"tenant"), nil, "https URL"},
		{"no address", vars("LANYARD_ADDRESS", "login.lanyard.example"), nil, "LANYARD_ADDRESS"},
		{"loopback", vars("LANYARD_ADDRESS", "127.0.0.1"), nil, "do not reach"},
		{"everything", vars("LANYARD_ADDRESS", "::"), nil, "do not reach"},
		{"hosts without an address", vars("LANYARD_HOSTS", "a.example"), nil, "needs LANYARD_ADDRESS"},
		{"no host name", vars("LANYARD_ADDRESS", "192.0.2.1", "LANYARD_HOSTS", "*.vault.azure.net"), nil, "no host name"},
		{"host twice", vars("LANYARD_ADDRESS", "192.0.2.1", "LANYARD_HOSTS", "a.example,a.example"), nil, "twice"},
		{"unknown language", vars("LANYARD_TRUST", "cobol"), nil, `"cobol" is none of go, openssl, dotnet, node, python, java`},
		{"language twice", vars("LANYARD_TRUST", "go,go"), nil, "twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := SettingsFrom(environment(tt.vars, nil), "", "")
			if err == nil {
				err = s.Validate()
			}
			if (tt.fail == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.fail)) {
				t.Fatalf("%v, want %q", err, tt.fail)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tt.hosts, s.AuthorityHosts()); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
		})
	}
	s, err := SettingsFrom(environment(map[string]string{"AZURE_TENANT_ID": tenantID}, nil), "", "")
	if err != nil || s.Cloud != nil {
		t.Errorf("without variables: %+v, %v", s.Cloud, err)
	}
}

// TestPodBeforeLanyard is the contract of the cloud in one piece.
func TestPodBeforeLanyard(t *testing.T) {
	pod := `{"metadata":{"name":"web"},"spec":{"dnsPolicy":"ClusterFirst","containers":[{"name":"app"}]}}`
	got, m := mutate(t, pod, annotated(), cloudSettings(t, func(c *Cloud) { c.Hosts = []string{"kv.vault.azure.net"} }))
	const wi = "/var/run/secrets/azure/wi"
	want := `{"metadata":{"name":"web"},"spec":{"dnsPolicy":"ClusterFirst",
		"hostAliases":[{"ip":"192.0.2.10","hostnames":["login-us.microsoftonline.com","kv.vault.azure.net"]}],
		"containers":[{"name":"app",
			"env":[{"name":"AZURE_CLIENT_ID","value":"` + clientID + `"},{"name":"AZURE_TENANT_ID","value":"` + tenantID + `"},
				{"name":"AZURE_FEDERATED_TOKEN_FILE","value":"` + wi + `/token/azure-identity-token"},
				{"name":"AZURE_AUTHORITY_HOST","value":"https://login-us.microsoftonline.com/"},
				{"name":"SSL_CERT_DIR","value":"/etc/ssl/certs:/etc/pki/tls/certs:` + wi + `/trust/certs"},
				{"name":"NODE_EXTRA_CA_CERTS","value":"` + wi + `/trust/ca.crt"},
				{"name":"REQUESTS_CA_BUNDLE","value":"` + wi + `/trust/ca-bundle.crt"},
				{"name":"JAVA_TOOL_OPTIONS","value":"-Djavax.net.ssl.trustStore=` + wi + `/trust/truststore.p12 -Djavax.net.ssl.trustStoreType=PKCS12"}],
			"volumeMounts":[{"name":"azure-workload-identity-reserved-` + sha30("web") + `","readOnly":true,"mountPath":"` + wi + `"}]}],
		"volumes":[{"name":"azure-workload-identity-reserved-` + sha30("web") + `","projected":{"sources":[
			{"serviceAccountToken":{"path":"token/azure-identity-token","expirationSeconds":3600,"audience":"api://AzureADTokenExchange"}},
			{"configMap":{"name":"azure-wi-lanyard-trust","optional":false,"items":[
				{"key":"ca.crt","path":"trust/certs/0a1b2c3d.0"},{"key":"ca.crt","path":"trust/ca.crt"},
				{"key":"ca-bundle.crt","path":"trust/ca-bundle.crt"},{"key":"truststore.p12","path":"trust/truststore.p12"}]}}]}}]}}`
	if diff := cmp.Diff(decode(t, want), decode(t, got)); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if m.Authority != aliasHost || !m.Trust || len(m.Warnings) != 0 {
		t.Errorf("%+v", m)
	}
}

// TestHostAliases: those of the pod stay, the cloud's names are added once, and
// an address has one entry.
func TestHostAliases(t *testing.T) {
	const alias = "login-us.microsoftonline.com"
	tests := []struct {
		name, aliases string
		want          string
		denied        string
		warned        string
	}{
		{"null", `null`, `[{"ip":"192.0.2.10","hostnames":["` + alias + `","kv.vault.azure.net"]}]`, "", ""},
		{"empty", `[]`, `[{"ip":"192.0.2.10","hostnames":["` + alias + `","kv.vault.azure.net"]}]`, "", ""},
		{"others", `[{"ip":"192.0.2.1","hostnames":["a.example"]}]`, `[{"ip":"192.0.2.1","hostnames":["a.example"]},{"ip":"192.0.2.10","hostnames":["` + alias + `","kv.vault.azure.net"]}]`, "", ""},
		{"the same address", `[{"ip":"192.0.2.10","hostnames":["a.example"]}]`, `[{"ip":"192.0.2.10","hostnames":["a.example","` + alias + `","kv.vault.azure.net"]}]`, "", ""},
		{"the same address, no names", `[{"ip":"192.0.2.10"}]`, `[{"ip":"192.0.2.10","hostnames":["` + alias + `","kv.vault.azure.net"]}]`, "", ""},
		{"the same address, mapped", `[{"ip":"::ffff:192.0.2.10","hostnames":["Login-US.microsoftonline.com"]}]`, `[{"ip":"::ffff:192.0.2.10","hostnames":["Login-US.microsoftonline.com","kv.vault.azure.net"]}]`, "", ""},
		{"all there", `[{"ip":"192.0.2.10","hostnames":["kv.vault.azure.net","` + alias + `"]}]`, `[{"ip":"192.0.2.10","hostnames":["kv.vault.azure.net","` + alias + `"]}]`, "", ""},
		{"a null entry", `[null]`, `[null,{"ip":"192.0.2.10","hostnames":["` + alias + `","kv.vault.azure.net"]}]`, "", ""},
		{"the authority elsewhere", `[{"ip":"192.0.2.1","hostnames":["LOGIN-us.microsoftonline.com"]}]`, "", "leads " + alias + " to 192.0.2.1", ""},
		{"a vault elsewhere", `[{"ip":"192.0.2.1","hostnames":["kv.vault.azure.net"]}]`, `[{"ip":"192.0.2.1","hostnames":["kv.vault.azure.net"]},{"ip":"192.0.2.10","hostnames":["` + alias + `"]}]`, "", "leads kv.vault.azure.net to 192.0.2.1"},
	}
	s := cloudSettings(t, func(c *Cloud) { c.Hosts = []string{"kv.vault.azure.net"} })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := `{"metadata":{"name":"p"},"spec":{"hostAliases":` + tt.aliases + `,"containers":[{"name":"a"}]}}`
			m, err := Decide(parsePod(t, pod), annotated(), s, nil)
			if tt.denied != "" {
				wantDenied(t, err, tt.denied)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantWarned(t, m, tt.warned)
			if diff := cmp.Diff(decode(t, tt.want), at(t, apply(t, pod, m.Patch), "spec", "hostAliases")); diff != "" {
				t.Errorf("host aliases (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthorityOfAPod(t *testing.T) {
	all, one := cloudSettings(t, nil), cloudSettings(t, func(c *Cloud) { c.Authorities, c.OwnHost = nil, "" })
	azure := testSettings(t, nil)
	tests := []struct {
		name, annotation string // "-": none
		s                *Settings
		host             string
		alias            string
		denied, warned   string
	}{
		{"the default", "-", all, "https://login-us.microsoftonline.com/", "login-us.microsoftonline.com", "", ""},
		{"override", "override", all, "https://login.microsoftonline.com/", "login.microsoftonline.com", "", ""},
		{"own host", "own-host", all, "https://login.lanyard.example:8443/", "login.lanyard.example", "", ""},
		{"a way that is not set up", "override", one, "", "", `is "override": the webhook is set up for alias (LANYARD_AUTHORITY)`, ""},
		{"empty", "", all, "", "", "the webhook is set up for alias, override, own-host", ""},
		{"a URL", "https://login.microsoftonline.com/", all, "", "", "the webhook is set up for", ""},
		{"before Azure", "-", azure, "https://login.microsoftonline.com/", "", "", ""},
		{"asked before Azure", "own-host", azure, "https://login.microsoftonline.com/", "", "", "has no effect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]}}`
			if tt.annotation != "-" {
				pod = strings.Replace(pod, `"p"`, `"p","annotations":{"`+AuthorityAnnotation+`":"`+tt.annotation+`"}`, 1)
			}
			m, err := Decide(parsePod(t, pod), annotated(), tt.s, nil)
			if tt.denied != "" {
				wantDenied(t, err, tt.denied)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantWarned(t, m, tt.warned)
			out := apply(t, pod, m.Patch)
			if got := at(t, out, "spec", "containers", 0, "env", 3, "value"); got != tt.host {
				t.Errorf("host %v, want %s", got, tt.host)
			}
			if got, _ := at(t, out, "spec", "hostAliases", 0, "hostnames", 0).(string); got != tt.alias {
				t.Errorf("host alias %q, want %q", got, tt.alias)
			}
			if before := tt.s.Cloud == nil; before != (m.Authority == "") || (!before && m.Authority != tt.host) {
				t.Errorf("the route to check is %q", m.Authority)
			}
		})
	}
}

// TestPodsOfAnotherDNS: where the cluster's DNS leads to the cloud, a pod that
// asks another would send its tokens to Azure's public cloud.
func TestPodsOfAnotherDNS(t *testing.T) {
	byDNS := cloudSettings(t, func(c *Cloud) { c.Address = netip.Addr{} })
	byAlias := cloudSettings(t, nil)
	for _, tt := range []struct {
		policy      string
		hostNetwork bool
		denied      string
	}{
		{`"ClusterFirst"`, false, ""},
		{`null`, false, ""},
		{`"ClusterFirstWithHostNet"`, true, ""},
		{`"ClusterFirst"`, true, "dnsPolicy is ClusterFirst with hostNetwork"},
		{`null`, true, "dnsPolicy is ClusterFirst with hostNetwork"},
		{`"Default"`, false, "dnsPolicy is Default"},
		{`"None"`, false, "dnsPolicy is None"},
		{`"FromTheFuture"`, false, "dnsPolicy is FromTheFuture"},
	} {
		pod := func(annotations string) *Pod {
			network := `false`
			if tt.hostNetwork {
				network = `true`
			}
			return parsePod(t, `{"metadata":{"name":"p","annotations":{`+annotations+`}},"spec":{"dnsPolicy":`+tt.policy+`,"hostNetwork":`+network+`,"containers":[{"name":"a"}]}}`)
		}
		m, err := Decide(pod(""), annotated(), byDNS, nil)
		if tt.denied != "" {
			wantDenied(t, err, tt.denied)
		} else if err != nil || len(m.Warnings) > 0 || strings.Contains(string(m.Patch.AppendJSON(nil)), "hostAliases") {
			t.Errorf("%s: %v, %+v", tt.policy, err, m)
		}
		if _, err := Decide(pod(""), annotated(), byAlias, nil); err != nil {
			t.Errorf("%s, by host alias: %v", tt.policy, err)
		}
		// A name that nobody else has sends nothing anywhere.
		m, err = Decide(pod(`"`+AuthorityAnnotation+`":"own-host"`), annotated(), byDNS, nil)
		if err != nil || (tt.denied != "") != (len(m.Warnings) == 1) {
			t.Errorf("%s, own host: %v, %q", tt.policy, err, m.Warnings)
		}
	}
}

func TestHTTPProxiesAreWarnedOf(t *testing.T) {
	for _, tt := range []struct{ env, warned string }{
		{`{"name":"HTTP_PROXY","value":"http://p"}`, ""},
		{`{"name":"HTTPS_PROXY","value":"http://p"}`, `has HTTPS_PROXY, and its NO_PROXY does not name login-us.microsoftonline.com`},
		{`{"name":"https_proxy","valueFrom":{"configMapKeyRef":{"name":"p","key":"p"}}}`, "has https_proxy"},
		{`{"name":"ALL_PROXY","value":"socks5://p"},{"name":"NO_PROXY","value":"example.com"}`, "has ALL_PROXY"},
		{`{"name":"HTTPS_PROXY","value":"http://p"},{"name":"no_proxy","value":"localhost, .microsoftonline.com"}`, ""},
		{`{"name":"HTTPS_PROXY","value":"http://p"},{"name":"NO_PROXY","value":"login-us.microsoftonline.com"}`, ""},
		{`{"name":"HTTPS_PROXY","value":"http://p"},{"name":"NO_PROXY","value":"*"}`, ""},
	} {
		pod := `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","env":[` + tt.env + `]}]}}`
		_, m := mutate(t, pod, annotated(), cloudSettings(t, nil))
		wantWarned(t, m, tt.warned)
		if _, m := mutate(t, pod, annotated(), testSettings(t, nil)); len(m.Warnings) > 0 {
			t.Errorf("before Azure: %q", m.Warnings)
		}
	}
}
