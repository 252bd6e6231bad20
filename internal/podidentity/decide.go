package podidentity

import (
	"cmp"
	"slices"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// Objects are the resources that decisions rest on.
type Objects struct {
	Identities []v1.AzureIdentity
	Bindings   []v1.AzureIdentityBinding
	Exceptions []v1.AzurePodIdentityException
}

// Pod is as much of a pod as matters.
type Pod struct {
	Namespace string
	Labels    map[string]string
}

// Rules are the objects of a cluster, put in order for decisions. They are read
// alone, by any number of goroutines.
type Rules struct {
	namespaced bool
	identities map[objectName]*v1.AzureIdentity
	bindings   map[string][]*v1.AzureIdentityBinding // by selector, each list by namespace and name
	exceptions map[string][]*v1.AzurePodIdentityException
}

type objectName struct{ namespace, name string }

// New puts objects in order, which must not change any more. With namespaced, as
// with --forceNamespaced of MIC and NMI and always on AKS, pods have identities of
// their own namespace alone; without, of any namespace whose binding selects them,
// but for identities that say otherwise (v1.BehaviorAnnotation).
func New(o Objects, namespaced bool) *Rules {
	r := &Rules{
		namespaced: namespaced,
		identities: make(map[objectName]*v1.AzureIdentity, len(o.Identities)),
		bindings:   map[string][]*v1.AzureIdentityBinding{},
		exceptions: map[string][]*v1.AzurePodIdentityException{},
	}
	for i := range o.Identities {
		id := &o.Identities[i]
		r.identities[objectName{id.Namespace, id.Name}] = id
	}
	for i := range o.Bindings {
		b := &o.Bindings[i]
		r.bindings[b.Spec.Selector] = append(r.bindings[b.Spec.Selector], b)
	}
	for _, list := range r.bindings {
		slices.SortFunc(list, func(a, b *v1.AzureIdentityBinding) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
	}
	for i := range o.Exceptions {
		e := &o.Exceptions[i]
		r.exceptions[e.Namespace] = append(r.exceptions[e.Namespace], e)
	}
	for _, list := range r.exceptions {
		slices.SortFunc(list, func(a, b *v1.AzurePodIdentityException) int { return cmp.Compare(a.Name, b.Name) })
	}
	return r
}

// Decision is what pod identity makes of a pod.
type Decision struct {
	// Selector is the value of the pod's label; empty where it has none, or an
	// empty one, which nothing selects.
	Selector string
	// Exception is one that the pod falls under: the first by name. NMI then gives
	// the pod the node's identities, whatever its bindings are.
	Exception *v1.AzurePodIdentityException
	// Matches are the bindings with this selector, by namespace and name.
	Matches []Match
}

// Match is a binding that selects a pod.
type Match struct {
	Binding *v1.AzureIdentityBinding
	// Identity is the one that the binding names, nil where there is none.
	Identity *v1.AzureIdentity
	// Problem says why the pod does not have the identity; empty where it has.
	Problem Problem
}

// Problem is why a binding gives a pod no identity. MIC says each in its log alone.
type Problem string

// The problems.
const (
	// NoIdentity: there is no AzureIdentity of the binding's name in its namespace.
	NoIdentity Problem = "NoIdentity"
	// InvalidResourceID: the identity is a managed one, and its resource ID is not
	// that of a user-assigned identity.
	InvalidResourceID Problem = "InvalidResourceID"
	// OtherNamespace: the binding is of another namespace, and the identities of the
	// cluster, or this one, are for their own.
	OtherNamespace Problem = "OtherNamespace"
	// NameTaken: an identity of this name, of another namespace, came before it. MIC
	// has one place for both (Azure/aad-pod-identity#1065).
	NameTaken Problem = "NameTaken"
)

// Decide says which identities a pod has.
func (r *Rules) Decide(p Pod) Decision {
	d := Decision{Selector: p.Labels[v1.BindingLabel], Exception: r.exception(p)}
	if d.Selector == "" {
		return d
	}
	taken := map[string]string{} // namespaces by the names of identities
	for _, b := range r.bindings[d.Selector] {
		m := Match{Binding: b, Identity: r.identities[objectName{b.Namespace, b.Spec.AzureIdentity}]}
		m.Problem = r.problem(p, m)
		if m.Problem == "" {
			if namespace, ok := taken[m.Identity.Name]; ok && namespace != m.Identity.Namespace {
				m.Problem = NameTaken
			} else {
				taken[m.Identity.Name] = m.Identity.Namespace
			}
		}
		d.Matches = append(d.Matches, m)
	}
	return d
}

func (r *Rules) problem(p Pod, m Match) Problem {
	switch id := m.Identity; {
	case id == nil:
		return NoIdentity
	case id.Spec.Type == v1.UserAssignedMSI && !isUserAssignedIdentity(id.Spec.ResourceID):
		return InvalidResourceID
	case m.Binding.Namespace != p.Namespace && (r.namespaced || id.Annotations[v1.BehaviorAnnotation] == v1.BehaviorNamespaced):
		return OtherNamespace
	}
	return ""
}

// isUserAssignedIdentity reports whether it is the resource ID of a user-assigned
// identity. MIC takes any text that holds one; what is more than one is of no use to
// the Resource Manager.
func isUserAssignedIdentity(text string) bool {
	id, err := azure.ParseResourceID(text)
	return err == nil && id.ResourceGroup() != "" && azure.EqualFold(id.Type(), "Microsoft.ManagedIdentity/userAssignedIdentities")
}

// exception finds one that the pod falls under: any one of its labels is enough. The
// label's name is exact, its value in any case.
func (r *Rules) exception(p Pod) *v1.AzurePodIdentityException {
	for _, e := range r.exceptions[p.Namespace] {
		for name, value := range e.Spec.PodLabels {
			if have, ok := p.Labels[name]; ok && azure.EqualFold(have, value) {
				return e
			}
		}
	}
	return nil
}

// Identities are those that the pod has, in the order of their bindings, each once:
// two objects that name the same client ID are the same identity. It does not look at
// the exception.
func (d Decision) Identities() []*v1.AzureIdentity {
	var all []*v1.AzureIdentity
	for _, m := range d.Matches {
		if m.Problem == "" && !slices.ContainsFunc(all, func(id *v1.AzureIdentity) bool { return same(id, m.Identity) }) {
			all = append(all, m.Identity)
		}
	}
	return all
}

func same(a, b *v1.AzureIdentity) bool {
	if a.Spec.ClientID == "" {
		return a == b
	}
	return azure.EqualFold(a.Spec.ClientID, b.Spec.ClientID)
}
