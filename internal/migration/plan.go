package migration

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/lanyard-id/lanyard/apis/aadpodidentity/v1"
	"github.com/lanyard-id/lanyard/internal/podidentity"
)

// Cluster is what was read of a cluster, or of one of its namespaces.
type Cluster struct {
	podidentity.Objects
	// Pods are those with the label, or all.
	Pods []unstructured.Unstructured
	// Workloads are the objects that make pods, of the kinds that WorkloadKinds
	// names, with their apiVersion and kind.
	Workloads []unstructured.Unstructured
	// ServiceAccounts are those of the same namespaces.
	ServiceAccounts []unstructured.Unstructured
	// Namespaces are theirs, for the pod security standards that they enforce. They
	// may be left out.
	Namespaces []unstructured.Unstructured
}

// Options are the choices that a plan leaves open.
type Options struct {
	// Namespaced is podidentity.New's.
	Namespaced bool
	// Partial says that pods of other namespaces were not read, though bindings
	// reach them: what is in no use here may be in use there.
	Partial bool
	// DefaultIdentities name AzureIdentities, by name or NAMESPACE/NAME. A workload
	// that has several identities gets the one among these for requests that name
	// none.
	DefaultIdentities []string
	// ProxyPort is the token proxy's, workloadidentity.DefaultProxyPort for 0.
	ProxyPort int
	// ExpirationSeconds is how long service accounts' tokens last. Without it those
	// of existing service accounts keep theirs, and new ones have the default.
	ExpirationSeconds int64
	// TenantID is the tenant of the identities. Without it service principals have
	// their own, and managed identities the webhook's.
	TenantID string
}

// Plan is what was found, and what is to be done.
type Plan struct {
	Workloads []Workload `json:"workloads"`
	// UnusedIdentities and UnusedBindings give nothing to any pod, with the reason.
	UnusedIdentities []Unused `json:"unusedIdentities"`
	UnusedBindings   []Unused `json:"unusedBindings"`
}

// Unused is an object of pod identity that no pod has to do with.
type Unused struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
}

// State is whether a workload can be moved.
type State string

// The states.
const (
	// Move: there are manifests by which it is moved.
	Move State = "move"
	// Moved: it has the identity by workload identity already.
	Moved State = "moved"
	// Blocked: something is in the way, as Problems says.
	Blocked State = "blocked"
	// Excepted: an AzurePodIdentityException leaves its pods to the identities of
	// their nodes, and there is nothing to move.
	Excepted State = "excepted"
)

// Workload is one that makes pods with the label, or a pod that nothing makes.
type Workload struct {
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	State     State  `json:"state"`
	// Pods are its pods, by name.
	Pods []Pod `json:"pods"`
	// Reason says which identity its pods have, and by which binding, or why none.
	Reason string `json:"reason"`
	// Identities are those that its pods have. The first is the one for requests
	// that name none, if the workload can be moved.
	Identities []Identity `json:"identities"`
	// ServiceAccount is what its pods will run as.
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// NewServiceAccount says that it is not there yet.
	NewServiceAccount bool `json:"newServiceAccount,omitempty"`
	// Problems are in the way, each with what to do; Warnings are to be known.
	Problems []string `json:"problems"`
	Warnings []string `json:"warnings"`

	// Manifests are the service account and the workload, of one to move.
	Manifests *Manifests `json:"-"`

	object *unstructured.Unstructured // nil for an owner of an unknown kind
	owner  string                     // that owner, with its apiVersion
	pods   []*unstructured.Unstructured
}

// Pod is a pod of a workload.
type Pod struct {
	Name string `json:"name"`
	// Reason is Workload.Reason, for this pod.
	Reason string `json:"reason"`
}

// Identity is an AzureIdentity.
type Identity struct {
	Namespace  string          `json:"namespace"`
	Name       string          `json:"name"`
	Type       v1.IdentityType `json:"type"`
	ClientID   string          `json:"clientId"`
	ResourceID string          `json:"resourceId,omitempty"`
	TenantID   string          `json:"tenantId,omitempty"`
}

// Application reports whether it is an application's service principal, and no managed
// identity.
func (id Identity) Application() bool { return id.Type != v1.UserAssignedMSI }

// Manifests are what a workload is moved by.
type Manifests struct {
	ServiceAccount, Workload *unstructured.Unstructured
	// Replace says that Kubernetes lets nobody change the workload: it is to be
	// deleted and made anew.
	Replace bool
}

// Subject is the subject of the tokens of its pods.
func (w *Workload) Subject() string {
	return "system:serviceaccount:" + w.Namespace + ":" + w.ServiceAccount
}

