package workloadidentity

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func proxied(annotations, spec string) string {
	return `{"metadata":{"name":"p","annotations":{"` + InjectProxyAnnotation + `":"true"` + annotations + `}},"spec":{` + spec + `}}`
}

func TestProxyOrder(t *testing.T) {
	tests := []struct {
		name, spec string
		native     bool
		init, main []string
	}{
		{"native, no init containers", `"containers":[{"name":"a"}]`, true, []string{"azwi-proxy-init", "azwi-proxy"}, []string{"a"}},
		{"native, before the user's", `"initContainers":[{"name":"i"},{"name":"j"}],"containers":[{"name":"a"}]`, true,
			[]string{"azwi-proxy-init", "azwi-proxy", "i", "j"}, []string{"a"}},
		{"native, empty list", `"initContainers":[],"containers":[{"name":"a"}]`, true, []string{"azwi-proxy-init", "azwi-proxy"}, []string{"a"}},
		{"old cluster", `"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]`, false, []string{"azwi-proxy-init", "i"}, []string{"azwi-proxy", "a"}},
		{"sidecar is there", `"initContainers":[{"name":"azwi-proxy"},{"name":"i"}],"containers":[{"name":"a"}]`, true,
			[]string{"azwi-proxy-init", "azwi-proxy", "i"}, []string{"a"}},
		{"sidecar is there as a container", `"containers":[{"name":"azwi-proxy"}]`, true, []string{"azwi-proxy-init"}, []string{"azwi-proxy"}},
		{"init is there", `"initContainers":[{"name":"i"},{"name":"azwi-proxy-init"},{"name":"j"}],"containers":[]`, true,
			[]string{"i", "azwi-proxy-init", "azwi-proxy", "j"}, nil},
		{"no containers", `"initContainers":null`, false, []string{"azwi-proxy-init"}, []string{"azwi-proxy"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testSettings(t, func(s *Settings) { s.NativeSidecar = tt.native })
			out, m := mutate(t, proxied("", tt.spec), annotated(), s)
			if diff := cmp.Diff(tt.init, names(t, out, "spec", "initContainers")); diff != "" {
				t.Errorf("init containers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.main, names(t, out, "spec", "containers")); diff != "" {
				t.Errorf("containers (-want +got):\n%s", diff)
			}
			if !m.Proxy {
				t.Error("the mutation does not say that the proxy was added")
			}
			// Everybody has the identity, the proxy's containers included.
			for _, list := range []string{"initContainers", "containers"} {
				for i, name := range names(t, out, "spec", list) {
					if at(t, out, "spec", list, i, "volumeMounts", 0) == nil {
						t.Errorf("%s has no token", name)
					}
				}
			}
			if again, _ := mutate(t, out, annotated(), s); again != out || m.Volume == "" {
				t.Errorf("a second call changes the pod:\n%s\n%s", out, again)
			}
		})
	}
}

func TestProxyContainers(t *testing.T) {
	s := testSettings(t, func(s *Settings) { s.NativeSidecar = true })
	out, m := mutate(t, proxied(`,"`+ProxyPortAnnotation+`":"8080"`, `"containers":[{"name":"a"}]`), annotated(), s)
	env := `{"name":"AZURE_CLIENT_ID","value":"` + clientID + `"},{"name":"AZURE_TENANT_ID","value":"` + tenantID + `"},
		{"name":"AZURE_FEDERATED_TOKEN_FILE","value":"/var/run/secrets/azure/wi/token/azure-identity-token"},
		{"name":"AZURE_AUTHORITY_HOST","value":"https://login.microsoftonline.com/"}`
	mounts := `[{"name":"` + m.Volume + `","readOnly":true,"mountPath":"/var/run/secrets/azure/wi"}]`
	want := `[{"name":"azwi-proxy-init","image":"` + DefaultProxyInitImage + `","imagePullPolicy":"IfNotPresent",
		"env":[{"name":"PROXY_PORT","value":"8080"},` + env + `],"volumeMounts":` + mounts + `,
		"securityContext":{"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},"privileged":true,"runAsNonRoot":false,"runAsUser":0}},
		{"name":"azwi-proxy","image":"` + DefaultProxyImage + `","imagePullPolicy":"IfNotPresent",
		"args":["--proxy-port=8080","--log-level=warning"],"env":[` + env + `],"volumeMounts":` + mounts + `,
		"ports":[{"containerPort":8080}],"restartPolicy":"Always",
		"lifecycle":{"postStart":{"exec":{"command":["/proxy","--proxy-port=8080","--probe","--log-level=warning"]}}},
		"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"privileged":false,"readOnlyRootFilesystem":true,"runAsNonRoot":true}}]`
	if diff := cmp.Diff(decode(t, want), at(t, out, "spec", "initContainers")); diff != "" {
		t.Errorf("init containers (-want +got):\n%s", diff)
	}
}

// TestProxyOfTheAgent: Lanyard's own image, by its commands, with the least rights.
func TestProxyOfTheAgent(t *testing.T) {
	for _, native := range []bool{true, false} {
		s := testSettings(t, func(s *Settings) { s.NativeSidecar, s.AgentImage = native, "example.com/agent:1" })
		out, m := mutate(t, proxied("", `"containers":[{"name":"a"}]`), annotated(), s)
		env := `{"name":"AZURE_CLIENT_ID","value":"` + clientID + `"},{"name":"AZURE_TENANT_ID","value":"` + tenantID + `"},
			{"name":"AZURE_FEDERATED_TOKEN_FILE","value":"/var/run/secrets/azure/wi/token/azure-identity-token"},
			{"name":"AZURE_AUTHORITY_HOST","value":"https://login.microsoftonline.com/"}`
		rest := `"volumeMounts":[{"name":"` + m.Volume + `","readOnly":true,"mountPath":"/var/run/secrets/azure/wi"}],
			"resources":{"requests":{"cpu":"10m","memory":"32Mi"},"limits":{"memory":"128Mi"}}`
		init := `{"name":"azwi-proxy-init","image":"example.com/agent:1","imagePullPolicy":"IfNotPresent","command":["/lanyard-agent","proxy-init"],
			"env":[{"name":"PROXY_PORT","value":"8000"},` + env + `],` + rest + `,
			"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},"privileged":false,
			"readOnlyRootFilesystem":true,"runAsNonRoot":false,"runAsUser":0,"seccompProfile":{"type":"RuntimeDefault"}}}`
		ready := `"exec":{"command":["/lanyard-agent","proxy","--proxy-port=8000","--probe"]}`
		start := `"lifecycle":{"postStart":{` + ready + `}}`
		if native {
			start = `"restartPolicy":"Always","startupProbe":{` + ready + `,"timeoutSeconds":10,"periodSeconds":1,"failureThreshold":10}`
		}
		proxy := `{"name":"azwi-proxy","image":"example.com/agent:1","imagePullPolicy":"IfNotPresent","command":["/lanyard-agent","proxy"],
			"args":["--proxy-port=8000","--log-level=warning"],"env":[` + env + `],` + rest + `,"ports":[{"containerPort":8000}],` + start + `,
			"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"privileged":false,
			"readOnlyRootFilesystem":true,"runAsNonRoot":true,"runAsUser":1501,"seccompProfile":{"type":"RuntimeDefault"}}}`
		at0 := at(t, out, "spec", "initContainers", 0)
		if diff := cmp.Diff(decode(t, init), at0); diff != "" {
			t.Errorf("init container, native %v (-want +got):\n%s", native, diff)
		}
		got := at(t, out, "spec", "containers", 0)
		if native {
			got = at(t, out, "spec", "initContainers", 1)
		}
		if diff := cmp.Diff(decode(t, proxy), got); diff != "" {
			t.Errorf("proxy, native %v (-want +got):\n%s", native, diff)
		}
		if again, _ := mutate(t, out, annotated(), s); again != out {
			t.Errorf("a second call changes the pod:\n%s\n%s", out, again)
		}
	}
	both := Settings{TenantID: tenantID, AuthorityHost: "https://x/", AgentImage: "a", ProxyInitImage: "b"}
	if err := both.Validate(); err == nil || !strings.Contains(err.Error(), "LANYARD_AGENT_IMAGE") {
		t.Errorf("two kinds of images: %v", err)
	}
}

func TestProxyIsSkippedToo(t *testing.T) {
	out, _ := mutate(t, proxied(`,"`+SkipContainersAnnotation+`":"azwi-proxy-init"`, `"containers":[{"name":"a"}]`), annotated(), testSettings(t, nil))
	if diff := cmp.Diff([]string{"PROXY_PORT"}, names(t, out, "spec", "initContainers", 0, "env")); diff != "" {
		t.Error(diff)
	}
}

func TestProxyRefusals(t *testing.T) {
	port := func(p string) string {
		return proxied(`,"`+ProxyPortAnnotation+`":"`+p+`"`, `"containers":[{"name":"a"}]`)
	}
	for pod, message := range map[string]string{
		proxied("", `"hostNetwork":true,"containers":[]`): "hostNetwork is set to true, cannot inject proxy sidecar",
		port(""):            "failed to parse proxy sidecar port",
		port("abc"):         `parsing "abc": invalid syntax`,
		port("99999999999"): "value out of range",
		port("0"):           "proxy sidecar port 0 not valid",
		port("-5"):          "proxy sidecar port -5 not valid",
		port("70000"):       "proxy sidecar port 70000 not valid",
	} {
		_, err := Decide(parsePod(t, pod), annotated(), testSettings(t, nil), nil)
		wantDenied(t, err, message)
	}
	// Without the proxy neither its port nor the host's network matters.
	mutate(t, `{"metadata":{"name":"p","annotations":{"`+ProxyPortAnnotation+`":"abc"}},"spec":{"hostNetwork":true,"containers":[{"name":"a"}]}}`,
		annotated(), testSettings(t, nil))
}

func TestProxyByPresence(t *testing.T) {
	pod := `{"metadata":{"name":"p","annotations":{"` + InjectProxyAnnotation + `":"false"}},"spec":{"containers":[{"name":"a"}]}}`
	_, m := mutate(t, pod, annotated(), testSettings(t, nil))
	if !m.Proxy {
		t.Error("no proxy")
	}
	wantWarned(t, m, "injected all the same")
}
