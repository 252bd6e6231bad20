package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/server"
)

// accountIdentity is the identity that a service account gets: an application or
// a managed identity. It was looked up, and need not be there.
type accountIdentity interface {
	// String names it, for people.
	String() string
	facts() identityFacts
	// create makes it, or what it lacks.
	create(ctx context.Context) error
	remove(ctx context.Context) error
	credentials(ctx context.Context) ([]accountCredential, error)
	trust(ctx context.Context, n accountNames) error
	distrust(ctx context.Context, c accountCredential) error
	// uses are what else it serves for, besides federated credentials.
	uses(ctx context.Context) ([]string, error)
}

// identityFacts are what is known of an identity.
type identityFacts struct {
	// exists says that it is there; complete, that nothing is missing.
	exists, complete bool
	clientID         string
	// principalID is what role assignments name.
	principalID string
}

// accountCredential is a federated credential of either kind of identity.
type accountCredential struct {
	name, issuer, subject string
	audiences             []string
}

// accountRun is one run of a command: its flags, and what was found so far.
type accountRun struct {
	*accountFlags
	phases []string
	env    server.Environment

	armAPI     *armClient
	graphAPI   *graphClient
	clusterAPI *attach.Cluster
	found      accountIdentity
	// planned says that the identity would be there by now, but for --dry-run.
	planned bool
}

func (r *accountRun) close() {
	if r.armAPI != nil {
		r.armAPI.close()
	}
	if r.graphAPI != nil {
		r.graphAPI.close()
	}
}

func (r *accountRun) arm(ctx context.Context) (*armClient, error) {
	if r.armAPI == nil {
		c, err := newARMClient(ctx, r.env)
		if err != nil {
			return nil, err
		}
		r.armAPI = c
	}
	return r.armAPI, nil
}

func (r *accountRun) graph(ctx context.Context) (*graphClient, error) {
	if r.graphAPI == nil {
		g, err := newGraphClient(ctx, r.env)
		if err != nil {
			return nil, err
		}
		r.graphAPI = g
	}
	return r.graphAPI, nil
}

func (r *accountRun) kubernetes() (*attach.Cluster, error) {
	if r.clusterAPI == nil {
		c, err := r.cluster.connect()
		if err != nil {
			return nil, err
		}
		r.clusterAPI = c
	}
	return r.clusterAPI, nil
}

// lookup finds the identity, once.
func (r *accountRun) lookup(ctx context.Context) (accountIdentity, error) {
	if r.found != nil {
		return r.found, nil
	}
	var err error
	if r.accountFlags.identity != "" {
		r.found, err = r.managedIdentity(ctx)
	} else {
		r.found, err = r.application(ctx)
	}
	if err != nil {
		r.found = nil
	}
	return r.found, err
}

// there looks the identity up for a phase that needs it. It is there, or would
// be.
func (r *accountRun) there(ctx context.Context) (accountIdentity, error) {
	i, err := r.lookup(ctx)
	if err != nil {
		return nil, err
	}
	if !i.facts().exists && !r.planned {
		return nil, fmt.Errorf("there is no %s: the phase %s makes it, or name the identity that is meant (--managed-identity, --aad-application-client-id)", i, phaseIdentity)
	}
	return i, nil
}

// managedIdentity finds the user-assigned identity that is meant.
func (r *accountRun) managedIdentity(ctx context.Context) (accountIdentity, error) {
	c, err := r.arm(ctx)
	if err != nil {
		return nil, err
	}
	name := r.accountFlags.identity
	if strings.HasPrefix(name, "/") {
		id, err := azure.ParseResourceID(name)
		if err != nil {
			return nil, err
		}
		if !azure.EqualFold(id.Type(), identityType) || id.ResourceGroup() == "" {
			return nil, fmt.Errorf("--managed-identity %s is not the resource ID of a user-assigned identity", name)
		}
		return findManagedIdentity(ctx, c, id, r.location)
	}
	scope, err := c.scope(r.subscription, r.group)
	if err != nil {
		return nil, err
	}
	if r.group != "" {
		return findManagedIdentity(ctx, c, scope.Resource("Microsoft.ManagedIdentity", "userAssignedIdentities", name), r.location)
	}
	all, err := list[struct{ ID azure.ResourceID }](ctx, c, scope.String()+"/providers/"+identityType+identityVersion)
	if err != nil {
		return nil, err
	}
	var ids []string
	var id azure.ResourceID
	for _, each := range all {
		if azure.EqualFold(each.ID.Name(), name) {
			id, ids = each.ID, append(ids, each.ID.String())
		}
	}
	switch len(ids) {
	case 0:
		return nil, fmt.Errorf("there is no managed identity %q in %s: with --resource-group it is made there", name, scope)
	case 1:
		return findManagedIdentity(ctx, c, id, r.location)
	}
	return nil, fmt.Errorf("%d managed identities are called %q: say --resource-group, or one of %s", len(ids), name, strings.Join(ids, ", "))
}

// application finds the application that is meant.
func (r *accountRun) application(ctx context.Context) (accountIdentity, error) {
	g, err := r.graph(ctx)
	if err != nil {
		return nil, err
	}
	a := &applicationIdentity{g: g, account: r.names("")}
	switch {
	case r.appClientID != "" && r.appObjectID != "":
		a.name, a.filter, a.given = r.appClientID, "appId eq "+quoted(r.appClientID)+" and id eq "+quoted(r.appObjectID), true
	case r.appClientID != "":
		a.name, a.filter, a.given = r.appClientID, "appId eq "+quoted(r.appClientID), true
	case r.appObjectID != "":
		a.name, a.filter, a.given = r.appObjectID, "id eq "+quoted(r.appObjectID), true
	case r.appName != "":
		a.name, a.filter = r.appName, "displayName eq "+quoted(r.appName)
	default:
		names, err := r.issuedNames(ctx)
		if err != nil {
			return nil, err
		}
		a.name = names.application()
		a.filter = "displayName eq " + quoted(a.name)
	}
	return a, a.find(ctx)
}

// matching gives the credential that trusts the service account's tokens, and
// the others. One that would have them for another audience is in the way.
func matching(all []accountCredential, n accountNames) (own *accountCredential, others []accountCredential, err error) {
	for _, c := range all {
		if c.issuer != n.issuer || c.subject != n.subject() {
			others = append(others, c)
			continue
		}
		if len(c.audiences) != 1 || c.audiences[0] != exchangeAudience {
			err = fmt.Errorf("the credential %s trusts this service account for the audience %s, not for %s: delete it first", c.name, strings.Join(c.audiences, ", "), exchangeAudience)
		}
		own = &c
	}
	return own, others, err
}
