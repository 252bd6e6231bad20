package workloadidentity

import (
	"strings"
	"testing"
)

// fakeFederation knows one tenant and says the same of every client.
type fakeFederation struct {
	tenant                    string
	trusted                   Trusted
	client, subject, audience string // as it was asked
}

func (f *fakeFederation) Issuer() string                 { return "https://oidc.lanyard.example/t/c/" }
func (f *fakeFederation) TenantKnown(tenant string) bool { return tenant == f.tenant }
func (f *fakeFederation) Trusted(client, subject, audience string) Trusted {
	f.client, f.subject, f.audience = client, subject, audience
	return f.trusted
}

func TestFederationIsWarnedOf(t *testing.T) {
	const pod = `{"metadata":{"name":"p","annotations":{"azure.workload.identity/use-x":"%"}},"spec":{"containers":[{"name":"a"}]}}`
	tests := []struct {
		name   string
		f      *fakeFederation
		change func(*ServiceAccount)
		pod    string
		warned []string
	}{
		{"nothing known", nil, nil, pod, nil},
		{"in order", &fakeFederation{tenant: tenantID, trusted: TrustedHere}, nil, pod, nil},
		{"unknown tenant", &fakeFederation{tenant: "other"}, nil, pod, []string{"tenant " + tenantID + " is unknown"}},
		{"a tenant by its domain", &fakeFederation{tenant: "other", trusted: TrustedHere}, func(a *ServiceAccount) { a.TenantID, a.HasTenantID = "contoso.com", true }, pod, nil},
		{"unknown client", &fakeFederation{tenant: tenantID}, nil, pod, []string{"client " + clientID + " is unknown",
			"issuer https://oidc.lanyard.example/t/c/", "subject system:serviceaccount:ns:app and the audience api://AzureADTokenExchange",
			"--service-account-namespace ns --service-account-name app", "--aad-application-client-id " + clientID}},
		{"another subject", &fakeFederation{tenant: tenantID, trusted: TrustedElsewhere}, nil, pod, []string{"no federated credential of client " + clientID + " has the subject system:serviceaccount:ns:app",
			"issuer https://", "subject system:serviceaccount:ns:app", "--service-account-name app", "az identity federated-credential create"}},
		{"another audience", &fakeFederation{tenant: tenantID, trusted: TrustedOtherwise}, nil, pod, []string{"has another audience than api://AzureADTokenExchange"}},
		{"custom endpoint", &fakeFederation{}, nil, strings.Replace(pod, "%", "true", 1), nil},
		{"containers know by themselves", &fakeFederation{tenant: tenantID}, nil, strings.Replace(pod, `"name":"a"`, `"name":"a","env":[{"name":"AZURE_CLIENT_ID"}]`, 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testSettings(t, func(s *Settings) { s.CustomToken = &CustomTokenEndpoint{AnnotationSuffix: "x", Audience: "api://x"} })
			sa := annotated()
			if tt.change != nil {
				tt.change(&sa)
			}
			var f Federation
			if tt.f != nil {
				f = tt.f
			}
			m, err := Decide(parsePod(t, tt.pod), sa, s, f)
			if err != nil || len(m.Warnings) != len(tt.warned) {
				t.Fatalf("%v, %q; want %q", err, m.Warnings, tt.warned)
			}
			for i, want := range tt.warned {
				if !strings.Contains(m.Warnings[i], want) || strings.HasSuffix(m.Warnings[i], "...") {
					t.Errorf("%q, want %q", m.Warnings[i], want)
				}
			}
		})
	}
}

// TestClientOfAPod: the pod's annotation names the identity in place of the
// service account's, and is what the cloud is asked about.
func TestClientOfAPod(t *testing.T) {
	const own = "0e5f1c35-9f0b-4a52-8a9a-2f3b1f0f9d01"
	pod := func(value string) string {
		return `{"metadata":{"name":"p","annotations":{"` + PodClientIDAnnotation + `":"` + value + `"}},"spec":{"containers":[{"name":"a"}]}}`
	}
	for _, sa := range []ServiceAccount{annotated(), ServiceAccountOf("ns", "app", nil), ServiceAccountOf("ns", "app", map[string]string{ClientIDAnnotation: "no GUID"})} {
		f := &fakeFederation{tenant: tenantID, trusted: TrustedHere}
		m, err := Decide(parsePod(t, pod(own)), sa, testSettings(t, nil), f)
		if err != nil || m.Identity != own || len(m.Warnings) != 0 || f.client != own || f.subject != "system:serviceaccount:ns:app" || f.audience != DefaultAudience {
			t.Errorf("%+v: %v, %+v, asked %+v", sa, err, m, f)
		}
		if out := apply(t, pod(own), m.Patch); at(t, out, "spec", "containers", 0, "env", 0, "value") != own {
			t.Errorf("the container is told %v", at(t, out, "spec", "containers", 0, "env", 0))
		}
	}
	for _, bad := range []string{"", "my-identity", "{" + own + "}"} {
		_, err := Decide(parsePod(t, pod(bad)), annotated(), testSettings(t, nil), nil)
		wantDenied(t, err, "which is not a GUID")
	}
}
