package podidentity

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
)

const (
	ordersID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/orders"
	ordersCl = "00000000-0000-0000-0000-00000000000a"
	otherCl  = "00000000-0000-0000-0000-00000000000b"
)

// identity is a managed one; change makes it another.
func identity(namespace, name, client string, change ...func(*v1.AzureIdentity)) v1.AzureIdentity {
	id := v1.AzureIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1.AzureIdentitySpec{ResourceID: ordersID, ClientID: client},
	}
	for _, c := range change {
		c(&id)
	}
	return id
}

func kind(t v1.IdentityType) func(*v1.AzureIdentity) {
	return func(id *v1.AzureIdentity) { id.Spec.Type, id.Spec.ResourceID = t, "" }
}

func resource(text string) func(*v1.AzureIdentity) {
	return func(id *v1.AzureIdentity) { id.Spec.ResourceID = text }
}

func behavior(value string) func(*v1.AzureIdentity) {
	return func(id *v1.AzureIdentity) { id.Annotations = map[string]string{v1.BehaviorAnnotation: value} }
}

func binding(namespace, name, identity, selector string) v1.AzureIdentityBinding {
	return v1.AzureIdentityBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1.AzureIdentityBindingSpec{AzureIdentity: identity, Selector: selector},
	}
}

func exception(namespace, name string, labels map[string]string) v1.AzurePodIdentityException {
	return v1.AzurePodIdentityException{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1.AzurePodIdentityExceptionSpec{PodLabels: labels}}
}

