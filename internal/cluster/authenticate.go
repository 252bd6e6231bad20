package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

const (
	// clockSkew is how far a cluster's clock may be ahead of the cloud's. There is
	// no such tolerance for a token's end: the kubelet renews tokens long before.
	clockSkew = 5 * time.Minute
	// maxTokenLife is the longest life of an agent's token, that of other tokens of
	// clusters too. The kubelet asks for an hour.
	maxTokenLife = 25 * time.Hour
)

// agent is who proved to be an agent of a cluster.
type agent struct {
	cluster *entry
	subject string
	// pod is the one that the token is bound to.
	pod string
}

// authenticator proves agents by their service account tokens.
type authenticator struct {
	store    *store.Store
	clusters *Clusters
	issuers  *token.Issuers
	now      func() time.Time
}

// bearer gives the token of a request.
func bearer(r *http.Request) (string, *azure.Error) {
	raw, err := token.Bearer(r.Header)
	if err != nil {
		return "", azure.Errorf(http.StatusUnauthorized, "AuthenticationFailed",
			"The request needs one Authorization header of the form 'Bearer TOKEN', with a service account token of audience '%s'.", channel.Audience)
	}
	return raw, nil
}

// agent proves that a token is one of an enrolled agent of the cluster, by all of
// this:
//
//   - The cluster is attached and enrolled, and its issuer is enabled.
//   - The token is signed with RS256, by a key of the cluster's issuer, and says
//     that it is of that issuer.
//   - It is for the one audience of agents: workloads' tokens are for others.
//   - It is within its time, and was not given a longer one than such tokens have.
//   - Its service account was enrolled.
//   - It is bound to a pod of that service account, as those are that the kubelet
//     gets, and a legacy or a plain one is not. Whether the pod is still there only
//     its API server knows, which nobody asks here.
//
// What is wrong with a token is told: who sends it has it. Everything that is
// told of the cluster is in its public documents, or was sent.
func (a *authenticator) agent(ctx context.Context, clusterID, raw string) (agent, *azure.Error) {
	if err := a.store.Fresh(); err != nil {
		return agent{}, errUnavailable(err)
	}
	c, ok := a.clusters.entry(clusterID)
	if !ok {
		return agent{}, azure.Errorf(http.StatusNotFound, "ClusterNotFound", "No attached cluster has the ID '%.40s'.", clusterID)
	}
	issuer := c.issuer()
	if issuer == "" {
		return agent{cluster: c}, azure.Errorf(http.StatusForbidden, "ClusterNotEnrolled",
			"The cluster is not enrolled, or its issuer is disabled: run `lanyard attach` again.")
	}
	t, err := token.ParseAssertion(raw)
	if err != nil {
		return agent{cluster: c}, azure.Errorf(http.StatusUnauthorized, "InvalidToken", "The token is not a service account token: %s.", err)
	}
	switch {
	case t.Issuer != issuer:
		return agent{cluster: c}, azure.Errorf(http.StatusUnauthorized, "WrongIssuer",
			"The token is of the issuer '%.200s', and those of this cluster are of '%s'.", t.Issuer, issuer)
	case len(t.Audience) != 1 || t.Audience[0] != channel.Audience:
		return agent{cluster: c}, azure.Errorf(http.StatusUnauthorized, "WrongAudience",
			"The token is for '%.200s', and those of agents are for '%s' alone.", strings.Join(t.Audience, "', '"), channel.Audience)
	}
	if err := a.issuers.Verify(ctx, c.TenantID, t); err != nil {
		return agent{cluster: c}, unverified(err)
	}
	if err := a.checkTimes(t); err != nil {
		return agent{cluster: c}, err
	}
	if !slices.Contains(c.Enrolment.AgentSubjects, t.Subject) {
		return agent{cluster: c}, azure.Errorf(http.StatusForbidden, "AgentNotEnrolled",
			"The service account '%.300s' is not enrolled as an agent of this cluster.", t.Subject)
	}
	pod, err := boundPod(t)
	if err != nil {
		return agent{cluster: c}, azure.Errorf(http.StatusForbidden, "TokenNotBound",
			"The token is not bound to a pod of its service account (%s): agents use the projected token of their own pod.", err)
	}
	return agent{cluster: c, subject: t.Subject, pod: pod}, nil
}

// unverified words a signature that could not be verified.
func unverified(err error) *azure.Error {
	if _, ok := errors.AsType[*token.UnreachableError](err); ok {
		e := errUnavailable(err)
		e.Code, e.Message = "IssuerUnreachable", "The keys of the cluster's issuer cannot be had now; the cloud's log says why."
		return e
	}
	e := azure.Errorf(http.StatusUnauthorized, "InvalidToken",
		"The token is not signed, with RS256, by a key of the cluster that this cloud knows. If the cluster's keys were replaced, run `lanyard attach` again.")
	e.Err = err
	return e
}

// checkTimes checks that a token has begun, has not ended, and is of the ordinary
// length.
func (a *authenticator) checkTimes(t *token.Assertion) *azure.Error {
	now, begins := a.now(), t.NotBefore
	if begins.IsZero() {
		begins = t.IssuedAt
	}
	switch {
	case t.Expiry.IsZero() || begins.IsZero():
		return azure.Errorf(http.StatusUnauthorized, "InvalidToken", "The token does not say when it begins and ends.")
	case !now.Before(t.Expiry):
		return azure.Errorf(http.StatusUnauthorized, "TokenExpired", "The token ended at %s.", t.Expiry.UTC().Format(time.RFC3339))
	case begins.After(now.Add(clockSkew)):
		return azure.Errorf(http.StatusUnauthorized, "TokenNotYetValid", "The token begins at %s only.", begins.UTC().Format(time.RFC3339))
	case t.Expiry.Sub(begins) > maxTokenLife:
		return azure.Errorf(http.StatusUnauthorized, "TokenLivesTooLong", "The token lives longer than %v.", maxTokenLife)
	}
	return nil
}

// boundPod gives the pod that a token is bound to, from the claim that API servers
// put into tokens of service accounts. What it says of the service account must
// be what the subject says.
func boundPod(t *token.Assertion) (string, error) {
	claim, ok := t.Claims["kubernetes.io"].(map[string]any)
	if !ok {
		return "", errors.New("it has no claim kubernetes.io")
	}
	pod, uid := member(claim, "pod", "name"), member(claim, "pod", "uid")
	if !isName(pod) || uid == "" {
		return "", errors.New("its claim kubernetes.io names no pod")
	}
	namespace, _ := claim["namespace"].(string)
	if subject := fmt.Sprintf("system:serviceaccount:%s:%s", namespace, member(claim, "serviceaccount", "name")); subject != t.Subject {
		return "", errors.New("its claim kubernetes.io is of another service account")
	}
	return pod, nil
}

// member gives a string within an object within an object, empty if there is none.
func member(claim map[string]any, object, name string) string {
	inner, _ := claim[object].(map[string]any)
	s, _ := inner[name].(string)
	return s
}
