package v1_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
)

const (
	identitySample = `{
  "apiVersion": "aadpodidentity.k8s.io/v1", "kind": "AzureIdentity",
  "metadata": {"name": "orders", "namespace": "shop", "annotations": {"aadpodidentity.k8s.io/Behavior": "namespaced"}},
  "spec": {
    "metadata": {"name": "n"}, "type": 2, "resourceID": "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders",
    "clientID": "c", "clientPassword": {"name": "secret", "namespace": "shop"}, "tenantID": "t", "auxiliaryTenantIDs": ["u", "v"],
    "adResourceID": "r", "adEndpoint": "https://login.example", "replicas": 3},
  "status": {"metadata": {"name": "n"}, "availableReplicas": 4}}`
	bindingSample = `{
  "apiVersion": "aadpodidentity.k8s.io/v1", "kind": "AzureIdentityBinding", "metadata": {"name": "orders-binding", "namespace": "shop"},
  "spec": {"metadata": {"name": "n"}, "azureIdentity": "orders", "selector": "web", "weight": 5},
  "status": {"metadata": {"name": "n"}, "availableReplicas": 6}}`
	assignedSample = `{
  "apiVersion": "aadpodidentity.k8s.io/v1", "kind": "AzureAssignedIdentity", "metadata": {"name": "web-1-shop-orders", "namespace": "default"},
  "spec": {
    "metadata": {"name": "n"}, "azureIdentityRef": ` + identitySample + `, "azureBindingRef": ` + bindingSample + `,
    "pod": "web-1", "podNamespace": "shop", "nodename": "node1", "replicas": 1},
  "status": {"metadata": {"name": "n"}, "status": "Assigned", "availableReplicas": 1}}`
	exceptionSample = `{
  "apiVersion": "aadpodidentity.k8s.io/v1", "kind": "AzurePodIdentityException", "metadata": {"name": "csi", "namespace": "kube-system"},
  "spec": {"metadata": {"name": "n"}, "podLabels": {"app": "csi"}},
  "status": {"metadata": {"name": "n"}, "status": "s"}}`
)

// kinds has, for each kind, its resource, a document with every field of upstream's
// v1.8.17, and its printer columns.
var kinds = []struct {
	object           runtime.Object
	resource, sample string
	columns          []string
}{
	{&v1.AzureIdentity{}, v1.AzureIdentityResource, identitySample, []string{"Type .spec.type string", "ClientID .spec.clientID string", "Age .metadata.creationTimestamp date"}},
	{&v1.AzureIdentityBinding{}, v1.AzureIdentityBindingResource, bindingSample, []string{"AzureIdentity .spec.azureIdentity string", "Selector .spec.selector string", "Age .metadata.creationTimestamp date"}},
	{&v1.AzureAssignedIdentity{}, v1.AzureAssignedIdentityResource, assignedSample, nil},
	{&v1.AzurePodIdentityException{}, v1.AzurePodIdentityExceptionResource, exceptionSample, nil},
}

// TestJSON: every field is there by its exact name, and nothing else is written.
func TestJSON(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.resource, func(t *testing.T) {
			strict := json.NewDecoder(strings.NewReader(k.sample))
			strict.DisallowUnknownFields()
			o := k.object.DeepCopyObject()
			if err := strict.Decode(o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, []byte(k.sample)), decode(t, encode(t, o))); diff != "" {
				t.Errorf("the sample came back otherwise (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]any{"metadata": map[string]any{}}, decode(t, encode(t, k.object))); diff != "" {
				t.Errorf("an empty one (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDeepCopy: a copy is equal, and what becomes of it does not touch the original.
func TestDeepCopy(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.resource, func(t *testing.T) {
			o := k.object.DeepCopyObject()
			if err := json.Unmarshal([]byte(k.sample), o); err != nil {
				t.Fatal(err)
			}
			c := o.DeepCopyObject()
			if diff := cmp.Diff(o, c); diff != "" {
				t.Errorf("the copy (-want +got):\n%s", diff)
			}
			before := encode(t, o)
			wipe(reflect.ValueOf(c).Elem())
			if !bytes.Equal(before, encode(t, o)) {
				t.Error("the original has changed with its copy")
			}
		})
	}
}

// wipe empties whatever can be reached.
func wipe(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			wipe(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				wipe(v.Field(i))
			}
		}
	case reflect.Map:
		v.Clear()
	case reflect.Slice:
		for i := range v.Len() {
			wipe(v.Index(i))
		}
	default:
		v.SetZero()
	}
}

