package attach

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadValues(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	first := write("first.yaml", "replicaCount: 3\nimage: {repository: a, release: v1}\n")
	second := write("second.yaml", "image: {release: v2}\n")
	got, err := ReadValues([]string{first, second}, []string{"image.digest=d,tolerations[0].key=k"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"replicaCount": float64(3),
		"image":        map[string]any{"repository": "a", "release": "v2", "digest": "d"},
		"tolerations":  []any{map[string]any{"key": "k"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("values (-want +got):\n%s", d)
	}
	for _, c := range []struct {
		files, settings []string
		want            string
	}{
		{files: []string{filepath.Join(dir, "none")}, want: "no such file"},
		{files: []string{write("twice.yaml", "a: 1\na: 2\n")}, want: "twice.yaml"},
		{settings: []string{"a[x]=1"}, want: `value "a[x]=1"`},
	} {
		if _, err := ReadValues(c.files, c.settings); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestMergeValuesChangesNeither(t *testing.T) {
	base := map[string]any{"a": map[string]any{"b": 1, "c": 2}, "d": 3}
	over := map[string]any{"a": map[string]any{"b": nil, "e": 4}, "f": map[string]any{"g": 5}}
	got := MergeValues(base, over)
	if d := cmp.Diff(map[string]any{"a": map[string]any{"c": 2, "e": 4}, "d": 3, "f": map[string]any{"g": 5}}, got); d != "" {
		t.Errorf("merged (-want +got):\n%s", d)
	}
	got["f"].(map[string]any)["g"] = 6
	got["a"].(map[string]any)["c"] = 6
	if base["a"].(map[string]any)["c"] != 2 || over["f"].(map[string]any)["g"] != 5 {
		t.Error("what was merged is shared with what it was merged from")
	}
}

// TestChartRefusals: values that mean nothing are named.
func TestChartRefusals(t *testing.T) {
	for setting, want := range map[string]string{
		"azureTenantID=":                               "azureTenantID is required",
		"azureTenantID=contoso":                        "azureTenantID",
		"replicas=3":                                   "replicas",
		"failurePolicy=Maybe":                          "failurePolicy: value must be one of",
		"timeoutSeconds=60":                            "timeoutSeconds",
		"proxyImage=x":                                 "proxyImage and proxyInitImage go together",
		"lanyard.agentsURL=https://agents.example":     "lanyard.agentsURL and lanyard.clusterID go together",
		"lanyard.authority[0]=guess":                   "lanyard.authority.0",
		"podLabels.azure\\.workload\\.identity/use=on": "never need the webhook",
		"customTokenEndpoint.annotationSuffix=x":       "customTokenEndpoint.annotationSuffix and customTokenEndpoint.audience go together",
		"customTokenEndpoint.audience=api://x":         "customTokenEndpoint.annotationSuffix and customTokenEndpoint.audience go together",
		"image.repository=mcr.microsoft.com/oss/azure/workload-identity/webhook":                                                             "is upstream's webhook: leave image.repository and image.release out",
		"tokenProxy.enabled=true,customTokenEndpoint.annotationSuffix=x":                                                                     "exclude each other",
		"tokenProxy.enabled=true,azureEnvironment=AzureStackCloud,lanyard.caBundle=x,lanyard.authority[0]=override,lanyard.address=10.0.0.1": "is not for azureEnvironment AzureStackCloud",
		"metrics.service=false,metrics.serviceMonitor.enabled=true":                                                                          "metrics.serviceMonitor needs metrics.service",
	} {
		values, err := ReadValues(nil, []string{setting})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Prepare(Attachment{Values: values}, map[string]any{"azureTenantID": tenant})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", setting, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "at <") {
			t.Errorf("%s: the error speaks of templates: %v", setting, err)
		}
	}
}

// TestValuesAreDescribed: the schema knows every value and describes it, and
// every value that it knows has a default.
func TestValuesAreDescribed(t *testing.T) {
	c := agentChart(t)
	var schema map[string]any
	if err := json.Unmarshal(c.schema, &schema); err != nil {
		t.Fatal(err)
	}
	check(t, "", schema, c.defaults)
}

func check(t *testing.T, at string, schema, values map[string]any) {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok || schema["additionalProperties"] != false {
		return // an object of Kubernetes's, or of names that the operator chooses
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if properties[name] == nil {
			t.Errorf("%s%s is not in the schema", at, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p := properties[name].(map[string]any)
		if s, _ := p["description"].(string); !strings.HasSuffix(s, ".") {
			t.Errorf("%s%s has no description", at, name)
		}
		value, ok := values[name]
		optional := []string{"global", "podDisruptionBudget.maxUnavailable", "resources.claims", "tokenProxy.resources.claims"}
		selector := strings.HasSuffix(at, "Selector.")
		if !ok && !selector && !slices.Contains(optional, at+name) {
			t.Errorf("%s%s has no default", at, name)
		}
		if inner, ok := value.(map[string]any); ok {
			check(t, at+name+".", p, inner)
		}
	}
}