// TestDecide has a case for each rule, in both modes: what a pod of the namespace
// shop with the label web has.
func TestDecide(t *testing.T) {
	own := Objects{Identities: []v1.AzureIdentity{identity("shop", "orders", ordersCl)}, Bindings: []v1.AzureIdentityBinding{binding("shop", "b", "orders", "web")}}
	alone := func(id v1.AzureIdentity, b v1.AzureIdentityBinding) Objects {
		return Objects{Identities: []v1.AzureIdentity{id}, Bindings: []v1.AzureIdentityBinding{b}}
	}
	excepted := func(namespace, key, value string) Objects {
		o := own
		o.Exceptions = []v1.AzurePodIdentityException{exception(namespace, "z", map[string]string{key: value}), exception(namespace, "e", map[string]string{"other": "x", key: value})}
		return o
	}
	tests := []struct {
		name    string
		objects Objects
		labels  map[string]string // aadpodidbinding: web where nil
		strict  string            // what it has with namespaced, as print says it
		open    string            // and without; the same where empty
	}{
		{name: "own", objects: own, strict: "b=shop/orders"},
		{name: "no label", objects: own, labels: map[string]string{"app": "web"}, strict: ""},
		{name: "an empty label selects nothing", objects: alone(identity("shop", "orders", ordersCl), binding("shop", "b", "orders", "")), labels: map[string]string{v1.BindingLabel: ""}, strict: ""},
		{name: "a selector is exact", objects: own, labels: map[string]string{v1.BindingLabel: "Web"}, strict: ""},
		{name: "and no part", objects: own, labels: map[string]string{v1.BindingLabel: "web2"}, strict: ""},
		{name: "the label's name is exact", objects: own, labels: map[string]string{"aadPodIdBinding": "web"}, strict: ""},
		{name: "no identity", objects: alone(identity("shop", "orders", ordersCl), binding("shop", "b", "Orders", "web")), strict: "b!NoIdentity"},
		{name: "an identity of another namespace is not the binding's", objects: alone(identity("other", "orders", ordersCl), binding("shop", "b", "orders", "web")), strict: "b!NoIdentity"},
		{name: "of another namespace", objects: alone(identity("other", "orders", ordersCl), binding("other", "b", "orders", "web")), strict: "b!OtherNamespace", open: "b=other/orders"},
		{name: "of another namespace, for its own", objects: alone(identity("other", "orders", ordersCl, behavior("namespaced")), binding("other", "b", "orders", "web")), strict: "b!OtherNamespace"},
		{name: "the annotation's value is exact", objects: alone(identity("other", "orders", ordersCl, behavior("Namespaced")), binding("other", "b", "orders", "web")), strict: "b!OtherNamespace", open: "b=other/orders"},
		{name: "a resource ID in any case", objects: alone(identity("shop", "orders", ordersCl, resource(strings.ToUpper(ordersID))), binding("shop", "b", "orders", "web")), strict: "b=shop/orders"},
		{name: "no resource ID", objects: alone(identity("shop", "orders", ordersCl, resource("")), binding("shop", "b", "orders", "web")), strict: "b!InvalidResourceID"},
		{name: "another resource's ID", objects: alone(identity("shop", "orders", ordersCl, resource(strings.Replace(ordersID, "ManagedIdentity/user", "ManagedIdentity/other", 1))), binding("shop", "b", "orders", "web")), strict: "b!InvalidResourceID"},
		{name: "what is below an identity", objects: alone(identity("shop", "orders", ordersCl, resource(ordersID+"/federatedIdentityCredentials/f")), binding("shop", "b", "orders", "web")), strict: "b!InvalidResourceID"},
		{name: "a service principal has none", objects: alone(identity("shop", "orders", ordersCl, kind(v1.ServicePrincipal)), binding("shop", "b", "orders", "web")), strict: "b=shop/orders"},
		{name: "nor one with a certificate", objects: alone(identity("shop", "orders", ordersCl, kind(v1.ServicePrincipalCertificate)), binding("shop", "b", "orders", "web")), strict: "b=shop/orders"},
		{
			name: "several, whatever their weight", strict: "a=shop/pay b=shop/orders c=shop/orders (2)",
			objects: Objects{
				Identities: []v1.AzureIdentity{identity("shop", "orders", ordersCl), identity("shop", "pay", otherCl)},
				Bindings: []v1.AzureIdentityBinding{binding("shop", "c", "orders", "web"), binding("shop", "b", "orders", "web"),
					{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a"}, Spec: v1.AzureIdentityBindingSpec{AzureIdentity: "pay", Selector: "web", Weight: 9}}},
			},
		},
		{
			name: "two names of one identity", strict: "a=shop/orders b=shop/same",
			objects: Objects{
				Identities: []v1.AzureIdentity{identity("shop", "orders", ordersCl), identity("shop", "same", strings.ToUpper(ordersCl))},
				Bindings:   []v1.AzureIdentityBinding{binding("shop", "a", "orders", "web"), binding("shop", "b", "same", "web")},
			},
		},
		{
			name: "without a client ID they are not the same", strict: "a=shop/orders b=shop/same (2)",
			objects: Objects{
				Identities: []v1.AzureIdentity{identity("shop", "orders", ""), identity("shop", "same", "")},
				Bindings:   []v1.AzureIdentityBinding{binding("shop", "a", "orders", "web"), binding("shop", "b", "same", "web")},
			},
		},
		{
			name: "one name in two namespaces", strict: "x!OtherNamespace b=shop/orders", open: "x=other/orders b!NameTaken",
			objects: Objects{
				Identities: []v1.AzureIdentity{identity("shop", "orders", ordersCl), identity("other", "orders", otherCl)},
				Bindings:   []v1.AzureIdentityBinding{binding("shop", "b", "orders", "web"), binding("other", "x", "orders", "web")},
			},
		},
		{name: "an exception, the first by name", objects: excepted("shop", v1.BindingLabel, "WEB"), strict: "except e b=shop/orders"},
		{name: "an exception's label has an exact name", objects: excepted("shop", "AADpodidbinding", "web"), strict: "b=shop/orders"},
		{name: "an exception of another value", objects: excepted("shop", v1.BindingLabel, "api"), strict: "b=shop/orders"},
		{name: "the Kelvin sign is no k", objects: excepted("shop", "k", "\u212a"), labels: map[string]string{"k": "k"}, strict: ""},
		{name: "an exception of another namespace", objects: excepted("other", v1.BindingLabel, "web"), strict: "b=shop/orders"},
		{name: "an exception for pods without the label", objects: excepted("shop", "app", "csi"), labels: map[string]string{"app": "csi"}, strict: "except e"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.labels == nil {
				tt.labels = map[string]string{v1.BindingLabel: "web"}
			}
			if tt.open == "" {
				tt.open = tt.strict
			}
			pod := Pod{Namespace: "shop", Labels: tt.labels}
			if got := printed(New(tt.objects, true).Decide(pod)); got != tt.strict {
				t.Errorf("namespaced: %q; want %q", got, tt.strict)
			}
			if got := printed(New(tt.objects, false).Decide(pod)); got != tt.open {
				t.Errorf("not namespaced: %q; want %q", got, tt.open)
			}
		})
	}
}

// printed writes a decision on a line: the exception, each binding with its identity
// or problem, and how many identities there are where there are several.
func printed(d Decision) string {
	var all []string
	if d.Exception != nil {
		all = append(all, "except "+d.Exception.Name)
	}
	for _, m := range d.Matches {
		if m.Problem != "" {
			all = append(all, m.Binding.Name+"!"+string(m.Problem))
		} else {
			all = append(all, m.Binding.Name+"="+m.Identity.Namespace+"/"+m.Identity.Name)
		}
	}
	if n := len(d.Identities()); n > 1 {
		all = append(all, fmt.Sprintf("(%d)", n))
	}
	return strings.Join(all, " ")
}

// TestDecideModel: for any cluster the decision is what upstream's loops come to.
func TestDecideModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := func(label string, values ...string) string { return rapid.SampledFrom(values).Draw(t, label) }
		namespace := func() string { return some("namespace", "a", "b", "c") }
		name := func() string { return some("name", "x", "y", "z") }
		value := func() string { return some("value", "", "web", "Web", "api") }
		var o Objects
		for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching("[abc]/[xyz]"), 0, 6, rapid.ID[string]).Draw(t, "identities") {
			id := identity(key[:1], key[2:], some("client", "", ordersCl, otherCl))
			id.Spec.Type = v1.IdentityType(rapid.IntRange(0, 2).Draw(t, "type"))
			id.Spec.ResourceID = some("resource", "", ordersID)
			if rapid.Bool().Draw(t, "annotated") {
				id.Annotations = map[string]string{v1.BehaviorAnnotation: some("behavior", "namespaced", "other")}
			}
			o.Identities = append(o.Identities, id)
		}
		for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching("[abc]/[pqrs]"), 0, 8, rapid.ID[string]).Draw(t, "bindings") {
			o.Bindings = append(o.Bindings, binding(key[:1], key[2:], name(), value()))
		}
		for range rapid.IntRange(0, 3).Draw(t, "exceptions") {
			o.Exceptions = append(o.Exceptions, exception(namespace(), name(), map[string]string{some("key", v1.BindingLabel, "app"): value()}))
		}
		pod := Pod{Namespace: namespace(), Labels: map[string]string{}}
		for _, key := range []string{v1.BindingLabel, "app"} {
			if rapid.Bool().Draw(t, "labelled") {
				pod.Labels[key] = value()
			}
		}
		namespaced := rapid.Bool().Draw(t, "namespaced")
		d := New(o, namespaced).Decide(pod)

		var got []string
		for _, m := range d.Matches {
			if m.Problem == "" {
				got = append(got, m.Identity.Namespace+"/"+m.Identity.Name)
			}
		}
		want := upstream(o, pod, namespaced)
		slices.Sort(got)
		got = slices.Compact(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the identities of %+v (-want +got):\n%s", pod, diff)
		}
		if excepted := upstreamExcepts(o, pod); excepted != (d.Exception != nil) {
			t.Errorf("the exception of %+v: %v; want %v", pod, d.Exception, excepted)
		}
		if d.Explain() == "" {
			t.Error("a decision without a reason")
		}
	})
}

