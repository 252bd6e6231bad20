package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// phaseIdentity is named by errors.
const phaseIdentity = "aad-application"

// createPhases are those of `serviceaccount create`, in their order.
func createPhases() []accountPhase {
	return []accountPhase{
		{phaseIdentity, "app", "Create the application and its service principal, or the managed identity", checkAccount, lookCreateIdentity},
		{"service-account", "sa", "Create the service account, with the identity's label and annotations", checkAccount, lookCreateAccount},
		{"federated-identity", "fi", "Let the identity trust the service account's tokens", checkAccount, lookCreateCredential},
		{"role-assignment", "ra", "Give the identity a role", checkRole, lookCreateRole},
	}
}

func lookCreateIdentity(ctx context.Context, r *accountRun) (accountChange, error) {
	i, err := r.lookup(ctx)
	if err != nil {
		return accountChange{}, err
	}
	known := i.facts()
	if known.complete {
		return accountChange{outcome: outcomeExists, resource: i.String()}, nil
	}
	r.planned = r.dryRun
	change := accountChange{outcome: outcomeCreate, resource: i.String(), apply: func(ctx context.Context) (string, error) {
		err := i.create(ctx)
		return i.String(), err
	}}
	if known.exists {
		change.outcome, change.resource = outcomeChange, i.String()+", which has no service principal"
	}
	return change, nil
}

// lookCreateAccount compares the service account with what it is to be.
func lookCreateAccount(ctx context.Context, r *accountRun) (accountChange, error) {
	clientID := r.appClientID
	if clientID == "" {
		i, err := r.there(ctx)
		if err != nil {
			return accountChange{}, err
		}
		clientID = i.facts().clientID // empty where it is yet to be made
	}
	k, err := r.kubernetes()
	if err != nil {
		return accountChange{}, err
	}
	want := attach.ServiceAccount{
		Namespace: r.namespace, Name: r.name,
		Labels: map[string]string{workloadidentity.UseLabel: "true"},
		Annotations: map[string]string{
			workloadidentity.ClientIDAnnotation: clientID,
			workloadidentity.TenantIDAnnotation: r.env.TenantID,
		},
	}
	if r.expires {
		want.Annotations[workloadidentity.ExpirationAnnotation] = strconv.FormatInt(int64(r.expiration/time.Second), 10)
	}
	change := accountChange{resource: "service account " + r.namespace + "/" + r.name, apply: func(ctx context.Context) (string, error) {
		_, _, err := k.EnsureServiceAccount(ctx, want)
		return "service account " + r.namespace + "/" + r.name, err
	}}
	have, err := k.ServiceAccount(ctx, r.namespace, r.name)
	if errors.Is(err, attach.ErrNotFound) {
		change.outcome = outcomeCreate
		return change, nil
	}
	if err != nil {
		return accountChange{}, err
	}
	change.outcome = outcomeChange
	if other := have.Annotations[workloadidentity.ClientIDAnnotation]; other != "" && other != clientID {
		if !r.overwrite {
			return accountChange{}, fmt.Errorf("the service account %s/%s has the identity with the client ID %s: --overwrite gives it another", r.namespace, r.name, other)
		}
		change.resource += ", which has the identity with the client ID " + other
	}
	if holds(have.Labels, want.Labels) && holds(have.Annotations, want.Annotations) {
		change.outcome, change.apply = outcomeExists, nil
	}
	return change, nil
}

// holds reports whether all that is wanted is there.
func holds(have, want map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func lookCreateCredential(ctx context.Context, r *accountRun) (accountChange, error) {
	i, err := r.there(ctx)
	if err != nil {
		return accountChange{}, err
	}
	names, err := r.issuedNames(ctx)
	if err != nil {
		return accountChange{}, err
	}
	change := accountChange{
		outcome: outcomeCreate, resource: names.trust(),
		apply: func(ctx context.Context) (string, error) { return names.trust(), i.trust(ctx, names) },
	}
	if !i.facts().exists { // it is planned
		return change, nil
	}
	all, err := i.credentials(ctx)
	if err != nil {
		return accountChange{}, err
	}
	own, _, err := matching(all, names)
	if err != nil {
		return accountChange{}, err
	}
	if own != nil {
		return accountChange{outcome: outcomeExists, resource: change.resource}, nil
	}
	return change, nil
}
