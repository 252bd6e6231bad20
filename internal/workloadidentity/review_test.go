package workloadidentity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"pgregory.net/rapid"
)

func TestParseReview(t *testing.T) {
	good := string(review(`{"metadata":{"name":"p"},"spec":{}}`))
	tests := []struct{ name, body, fail string }{
		{"good", good, ""},
		{"v1beta1", strings.Replace(good, "k8s.io/v1", "k8s.io/v1beta1", 1), ""},
		{"empty", "", "reading the AdmissionReview"},
		{"no JSON", "hello", "reading the AdmissionReview"},
		{"two documents", good + good, "reading the AdmissionReview"},
		{"a list", "[]", "reading the AdmissionReview"},
		{"null", "null", `not ""`},
		{"another kind", strings.Replace(good, `"AdmissionReview"`, `"Pod"`, 1), `not "Pod"`},
		{"another version", strings.Replace(good, "k8s.io/v1", "k8s.io/v2", 1), `not "admission.k8s.io/v2"`},
		{"no request", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, "no request"},
		{"containers that are none", strings.Replace(good, `"spec":{}`, `"spec":{"containers":{}}`, 1), "containers"},
		{"a field twice", strings.Replace(good, `"spec":{}`, `"spec":{"hostNetwork":true},"spec":{}`, 1), "duplicate"},
		{"a field twice, once in escapes", strings.Replace(good, `"spec":{}`, `"spec":{"hostNetwork":true,"hostNetw\u006frk":false}`, 1), "duplicate"},
		{"an annotation twice", strings.Replace(good, `"name":"p"`, `"annotations":{"a":"b","a":"c"}`, 1), "duplicate"},
		{"a label twice", strings.Replace(good, `"name":"p"`, `"labels":{"`+SystemLabel+`":"true","`+SystemLabel+`":"false"}`, 1), "duplicate"},
		{"what is not read, twice", strings.Replace(good, `"name":"p"`, `"name":"p","uid":"1","uid":"2"`, 1), ""},
		{"nulls", strings.Replace(good, `"spec":{}`, `"spec":{"hostNetwork":null,"containers":null,"serviceAccountName":null}`, 1), ""},
		{"a name that is none", strings.Replace(good, `"name":"p"`, `"name":{}`, 1), "a string was expected"},
		{"a list in the place of an object", strings.Replace(good, `"spec":{}`, `"spec":[]`, 1), "an object was expected"},
		{"an annotation that is no string", strings.Replace(good, `"name":"p"`, `"annotations":{"a":1}`, 1), "a string was expected"},
		{"cut off", good[:len(good)-20], "reading the AdmissionReview"},
		{"not UTF-8", strings.Replace(good, `"name":"p"`, "\"name\":\"\xff\"", 1), "UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseReview([]byte(tt.body))
			if (tt.fail == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.fail)) {
				t.Fatalf("%v, want %q", err, tt.fail)
			}
			if r == nil {
				t.Fatal("no review to answer")
			}
			if err == nil && !r.Request.Creates() {
				t.Error("creates no pod")
			}
		})
	}
}

// TestFieldsInAnotherCase: JSON's names are exact. A pod with "Spec" has no spec
// for the API server, and none here.
func TestFieldsInAnotherCase(t *testing.T) {
	_, err := Decide(parsePod(t, `{"Spec":{"containers":[]}}`), annotated(), testSettings(t, nil), nil)
	wantDenied(t, err, "no spec")
}

func TestAnswer(t *testing.T) {
	r := &Review{APIVersion: reviewV1Beta1, Request: &ReviewRequest{UID: `u"1`}}
	tests := []struct {
		name string
		r    *Review
		m    Mutation
		err  error
		want string
	}{
		{"nothing to do", r, Mutation{}, nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","response":{"uid":"u\"1","allowed":true}}`},
		{"a patch and warnings", r, Mutation{Patch: Patch{{"/spec/volumes", []byte("[]")}}, Warnings: []string{"a\"", "b"}}, nil,
			`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","response":{"uid":"u\"1","allowed":true,"patchType":"JSONPatch","patch":"` +
				base64.StdEncoding.EncodeToString([]byte(`[{"op":"add","path":"/spec/volumes","value":[]}]`)) + `","warnings":["a\"","b"]}}`},
		{"denied", r, Mutation{}, &DenialError{403, "no"}, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","response":{"uid":"u\"1","allowed":false,"status":{"code":403,"message":"no"}}}`},
		{"not understood", nil, Mutation{}, errors.New("what?"), `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"","allowed":false,"status":{"code":400,"message":"what?"}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(tt.r.AppendAnswer(nil, tt.m, tt.err))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCreates(t *testing.T) {
	pods := ReviewResource{Resource: "pods"}
	for _, tt := range []struct {
		r    ReviewRequest
		want bool
	}{
		{ReviewRequest{Operation: "CREATE", Resource: pods}, true},
		{ReviewRequest{}, true},
		{ReviewRequest{Operation: "UPDATE", Resource: pods}, false},
		{ReviewRequest{Operation: "CREATE", Resource: pods, SubResource: "ephemeralcontainers"}, false},
		{ReviewRequest{Operation: "CREATE", Resource: ReviewResource{Resource: "services"}}, false},
		{ReviewRequest{Operation: "CREATE", Resource: ReviewResource{Group: "x", Resource: "pods"}}, false},
	} {
		if got := tt.r.Creates(); got != tt.want {
			t.Errorf("%+v: %v", tt.r, got)
		}
	}
}