// schema is a part of a custom resource definition.
type schema struct {
	Type                 string
	Properties           map[string]schema
	AdditionalProperties *schema
	Items                *schema
	Required             []string
	Nullable             bool
	EmbeddedResource     bool `json:"x-kubernetes-embedded-resource"`
	Enum, Rules          []any
	Pattern              string
}

// TestDefinitions: the definitions are upstream's. They know the fields of the
// samples and no others, and ask for none.
func TestDefinitions(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.resource, func(t *testing.T) {
			var crd struct {
				Metadata struct {
					Name        string
					Annotations map[string]string
				}
				Spec struct {
					Group, Scope string
					Names        struct {
						Kind, Plural string
						ShortNames   []string
					}
					Versions []struct {
						Name                     string
						Served, Storage          bool
						Schema                   struct{ OpenAPIV3Schema schema }
						Subresources             map[string]any
						AdditionalPrinterColumns []struct{ Name, JSONPath, Type string }
					}
				}
			}
			text, err := os.ReadFile(filepath.Join("..", "crds", v1.Group+"_"+k.resource+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal(text, &crd); err != nil {
				t.Fatal(err)
			}
			sample := decode(t, []byte(k.sample))
			s := crd.Spec
			if crd.Metadata.Name != k.resource+"."+v1.Group || crd.Metadata.Annotations["api-approved.kubernetes.io"] != "unapproved" ||
				s.Group != v1.Group || s.Scope != "Namespaced" || s.Names.Kind != sample["kind"] || s.Names.Plural != k.resource || s.Names.ShortNames != nil ||
				len(s.Versions) != 1 || s.Versions[0].Name != v1.Version || !s.Versions[0].Served || !s.Versions[0].Storage || len(s.Versions[0].Subresources) > 0 {
				t.Errorf("the definition is not upstream's: %+v", crd.Metadata)
			}
			var columns []string
			for _, c := range s.Versions[0].AdditionalPrinterColumns {
				columns = append(columns, c.Name+" "+c.JSONPath+" "+c.Type)
			}
			if !slices.Equal(columns, k.columns) {
				t.Errorf("the columns are %q; want %q", columns, k.columns)
			}
			s.Versions[0].Schema.OpenAPIV3Schema.check(t, "", sample)
		})
	}
}

// check compares a schema with a value that has all of its fields.
func (s schema) check(t *testing.T, path string, value any) {
	t.Helper()
	if s.Required != nil || s.Enum != nil || s.Rules != nil || s.Pattern != "" {
		t.Errorf("%s: the schema asks for more than types: %+v", path, s)
	}
	name := path[strings.LastIndexByte(path, '.')+1:]
	if want := slices.Contains([]string{"replicas", "auxiliaryTenantIDs"}, name); s.Nullable != want {
		t.Errorf("%s: nullable is %v", path, s.Nullable)
	}
	if want := slices.Contains([]string{"azureIdentityRef", "azureBindingRef"}, name); s.EmbeddedResource != want {
		t.Errorf("%s: embedded resource is %v", path, s.EmbeddedResource)
	}
	switch v := value.(type) {
	case map[string]any:
		if name == "metadata" || s.AdditionalProperties != nil { // an object of any names
			if s.Type != "object" || s.Properties != nil {
				t.Errorf("%s: %+v", path, s)
			}
			return
		}
		if want, got := slices.Sorted(maps.Keys(v)), slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(want, got) {
			t.Errorf("%s: the schema has %q, the sample %q", path, got, want)
		}
		for key, inner := range v {
			s.Properties[key].check(t, path+"."+key, inner)
		}
	case []any:
		if s.Type != "array" || s.Items == nil || s.Items.Type != "string" {
			t.Errorf("%s: %+v", path, s)
		}
	case string:
		if s.Type != "string" {
			t.Errorf("%s is a %s", path, s.Type)
		}
	case float64:
		if s.Type != "integer" {
			t.Errorf("%s is a %s", path, s.Type)
		}
	}
}

func TestAddToScheme(t *testing.T) {
	s := runtime.NewScheme()
	if err := v1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		kind := decode(t, []byte(k.sample))["kind"].(string)
		for _, name := range []string{kind, kind + "List"} {
			if !s.Recognizes(v1.GroupVersion().WithKind(name)) {
				t.Errorf("the scheme does not know %s", name)
			}
		}
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func decode(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
