package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// deletePhases are those of `serviceaccount delete`, in their order.
func deletePhases() []accountPhase {
	return []accountPhase{
		{"role-assignment", "ra", "Take the identity's role away", checkDeleteRole, lookDeleteRole},
		{"federated-identity", "fi", "Let the identity trust the service account's tokens no more", checkAccount, lookDeleteCredential},
		{"service-account", "sa", "Delete the service account", checkAccount, lookDeleteAccount},
		{phaseIdentity, "app", "Delete the application and its service principal, or the managed identity", checkIdentity, lookDeleteIdentity},
	}
}

func lookDeleteCredential(ctx context.Context, r *accountRun) (accountChange, error) {
	i, err := r.lookup(ctx)
	if err != nil {
		return accountChange{}, err
	}
	names, err := r.issuedNames(ctx)
	if err != nil {
		return accountChange{}, err
	}
	change := accountChange{outcome: outcomeAbsent, resource: names.trust()}
	if !i.facts().exists {
		return change, nil
	}
	all, err := i.credentials(ctx)
	if err != nil {
		return accountChange{}, err
	}
	own, _, _ := matching(all, names) // whatever its audience, it is this service account's
	if own == nil {
		return change, nil
	}
	change.outcome = outcomeDelete
	change.apply = func(ctx context.Context) (string, error) { return change.resource, i.distrust(ctx, *own) }
	return change, nil
}

// lookDeleteAccount sees that the service account is the identity's.
func lookDeleteAccount(ctx context.Context, r *accountRun) (accountChange, error) {
	k, err := r.kubernetes()
	if err != nil {
		return accountChange{}, err
	}
	change := accountChange{outcome: outcomeAbsent, resource: "service account " + r.namespace + "/" + r.name}
	have, err := k.ServiceAccount(ctx, r.namespace, r.name)
	if errors.Is(err, attach.ErrNotFound) {
		return change, nil
	}
	if err != nil {
		return accountChange{}, err
	}
	if err := r.checkOwned(ctx, have); err != nil {
		return accountChange{}, err
	}
	change.outcome = outcomeDelete
	change.apply = func(ctx context.Context) (string, error) {
		_, err := k.DeleteServiceAccount(ctx, have)
		return change.resource, err
	}
	if !r.keepAccount {
		return change, nil
	}
	change.outcome = outcomeChange
	labels, annotations := map[string]*string{}, map[string]*string{}
	remove(labels, have.Labels, workloadidentity.UseLabel)
	remove(annotations, have.Annotations, workloadidentity.ClientIDAnnotation, workloadidentity.TenantIDAnnotation, workloadidentity.ExpirationAnnotation)
	if len(labels)+len(annotations) == 0 {
		return accountChange{outcome: outcomeAbsent, resource: "label and annotations of " + change.resource}, nil
	}
	change.apply = func(ctx context.Context) (string, error) {
		_, err := k.UpdateServiceAccount(ctx, have, labels, annotations)
		return change.resource, err
	}
	return change, nil
}

// remove notes which of the names are there and go.
func remove(into map[string]*string, have map[string]string, names ...string) {
	for _, name := range names {
		if _, ok := have[name]; ok {
			into[name] = nil
		}
	}
}

// checkOwned refuses a service account that has another identity, or none.
func (r *accountRun) checkOwned(ctx context.Context, have attach.ServiceAccount) error {
	clientID := have.Annotations[workloadidentity.ClientIDAnnotation]
	if clientID == "" && r.keepAccount {
		return nil
	}
	if clientID == "" {
		return fmt.Errorf("the service account %s/%s has no identity, so it is not one that create made: leave the phase out, or delete it with kubectl", r.namespace, r.name)
	}
	i, err := r.lookup(ctx)
	if err != nil {
		return err
	}
	if known := i.facts(); known.exists && known.clientID != clientID {
		return fmt.Errorf("the service account %s/%s has the identity with the client ID %s, not the %s: say which one it has, or leave the phase out", r.namespace, r.name, clientID, i)
	}
	return nil
}

// lookDeleteIdentity sees that nobody else needs the identity.
func lookDeleteIdentity(ctx context.Context, r *accountRun) (accountChange, error) {
	i, err := r.lookup(ctx)
	if err != nil {
		return accountChange{}, err
	}
	change := accountChange{outcome: outcomeAbsent, resource: i.String()}
	if !i.facts().exists {
		return change, nil
	}
	var own accountNames // of nobody, where no service account is named
	if r.name != "" {
		if own, err = r.issuedNames(ctx); err != nil {
			return accountChange{}, err
		}
	}
	all, err := i.credentials(ctx)
	if err != nil {
		return accountChange{}, err
	}
	uses, err := i.uses(ctx)
	if err != nil {
		return accountChange{}, err
	}
	_, others, _ := matching(all, own)
	for _, c := range others {
		uses = append(uses, "credential "+c.name)
	}
	if len(uses) > 0 {
		return accountChange{}, fmt.Errorf("the %s serves for something else too: %s; --skip-phases %s leaves it", i, strings.Join(uses, ", "), phaseIdentity)
	}
	change.outcome = outcomeDelete
	change.apply = func(ctx context.Context) (string, error) { return change.resource, i.remove(ctx) }
	return change, nil
}