// upstream lists the identities that MIC assigns to a pod: for each binding of the
// pod's label, in order, the identity by the binding's namespace and its name, each
// name once.
func upstream(o Objects, pod Pod, namespaced bool) []string {
	label := pod.Labels[v1.BindingLabel]
	if label == "" {
		return nil
	}
	bindings := slices.Clone(o.Bindings)
	slices.SortFunc(bindings, func(a, b v1.AzureIdentityBinding) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	assigned := map[string]string{}
	for _, b := range bindings {
		for _, id := range o.Identities {
			if b.Spec.Selector != label || id.Namespace != b.Namespace || id.Name != b.Spec.AzureIdentity {
				continue
			}
			if id.Spec.Type == v1.UserAssignedMSI && id.Spec.ResourceID == "" {
				continue
			}
			if (namespaced || id.Annotations["aadpodidentity.k8s.io/Behavior"] == "namespaced") && (id.Namespace != b.Namespace || b.Namespace != pod.Namespace) {
				continue
			}
			if _, ok := assigned[id.Name]; !ok {
				assigned[id.Name] = id.Namespace + "/" + id.Name
			}
		}
	}
	var all []string
	for _, id := range assigned {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func upstreamExcepts(o Objects, pod Pod) bool {
	for _, e := range o.Exceptions {
		for key, value := range e.Spec.PodLabels {
			if have, ok := pod.Labels[key]; ok && e.Namespace == pod.Namespace && strings.EqualFold(have, value) {
				return true
			}
		}
	}
	return false
}

func TestExplain(t *testing.T) {
	o := Objects{
		Identities: []v1.AzureIdentity{identity("shop", "orders", ordersCl), identity("shop", "pay", otherCl), identity("shop", "bad", otherCl, func(id *v1.AzureIdentity) { id.Spec.ResourceID = "orders" })},
		Bindings: []v1.AzureIdentityBinding{
			binding("shop", "one", "orders", "one"), binding("shop", "a", "orders", "two"), binding("shop", "b", "pay", "two"),
			binding("shop", "gone", "none", "gone"), binding("shop", "bad", "bad", "bad"), binding("other", "far", "orders", "far"),
		},
		Exceptions: []v1.AzurePodIdentityException{exception("shop", "csi", map[string]string{"app": "csi"})},
	}
	o.Identities = append(o.Identities, identity("other", "orders", otherCl))
	r := New(o, true)
	for _, tt := range []struct {
		labels map[string]string
		want   string
	}{
		{nil, "it has no label aadpodidbinding"},
		{map[string]string{"aadpodidbinding": "none"}, `no AzureIdentityBinding has the selector "none"`},
		{map[string]string{"aadpodidbinding": "one"}, "AzureIdentity shop/orders by AzureIdentityBinding shop/one"},
		{map[string]string{"aadpodidbinding": "two"}, "it has 2 identities, and one that asks for none in particular gets any of them: AzureIdentity shop/orders by AzureIdentityBinding shop/a; AzureIdentity shop/pay by AzureIdentityBinding shop/b"},
		{map[string]string{"aadpodidbinding": "gone"}, `no identity: AzureIdentityBinding shop/gone names the AzureIdentity "none", which is not in its namespace`},
		{map[string]string{"aadpodidbinding": "bad"}, `no identity: AzureIdentity shop/bad, of AzureIdentityBinding shop/bad, is ignored: its resourceID "orders" is not /subscriptions/<id>/resourceGroups/<name>/providers/Microsoft.ManagedIdentity/userAssignedIdentities/<name>`},
		{map[string]string{"aadpodidbinding": "far"}, "no identity: AzureIdentityBinding other/far is of another namespace, and AzureIdentity other/orders is for the pods of its own"},
		{map[string]string{"aadpodidbinding": "one", "app": "csi"}, "AzurePodIdentityException shop/csi leaves it to the node's identities"},
	} {
		if got := r.Decide(Pod{Namespace: "shop", Labels: tt.labels}).Explain(); got != tt.want {
			t.Errorf("%v: %s\nwant %s", tt.labels, got, tt.want)
		}
	}
}