// FuzzReview: a review of any shape gets an answer that is JSON, and where it is
// a patch, the patch applies to the pod it was made for and takes nothing away.
func FuzzReview(f *testing.F) {
	for _, pod := range []string{
		`{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]}}`,
		`{"metadata":{"generateName":"p-","annotations":{"azure.workload.identity/inject-proxy-sidecar":""}},"spec":{"initContainers":[{"name":"i","env":[{"name":"AZURE_CLIENT_ID"}]}],"containers":null}}`,
		`{"metadata":{"annotations":{"azure.workload.identity/skip-containers":"a;b","azure.workload.identity/service-account-token-expiration":"7200"}},"spec":{"volumes":[null,{"name":"azure-workload-identity-reserved-1","projected":{"sources":[{"serviceAccountToken":{"path":"token/azure-identity-token"}}]}}],"containers":[{"name":"a","volumeMounts":[{"name":"x","mountPath":"/var/run/secrets/azure/wi"}]}]}}`,
		`{"metadata":{"annotations":{"lanyard.dev/authority":"own-host","lanyard.dev/trust":"go,java","lanyard.dev/client-id":"0e5f1c35-9f0b-4a52-8a9a-2f3b1f0f9d01"}},"spec":{"dnsPolicy":"None","hostAliases":[null,{"ip":"192.0.2.10","hostnames":null}],"volumes":[{"name":"azure-workload-identity-reserved-1","projected":{"sources":[{"serviceAccountToken":{"path":"token/azure-identity-token"}}]}}],"containers":[{"name":"a","env":[{"name":"HTTPS_PROXY"}]}]}}`,
		`null`, `[]`, `{"spec":{"containers":[null]}}`, `{"spec":{},"spec":{"containers":[{}]}}`,
	} {
		f.Add(review(pod))
	}
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"object":{"spec":{}}}}`))
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"object":{"spec":{}},"OBjeCt":null}}`))
	native := testSettings(f, func(s *Settings) { s.NativeSidecar = true })
	cloud, federation := cloudSettings(f, nil), &fakeFederation{tenant: tenantID}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseReview(body)
		if err != nil {
			if answer := r.AppendAnswer(nil, Mutation{}, err); !json.Valid(answer) {
				t.Fatalf("no JSON: %s", answer)
			}
			return
		}
		for _, s := range []*Settings{native, cloud} {
			m, err := Decide(r.Request.Object, annotated(), s, federation)
			if answer := r.AppendAnswer(nil, m, err); !json.Valid(answer) {
				t.Fatalf("no JSON: %s", answer)
			}
			if err != nil || len(m.Patch) == 0 {
				continue
			}
			// Names in another case are other names, which encoding/json's structs
			// do not know.
			var sent map[string]json.RawMessage
			var request map[string]json.RawMessage
			if json.Unmarshal(body, &sent) != nil || json.Unmarshal(sent["request"], &request) != nil {
				t.Fatal("a review that encoding/json does not read")
			}
			apply(t, string(request["object"]), m.Patch)
		}
	})
}

// TestIdempotent: whatever the pod, deciding about a patched pod adds nothing,
// also when the pod was named in between.
func TestIdempotent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pod := drawPod(rt)
		raw, err := json.Marshal(pod)
		if err != nil {
			rt.Fatal(err)
		}
		s := testSettings(t, func(s *Settings) {
			s.NativeSidecar = rapid.Bool().Draw(rt, "native")
			if rapid.Bool().Draw(rt, "custom") {
				s.CustomToken = &CustomTokenEndpoint{AnnotationSuffix: "x", Audience: "api://x", CAConfigMap: "m"}
			}
			if rapid.Bool().Draw(rt, "cloud") {
				s.Cloud = cloudSettings(t, func(c *Cloud) {
					if rapid.Bool().Draw(rt, "by DNS") {
						c.Address = netip.Addr{}
					}
				}).Cloud
			}
		})
		sa := annotated()
		r, err := ParseReview(review(string(raw)))
		if err != nil {
			rt.Fatal(err)
		}
		m, err := Decide(r.Request.Object, sa, s, nil)
		if err != nil {
			return // refused pods are not invoked again
		}
		patch, err := jsonpatch.DecodePatch(m.Patch.AppendJSON(nil))
		if err != nil {
			rt.Fatal(err)
		}
		once, err := patch.Apply(raw)
		if err != nil {
			rt.Fatalf("%v\n%s\n%s", err, m.Patch.AppendJSON(nil), raw)
		}
		if err := onlyAdds(decode(t, string(raw)), decode(t, string(once)), ""); err != nil {
			rt.Fatal(err)
		}
		r, err = ParseReview(review(string(once)))
		if err != nil {
			rt.Fatal(err)
		}
		r.Request.Object.Metadata.Name = rapid.SampledFrom([]string{"", "p", "later"}).Draw(rt, "name later")
		again, err := Decide(r.Request.Object, sa, s, nil)
		if err != nil || len(again.Patch) != 0 {
			rt.Fatalf("a second call: %v, %s\n%s", err, again.Patch.AppendJSON(nil), once)
		}
	})
}

