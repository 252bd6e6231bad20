package workloadidentity

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func sha30(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:30] }

// TestNamedInBetween: another webhook names the pod between two calls. The
// second must find the first one's volume.
func TestNamedInBetween(t *testing.T) {
	before := `{"metadata":{"generateName":"web-"},"spec":{"containers":[{"name":"a"}]}}`
	after, first := mutate(t, before, annotated(), testSettings(t, nil))
	pod := parsePod(t, after)
	pod.Metadata.Name = "web-x1"
	again, err := Decide(pod, annotated(), testSettings(t, nil), nil)
	if err != nil || len(again.Patch) != 0 || again.Volume != first.Volume || len(again.Warnings) != 0 {
		t.Errorf("%+v, %v; want nothing to do with volume %s", again, err, first.Volume)
	}
}

// TestContainerInBetween: a container that another webhook added gets its share
// of the volume that is there.
func TestContainerInBetween(t *testing.T) {
	before := `{"metadata":{"name":"web"},"spec":{"containers":[{"name":"a"}]}}`
	after, first := mutate(t, before, annotated(), testSettings(t, nil))
	more := apply(t, after, Patch{{Path: "/spec/containers/-", Value: []byte(`{"name":"dapr"}`)}})
	out, _ := mutate(t, more, annotated(), testSettings(t, nil))
	if diff := cmp.Diff([]string{first.Volume}, names(t, out, "spec", "containers", 1, "volumeMounts")); diff != "" {
		t.Error(diff)
	}
	if got := names(t, out, "spec", "volumes"); len(got) != 1 {
		t.Errorf("volumes %q", got)
	}
}

func TestMountsOfOthers(t *testing.T) {
	const own = VolumeNamePrefix + "0123"
	const ownVolume = `"volumes":[{"name":"` + own + `","projected":{"sources":[{"serviceAccountToken":{"path":"token/azure-identity-token","audience":"api://AzureADTokenExchange"}}]}}],`
	tests := []struct {
		name, volumes, mounts string
		want                  int // mounts in the end
		warned                string
	}{
		{"elsewhere", "", `[{"name":"v","mountPath":"/data"}]`, 2, ""},
		{"at the path", "", `[{"name":"v","mountPath":"/var/run/secrets/azure/wi"}]`, 1, `mounts its own volume "v"`},
		{"at the path, spelled otherwise", "", `[{"name":"v","mountPath":"/var/run/secrets/azure//wi/"}]`, 1, `mounts its own volume "v"`},
		{"ours", ownVolume, `[{"name":"` + own + `","mountPath":"/var/run/secrets/azure/wi"}]`, 1, ""},
		{"ours, where later releases put it", ownVolume, `[{"name":"` + own + `","mountPath":"/var/run/secrets/azure/wi/0123"}]`, 1, ""},
		{"ours, elsewhere", ownVolume, `[{"name":"` + own + `","mountPath":"/else"}]`, 2, ""},
		{"null", "", `null`, 1, ""},
		{"empty", "", `[]`, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := `{"metadata":{"name":"p"},"spec":{` + tt.volumes + `"containers":[{"name":"a","volumeMounts":` + tt.mounts + `}]}}`
			out, m := mutate(t, pod, annotated(), testSettings(t, nil))
			if got := names(t, out, "spec", "containers", 0, "volumeMounts"); len(got) != tt.want {
				t.Errorf("mounts %q, want %d", got, tt.want)
			}
			wantWarned(t, m, tt.warned)
		})
	}
}

func TestForeignAudienceIsWarnedOf(t *testing.T) {
	pod := `{"metadata":{"name":"p"},"spec":{"volumes":[{"name":"` + VolumeNamePrefix + `9","projected":{"sources":[
		{"serviceAccountToken":{"path":"token/azure-identity-token","audience":"api://other"}}]}}],"containers":[{"name":"a"}]}}`
	out, m := mutate(t, pod, annotated(), testSettings(t, nil))
	wantWarned(t, m, `for the audience "api://other"`)
	if got := names(t, out, "spec", "volumes"); len(got) != 1 {
		t.Errorf("volumes %q", got)
	}
}

func TestCustomTokenEndpoint(t *testing.T) {
	settings := func(change func(*CustomTokenEndpoint)) *Settings {
		return testSettings(t, func(s *Settings) {
			s.CustomToken = &CustomTokenEndpoint{
				AnnotationSuffix: "identity-binding", Audience: "api://AKSIdentityBinding",
				TokenProxy: "https://kubernetes.default.svc", SNIName: "x.ests.aks",
			}
			if change != nil {
				change(s.CustomToken)
			}
		})
	}
	pod := func(value string) string {
		return `{"metadata":{"name":"p","annotations":{"azure.workload.identity/use-identity-binding":"` + value + `"}},"spec":{"containers":[{"name":"a"}]}}`
	}
	usual := []string{envClientID, envTenantID, envTokenFile, envAuthorityHost}
	tests := []struct {
		name, value string
		change      func(*CustomTokenEndpoint)
		env         []string
		sources     string
	}{
		{"not asked for", "false", nil, usual, `[{"serviceAccountToken":{"path":"token/azure-identity-token","expirationSeconds":3600,"audience":"api://AzureADTokenExchange"}}]`},
		{"asked for", "TRUE", nil, append(usual[:4:4], envTokenProxy, envSNIName),
			`[{"serviceAccountToken":{"path":"token/azure-identity-token","expirationSeconds":3600,"audience":"api://AKSIdentityBinding"}}]`},
		{"config map", "true", func(c *CustomTokenEndpoint) { c.CAConfigMap, c.SNIName = "kube-root-ca.crt", "" }, append(usual[:4:4], envTokenProxy, envCAFile),
			`[{"serviceAccountToken":{"path":"token/azure-identity-token","expirationSeconds":3600,"audience":"api://AKSIdentityBinding"}},
			{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca-cert/ca.crt"}],"optional":false}}]`},
		{"trust bundle", "true", func(c *CustomTokenEndpoint) {
			c.CASigner, c.CALabelSelector = "example.com/signer", &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}, append(usual[:4:4], envTokenProxy, envSNIName, envCAFile),
			`[{"serviceAccountToken":{"path":"token/azure-identity-token","expirationSeconds":3600,"audience":"api://AKSIdentityBinding"}},
			{"clusterTrustBundle":{"signerName":"example.com/signer","labelSelector":{"matchLabels":{"a":"b"}},"path":"ca-cert/ca.crt","optional":false}}]`},
		{"data", "true", func(c *CustomTokenEndpoint) { c.CAData = "PEM" }, append(usual[:4:4], envTokenProxy, envSNIName, envCAData),
			`[{"serviceAccountToken":{"path":"token/azure-identity-token","expirationSeconds":3600,"audience":"api://AKSIdentityBinding"}}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := mutate(t, pod(tt.value), annotated(), settings(tt.change))
			if diff := cmp.Diff(tt.env, names(t, out, "spec", "containers", 0, "env")); diff != "" {
				t.Errorf("env (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(decode(t, tt.sources), at(t, out, "spec", "volumes", 0, "projected", "sources")); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}