func (w *Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

func (w *Workload) block(format string, args ...any) {
	w.State = Blocked
	w.Problems = append(w.Problems, fmt.Sprintf(format, args...))
}

func (w *Workload) warn(format string, args ...any) {
	w.Warnings = append(w.Warnings, fmt.Sprintf(format, args...))
}

// New makes the plan for a cluster, which it does not change.
func New(c Cluster, o Options) Plan {
	p := planner{
		options: o, rules: podidentity.New(c.Objects, o.Namespaced), objects: c.Objects,
		accounts: map[objectName]*unstructured.Unstructured{}, enforced: map[string]string{}, usedIdentities: map[objectName]bool{}, usedBindings: map[objectName]bool{},
	}
	for i := range c.ServiceAccounts {
		sa := &c.ServiceAccounts[i]
		p.accounts[objectName{sa.GetNamespace(), sa.GetName()}] = sa
	}
	for i := range c.Namespaces {
		p.enforced[c.Namespaces[i].GetName()] = c.Namespaces[i].GetLabels()["pod-security.kubernetes.io/enforce"]
	}
	workloads := gather(c.Pods, c.Workloads, p.concerned)
	for _, w := range workloads {
		p.judge(w)
	}
	p.shareAccounts(workloads)
	plan := Plan{Workloads: []Workload{}, UnusedIdentities: []Unused{}, UnusedBindings: []Unused{}}
	for _, w := range workloads {
		if w.State == Move {
			w.Manifests = p.manifests(w)
		}
		plan.Workloads = append(plan.Workloads, *w)
	}
	if !o.Partial {
		p.unused(&plan)
	}
	return plan
}

type objectName struct{ namespace, name string }

// planner has what the steps of a plan share.
type planner struct {
	options  Options
	rules    *podidentity.Rules
	objects  podidentity.Objects
	accounts map[objectName]*unstructured.Unstructured
	enforced map[string]string // pod security standards, by namespace

	usedIdentities, usedBindings map[objectName]bool
}

// decide asks the rules, and takes note of what is in use.
func (p *planner) decide(namespace string, labels map[string]string) podidentity.Decision {
	d := p.rules.Decide(podidentity.Pod{Namespace: namespace, Labels: labels})
	for _, m := range d.Matches {
		if m.Problem == podidentity.OtherNamespace {
			continue // it does not reach this pod
		}
		p.usedBindings[objectName{m.Binding.Namespace, m.Binding.Name}] = true
		if m.Problem == "" {
			p.usedIdentities[objectName{m.Identity.Namespace, m.Identity.Name}] = true
		}
	}
	return d
}

// concerned reports whether pod identity has to do with pods of these labels.
func (p *planner) concerned(namespace string, labels map[string]string) bool {
	d := p.rules.Decide(podidentity.Pod{Namespace: namespace, Labels: labels})
	return d.Selector != "" || d.Exception != nil
}

// shareAccounts blocks workloads that would share a service account with different
// identities: it can name one.
func (p *planner) shareAccounts(workloads []*Workload) {
	sharing := map[objectName][]*Workload{}
	for _, w := range workloads {
		if w.State == Move || w.State == Moved {
			name := objectName{w.Namespace, w.ServiceAccount}
			sharing[name] = append(sharing[name], w)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(sharing), compareNames) {
		clients := map[string]bool{}
		for _, w := range sharing[name] {
			clients[strings.ToLower(w.Identities[0].ClientID)] = true
		}
		if len(clients) == 1 {
			continue
		}
		var all []string
		for _, w := range sharing[name] {
			all = append(all, fmt.Sprintf("%s %s (AzureIdentity %s/%s)", w.Kind, w.Name, w.Identities[0].Namespace, w.Identities[0].Name))
		}
		for _, w := range sharing[name] {
			if w.State == Move {
				w.block("the service account %s would be that of workloads with different identities, and it can name one: %s. Give each a service account of its own, and run this again", name.name, strings.Join(all, ", "))
			}
		}
	}
}

func compareNames(a, b objectName) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

// unused finds what no pod has to do with.
func (p *planner) unused(plan *Plan) {
	named := map[objectName][]string{} // bindings by the identities that they name
	for _, b := range p.objects.Bindings {
		to := objectName{b.Namespace, b.Spec.AzureIdentity}
		named[to] = append(named[to], b.Name)
		if p.usedBindings[objectName{b.Namespace, b.Name}] {
			continue
		}
		reason := fmt.Sprintf("no pod has the label %s: %s", v1.BindingLabel, b.Spec.Selector)
		if b.Spec.Selector == "" {
			reason = "it has no selector"
		}
		plan.UnusedBindings = append(plan.UnusedBindings, Unused{b.Namespace, b.Name, reason})
	}
	for _, id := range p.objects.Identities {
		name := objectName{id.Namespace, id.Name}
		if p.usedIdentities[name] {
			continue
		}
		reason := "no AzureIdentityBinding names it"
		if by := named[name]; len(by) > 0 {
			slices.Sort(by)
			reason = "no pod has it by AzureIdentityBinding " + strings.Join(by, ", ")
		}
		plan.UnusedIdentities = append(plan.UnusedIdentities, Unused{id.Namespace, id.Name, reason})
	}
	order := func(a, b Unused) int {
		return compareNames(objectName{a.Namespace, a.Name}, objectName{b.Namespace, b.Name})
	}
	slices.SortFunc(plan.UnusedBindings, order)
	slices.SortFunc(plan.UnusedIdentities, order)
}