func drawPod(rt *rapid.T) map[string]any {
	lists := func(label string, element func(*rapid.T) any) any {
		switch rapid.IntRange(0, 3).Draw(rt, label) {
		case 0:
			return nil
		case 1:
			return []any{}
		}
		return rapid.SliceOfN(rapid.Custom(element), 1, 3).Draw(rt, label+" elements")
	}
	container := func(rt *rapid.T) any {
		c := map[string]any{"name": rapid.SampledFrom([]string{"a", "b", "azwi-proxy", "azwi-proxy-init"}).Draw(rt, "container")}
		if rapid.Bool().Draw(rt, "has env") {
			c["env"] = []any{map[string]any{"name": rapid.SampledFrom([]string{"A", envClientID, envCAFile}).Draw(rt, "env")}}
		}
		if rapid.Bool().Draw(rt, "has mounts") {
			c["volumeMounts"] = []any{map[string]any{"name": "v", "mountPath": rapid.SampledFrom([]string{"/d", MountPath, MountPath + "/"}).Draw(rt, "path")}}
		}
		if rapid.Bool().Draw(rt, "has more") {
			c["unknown"] = map[string]any{"x": 1}
		}
		return c
	}
	volume := func(rt *rapid.T) any {
		v := map[string]any{"name": rapid.SampledFrom([]string{"v", VolumeNamePrefix + "1", VolumeNamePrefix + sha30("p")}).Draw(rt, "volume")}
		if rapid.Bool().Draw(rt, "projected") {
			sources := []any{map[string]any{"serviceAccountToken": map[string]any{"path": TokenFilePath}}}
			if rapid.Bool().Draw(rt, "brings trust") {
				sources = append(sources, map[string]any{"configMap": map[string]any{"name": TrustConfigMap}})
			}
			v["projected"] = map[string]any{"sources": sources}
		}
		return v
	}
	alias := func(rt *rapid.T) any {
		a := map[string]any{"ip": rapid.SampledFrom([]string{"192.0.2.10", "192.0.2.1"}).Draw(rt, "ip")}
		a["hostnames"] = lists("host names", func(rt *rapid.T) any {
			return rapid.SampledFrom([]string{"a.example", "login-us.microsoftonline.com"}).Draw(rt, "host name")
		})
		return a
	}
	annotations := map[string]any{}
	for _, a := range []struct {
		key    string
		values []string
	}{
		{InjectProxyAnnotation, []string{"", "true"}},
		{SkipContainersAnnotation, []string{"a", "a;b", "azwi-proxy"}},
		{ProxyPortAnnotation, []string{"9000", "x"}},
		{ExpirationAnnotation, []string{"", "7200", "1"}},
		{"azure.workload.identity/use-x", []string{"true", "false"}},
		{AuthorityAnnotation, []string{"alias", "override", "own-host"}},
		{TrustAnnotation, []string{"none", "go", "java,python"}},
		{PodClientIDAnnotation, []string{clientID}},
	} {
		if v := rapid.SampledFrom(append([]string{"-"}, a.values...)).Draw(rt, a.key); v != "-" {
			annotations[a.key] = v
		}
	}
	metadata := map[string]any{"annotations": annotations}
	metadata[rapid.SampledFrom([]string{"name", "generateName"}).Draw(rt, "naming")] = "p"
	return map[string]any{"metadata": metadata, "spec": map[string]any{
		"containers": lists("containers", container), "initContainers": lists("init containers", container),
		"hostAliases": lists("host aliases", alias), "dnsPolicy": rapid.SampledFrom([]string{"", "ClusterFirst", "Default"}).Draw(rt, "DNS policy"),
		"volumes": lists("volumes", volume), "hostNetwork": rapid.Bool().Draw(rt, "host network"),
	}}
}
