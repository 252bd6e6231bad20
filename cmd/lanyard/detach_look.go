package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// connect reaches for what is to be detached: the cluster, the cloud, or both.
func (r *detachRun) connect(ctx context.Context) error {
	var err error
	if !r.cloudOnly {
		if r.kube, err = r.cluster.connect(); err != nil {
			return r.withoutCluster(err)
		}
	}
	if r.clusterOnly {
		return nil
	}
	env, _, err := r.where.load()
	if err == nil {
		r.arm, err = newARMClient(ctx, env)
	}
	if err != nil && !r.cloudOnly {
		return fmt.Errorf("%w; where the cloud is no more, --cluster-only takes the agent out", err)
	}
	return err
}

// withoutCluster says how to go on where the cluster cannot be reached.
func (r *detachRun) withoutCluster(err error) error {
	if r.clusterOnly {
		return err
	}
	return fmt.Errorf("%w; where the cluster is no more, --cloud-only takes it out of the cloud", err)
}

// look reads the cluster and the cloud, and changes neither.
func (r *detachRun) look(ctx context.Context) error {
	if r.arm == nil {
		return r.lookAtCluster(ctx)
	}
	var err error
	if r.id, err = r.place.id(r.arm, r.name); err != nil {
		return err
	}
	r.registered, err = r.arm.cluster(ctx, r.id)
	if isCode(err, "SubscriptionNotFound") {
		return fmt.Errorf("%w; name the environment file of its cloud, or, where that is no more, say --cluster-only", err)
	}
	if err != nil {
		return err
	}
	if r.kube != nil {
		if err := r.lookAtCluster(ctx); err != nil {
			return err
		}
	}
	if r.registered == nil {
		return nil
	}
	if r.trusting, err = trustingCredentials(ctx, r.arm, r.registered.Properties.issuers()); err != nil {
		return err
	}
	err = r.arm.do(ctx, http.MethodGet, "/providers/Lanyard.Directory/trustedIssuers/"+trustedIssuerName(r.id)+cloudVersion, nil, nil)
	switch {
	case err == nil:
		r.trusted = true
	// Who may not see it has not made it either.
	case isCode(err, "TrustedIssuerNotFound", "AuthorizationFailed", "InvalidResourceNamespace"):
	default:
		return err
	}
	return nil
}

func (r *detachRun) lookAtCluster(ctx context.Context) error {
	a, err := r.kube.Attachment(ctx)
	if _, silent := errors.AsType[*net.OpError](err); silent {
		return r.withoutCluster(err)
	}
	if err != nil {
		return err
	}
	if a != nil && !r.means(a.ResourceID) {
		return fmt.Errorf("the cluster of the context %s is attached as %s: choose another context, or detach that", dash(r.kube.Name()), a.ResourceID)
	}
	if a != nil && r.arm == nil {
		if r.id, err = azure.ParseResourceID(a.ResourceID); err != nil {
			return err
		}
	}
	if r.removal, err = r.kube.Removal(ctx); err != nil {
		return err
	}
	if len(r.removal.Objects()) == 0 && r.registered != nil && r.registered.Properties.ConnectivityStatus == "Connected" {
		return fmt.Errorf("the cluster of the context %s has no agent, and the cloud hears of one in %s: choose another context, or say --cloud-only", dash(r.kube.Name()), r.id.Name())
	}
	return nil
}

// means reports whether this run is about the attached cluster of that ID. Without
// the cloud, whose subscription a name lies in is not known.
func (r *detachRun) means(id string) bool {
	if r.arm != nil {
		return azure.EqualFold(id, r.id.String())
	}
	if strings.HasPrefix(r.name, "/") {
		return azure.EqualFold(id, r.name)
	}
	of, err := azure.ParseResourceID(id)
	return err == nil && azure.EqualFold(of.Name(), r.name) && azure.EqualFold(of.ResourceGroup(), r.place.group) &&
		(r.place.subscription == "" || azure.EqualFold(of.SubscriptionID(), r.place.subscription))
}
