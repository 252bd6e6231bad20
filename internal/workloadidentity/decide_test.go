package workloadidentity

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWholePod is the contract in one piece: an ordinary pod, with fields that
// this package does not know.
func TestWholePod(t *testing.T) {
	pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","labels":{"azure.workload.identity/use":"true"}},
		"spec":{"resources":{"limits":{"cpu":"1"}},"hostnameOverride":"h","fromTheFuture":{"a":[1]},"hostNetwork":false,
		"containers":[{"name":"app","image":"i","tty":false,"restartPolicyRules":[]}]}}`
	got, m := mutate(t, pod, annotated(), testSettings(t, nil))
	want := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","labels":{"azure.workload.identity/use":"true"}},
		"spec":{"resources":{"limits":{"cpu":"1"}},"hostnameOverride":"h","fromTheFuture":{"a":[1]},"hostNetwork":false,
		"containers":[{"name":"app","image":"i","tty":false,"restartPolicyRules":[],
			"env":[{"name":"AZURE_CLIENT_ID","value":"` + clientID + `"},{"name":"AZURE_TENANT_ID","value":"` + tenantID + `"},
				{"name":"AZURE_FEDERATED_TOKEN_FILE","value":"/var/run/secrets/azure/wi/token/azure-identity-token"},
				{"name":"AZURE_AUTHORITY_HOST","value":"https://login.microsoftonline.com/"}],
			"volumeMounts":[{"name":"azure-workload-identity-reserved-` + sha30("web") + `","readOnly":true,"mountPath":"/var/run/secrets/azure/wi"}]}],
		"volumes":[{"name":"azure-workload-identity-reserved-` + sha30("web") + `","projected":{"sources":[{"serviceAccountToken":
			{"path":"token/azure-identity-token","expirationSeconds":3600,"audience":"api://AzureADTokenExchange"}}]}}]}}`
	if diff := cmp.Diff(decode(t, want), decode(t, got)); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if len(m.Warnings) != 0 {
		t.Errorf("warnings: %q", m.Warnings)
	}
	wantChange := []ContainerChange{{Name: "app", Env: []string{envClientID, envTenantID, envTokenFile, envAuthorityHost}, Mounted: true}}
	if diff := cmp.Diff(wantChange, m.Containers); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestVolumeName(t *testing.T) {
	// The first 30 digits of sha256("web") and of sha256("web- (prefix)").
	for pod, want := range map[string]string{
		`{"metadata":{"name":"web"},"spec":{}}`:                         sha30("web"),
		`{"metadata":{"generateName":"web-"},"spec":{}}`:                sha30("web- (prefix)"),
		`{"metadata":{"name":"web","generateName":"web-"},"spec":null}`: sha30("web"),
		`{}`: sha30(" (prefix)"),
	} {
		got := volumeName(parsePod(t, pod))
		if got != VolumeNamePrefix+want || len(got) != 63 {
			t.Errorf("%s: %s, want digits %s", pod, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	tests := []struct {
		name string
		env  string // of the container
		sa   map[string]string
		want []string
	}{
		{"in order", ``, map[string]string{ClientIDAnnotation: "c"}, []string{"AZURE_CLIENT_ID=c", "AZURE_TENANT_ID=" + tenantID, "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"null env", `"env":null,`, map[string]string{ClientIDAnnotation: "c"}, []string{"AZURE_CLIENT_ID=c", "AZURE_TENANT_ID=" + tenantID, "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"empty env", `"env":[],`, map[string]string{ClientIDAnnotation: "c"}, []string{"AZURE_CLIENT_ID=c", "AZURE_TENANT_ID=" + tenantID, "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"a value stays", `"env":[{"name":"A","value":"b"},{"name":"AZURE_TENANT_ID","value":"mine"}],`, map[string]string{ClientIDAnnotation: "c"},
			[]string{"A=b", "AZURE_TENANT_ID=mine", "AZURE_CLIENT_ID=c", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"a reference stays", `"env":[{"name":"AZURE_CLIENT_ID","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],`, map[string]string{ClientIDAnnotation: "c"},
			[]string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID=" + tenantID, "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"an empty one stays", `"env":[{"name":"AZURE_AUTHORITY_HOST"}],`, map[string]string{ClientIDAnnotation: "c"},
			[]string{"AZURE_AUTHORITY_HOST", "AZURE_CLIENT_ID=c", "AZURE_TENANT_ID=" + tenantID, "AZURE_FEDERATED_TOKEN_FILE"}},
		{"no client", ``, nil, []string{"AZURE_TENANT_ID=" + tenantID, "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"own tenant", ``, map[string]string{TenantIDAnnotation: "t"}, []string{"AZURE_TENANT_ID=t", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"empty tenant", ``, map[string]string{TenantIDAnnotation: ""}, []string{"AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
		{"quoting", ``, map[string]string{ClientIDAnnotation: "\"\\\n</>é"}, []string{"AZURE_CLIENT_ID=\"\\\n</>é", "AZURE_TENANT_ID=" + tenantID, "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, list := range []string{"containers", "initContainers"} {
				pod := `{"metadata":{"name":"p"},"spec":{"` + list + `":[{` + tt.env + `"name":"app"}]}}`
				got, _ := mutate(t, pod, ServiceAccountOf("ns", "app", tt.sa), testSettings(t, nil))
				var env []string
				for i, name := range names(t, got, "spec", list, 0, "env") {
					value, _ := at(t, got, "spec", list, 0, "env", i, "value").(string)
					if strings.Contains(tt.want[min(i, len(tt.want)-1)], "=") {
						name += "=" + value
					}
					env = append(env, name)
				}
				if diff := cmp.Diff(tt.want, env); diff != "" {
					t.Errorf("%s (-want +got):\n%s", list, diff)
				}
			}
		})
	}
}

func TestExpiration(t *testing.T) {
	const outOfRange = "not valid. Expected value to be between 3600 and 86400"
	tests := []struct {
		pod, sa string
		want    float64
		denied  string
		warned  string
	}{
		{want: 3600},
		{sa: "7200", want: 7200},
		{pod: "3600", sa: "7200", want: 3600},
		{pod: "86400", want: 86400},
		{pod: "5000", sa: "12", want: 5000, warned: `is "12"`},
		{pod: "5000", sa: "abc", want: 5000, warned: `is "abc"`},
		{pod: "3599", denied: "token expiration 3599 " + outOfRange},
		{pod: "86401", denied: "token expiration 86401 " + outOfRange},
		{pod: "-1", denied: "token expiration -1 " + outOfRange},
		{sa: "60", denied: "token expiration 60 " + outOfRange},
		{pod: "3600.0", denied: `strconv.ParseInt: parsing "3600.0": invalid syntax`},
		{pod: " 3600", denied: `strconv.ParseInt: parsing " 3600": invalid syntax`},
		{sa: "abc", denied: `strconv.ParseInt: parsing "abc": invalid syntax`},
		{pod: "99999999999999999999", denied: "value out of range"},
	}
	for _, tt := range tests {
		t.Run(tt.pod+"/"+tt.sa, func(t *testing.T) {
			pod := `{"metadata":{"name":"p","annotations":{"` + ExpirationAnnotation + `":"` + tt.pod + `"}},"spec":{"containers":[{"name":"a"}]}}`
			sa := annotated()
			sa.Expiration = tt.sa
			m, err := Decide(parsePod(t, pod), sa, testSettings(t, nil), nil)
			if tt.denied != "" {
				wantDenied(t, err, tt.denied)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := at(t, apply(t, pod, m.Patch), "spec", "volumes", 0, "projected", "sources", 0, "serviceAccountToken", "expirationSeconds")
			if got != tt.want {
				t.Errorf("expirationSeconds %v, want %v", got, tt.want)
			}
			wantWarned(t, m, tt.warned)
		})
	}
}

func wantDenied(t *testing.T, err error, message string) {
	t.Helper()
	denial, ok := errors.AsType[*DenialError](err)
	if !ok || denial.Code != 400 || !strings.Contains(denial.Message, message) {
		t.Errorf("got %v, want a denial with 400 and %q", err, message)
	}
}

// wantWarned wants one warning with a text, or none for "".
func wantWarned(t *testing.T, m Mutation, text string) {
	t.Helper()
	switch {
	case text == "" && len(m.Warnings) > 0:
		t.Errorf("unexpected warnings: %q", m.Warnings)
	case text != "" && (len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], text)):
		t.Errorf("warnings %q, want one with %q", m.Warnings, text)
	}
}

func TestSkipContainers(t *testing.T) {
	pod := func(skip string) string {
		return `{"metadata":{"name":"p","annotations":{"` + SkipContainersAnnotation + `":"` + skip + `"}},
			"spec":{"initContainers":[{"name":"i"}],"containers":[{"name":"a"},{"name":"b"}]}}`
	}
	tests := []struct {
		skip    string
		mutated string
		warned  string
	}{
		{"", "i a b", ""},
		{"a", "i b", ""},
		{" a ; i ", "b", ""},
		{"a;b;i", "", ""},
		{"a,b", "i a b", "separated by semicolons"},
		{"A", "i a b", `no container "A"`},
		{";;", "i a b", ""},
		{"azwi-proxy", "i a b", ""},
	}
	for _, tt := range tests {
		t.Run(tt.skip, func(t *testing.T) {
			out, m := mutate(t, pod(tt.skip), annotated(), testSettings(t, nil))
			var mutated []string
			for _, c := range m.Containers {
				if c.Skipped != (!c.Mounted && c.Env == nil) {
					t.Errorf("%+v", c)
				}
				if c.Mounted {
					mutated = append(mutated, c.Name)
				}
			}
			if got := strings.Join(mutated, " "); got != tt.mutated {
				t.Errorf("mutated %q, want %q", got, tt.mutated)
			}
			// The volume is added even if nobody mounts it.
			if len(names(t, out, "spec", "volumes")) != 1 {
				t.Errorf("volumes: %v", at(t, out, "spec", "volumes"))
			}
			wantWarned(t, m, tt.warned)
		})
	}
}

func TestMistakesAreWarnedOf(t *testing.T) {
	long := strings.Repeat("x", 400)
	tests := []struct {
		name   string
		sa     map[string]string
		env    string
		warned string
	}{
		{"good", map[string]string{ClientIDAnnotation: clientID, TenantIDAnnotation: tenantID}, "", ""},
		{"domain as tenant", map[string]string{ClientIDAnnotation: clientID, TenantIDAnnotation: "contoso.com"}, "", ""},
		{"no annotation", nil, "", "has no annotation " + ClientIDAnnotation},
		{"the pod knows by itself", nil, `"env":[{"name":"AZURE_CLIENT_ID"}],`, ""},
		{"no GUID", map[string]string{ClientIDAnnotation: "my-identity"}, "", "which is not a GUID"},
		{"braces", map[string]string{ClientIDAnnotation: "{" + clientID + "}"}, "", "which is not a GUID"},
		{"no tenant", map[string]string{ClientIDAnnotation: clientID, TenantIDAnnotation: "x"}, "", "neither a GUID nor a domain"},
		{"long", map[string]string{ClientIDAnnotation: long}, "", "xxx..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := `{"metadata":{"name":"p"},"spec":{"containers":[{` + tt.env + `"name":"a"}]}}`
			_, m := mutate(t, pod, ServiceAccountOf("ns", "app", tt.sa), testSettings(t, nil))
			wantWarned(t, m, tt.warned)
			for _, w := range m.Warnings {
				if len(w) > maxWarning {
					t.Errorf("a warning of %d bytes", len(w))
				}
			}
		})
	}
}

func TestPodsThatAreRefused(t *testing.T) {
	for pod, message := range map[string]string{
		`null`:                           "no spec",
		`{}`:                             "no spec",
		`{"spec":null}`:                  "no spec",
		`{"spec":{"containers":[null]}}`: "is null",
		`{"spec":{"initContainers":[{"name":"a"},null]}}`:                                                                   "is null",
		`{"metadata":{"name":"web"},"spec":{"volumes":[{"name":"` + VolumeNamePrefix + sha30("web") + `","emptyDir":{}}]}}`: "is reserved",
	} {
		_, err := Decide(parsePod(t, pod), annotated(), testSettings(t, nil), nil)
		wantDenied(t, err, message)
	}
}
