package podidentity

import (
	"fmt"
	"strings"
)

// Explain says in a sentence without a full stop what the decision is and what it
// rests on.
func (d Decision) Explain() string {
	switch ids := d.Identities(); {
	case d.Exception != nil:
		return fmt.Sprintf("AzurePodIdentityException %s/%s leaves it to the node's identities", d.Exception.Namespace, d.Exception.Name)
	case d.Selector == "":
		return "it has no label aadpodidbinding"
	case len(d.Matches) == 0:
		return fmt.Sprintf("no AzureIdentityBinding has the selector %q", d.Selector)
	case len(ids) == 0:
		return "no identity: " + d.explainMatches()
	case len(ids) > 1:
		return fmt.Sprintf("it has %d identities, and one that asks for none in particular gets any of them: %s", len(ids), d.explainMatches())
	}
	return d.explainMatches()
}

func (d Decision) explainMatches() string {
	all := make([]string, len(d.Matches))
	for i, m := range d.Matches {
		all[i] = m.Explain()
	}
	return strings.Join(all, "; ")
}

// Explain says what the binding gives the pod, or why it does not.
func (m Match) Explain() string {
	binding := fmt.Sprintf("AzureIdentityBinding %s/%s", m.Binding.Namespace, m.Binding.Name)
	identity := fmt.Sprintf("AzureIdentity %s/%s", m.Binding.Namespace, m.Binding.Spec.AzureIdentity)
	switch m.Problem {
	case NoIdentity:
		return fmt.Sprintf("%s names the AzureIdentity %q, which is not in its namespace", binding, m.Binding.Spec.AzureIdentity)
	case InvalidResourceID:
		return fmt.Sprintf("%s, of %s, is ignored: its resourceID %q is not /subscriptions/<id>/resourceGroups/<name>/providers/Microsoft.ManagedIdentity/userAssignedIdentities/<name>",
			identity, binding, m.Identity.Spec.ResourceID)
	case OtherNamespace:
		return fmt.Sprintf("%s is of another namespace, and %s is for the pods of its own", binding, identity)
	case NameTaken:
		return fmt.Sprintf("%s, of %s, is ignored: an AzureIdentity of the same name in another namespace comes first", identity, binding)
	}
	return fmt.Sprintf("%s by %s", identity, binding)
}
