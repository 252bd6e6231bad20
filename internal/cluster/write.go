package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// maxIssuerURL is the longest issuer, in characters, that a federated credential
// can name.
const maxIssuerURL = 600

// Put makes a cluster, or brings its record in step with its resource, in the
// transaction. An empty ID makes one; the ID, the tenant and the assigned issuer
// are then the cluster's for its life. An enrolment stays as long as the resource
// allows its issuer. It is an error if the cluster is another resource's.
func (c *Clusters) Put(tx *store.Tx, asked Cluster) (Cluster, error) {
	if asked.SelfHostedIssuerURL != "" {
		if err := c.checkForeignIssuer(asked.SelfHostedIssuerURL, "properties.oidcIssuerProfile.selfHostedIssuerUrl"); err != nil {
			return Cluster{}, err
		}
	}
	var r record
	var err error
	if asked.ID == "" {
		asked.ID = uuid.NewString()
		asked.TenantID = azure.Fold(asked.TenantID)
		asked.IssuerURL = ""
	} else {
		if r, err = recordOf(tx, asked.ID, asked.ResourceID); err != nil {
			return Cluster{}, err
		}
		asked.TenantID, asked.IssuerURL = r.TenantID, r.IssuerURL
	}
	if asked.IssuerEnabled && asked.IssuerURL == "" {
		asked.IssuerURL = c.issuerURL(asked.TenantID, asked.ID)
	}
	r.Cluster = asked
	return asked, store.PutJSON(tx, key(records, asked.ID), r)
}

// recordOf reads the record of a resource's cluster, and fails where the cluster is
// another's: whatever led to the ID, nobody acts upon a cluster by another resource.
func recordOf(tx *store.Tx, id, resourceID string) (record, error) {
	r, _, err := store.GetJSON[record](tx, key(records, id))
	if err != nil {
		return record{}, fmt.Errorf("reading cluster %s: %w", id, err)
	}
	if azure.Fold(r.ResourceID) != azure.Fold(resourceID) {
		return record{}, fmt.Errorf("the cluster %s is that of %s, not of %s", id, r.ResourceID, resourceID)
	}
	return r, nil
}

// checkForeignIssuer refuses what is no issuer, or lies where the cloud's own
// issuers are: whose keys those are is decided by enrolment alone.
func (c *Clusters) checkForeignIssuer(issuer, target string) error {
	refuse := func(format string, args ...any) error {
		err := azure.Errorf(http.StatusBadRequest, "InvalidIssuerUrl", format, args...)
		err.Target = target
		return err
	}
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(issuer, "?#") ||
		utf8.RuneCountInString(issuer) > maxIssuerURL:
		return refuse("The issuer '%.200s' is not valid: it is an https URL without user, query and fragment, of at most %d characters.",
			issuer, maxIssuerURL)
	case azure.HasPrefixFold(issuer, c.cloud.OIDC()):
		return refuse("The issuer '%.200s' lies where this cloud's own issuers are. Those are assigned to clusters, and get their keys by enrolment.", issuer)
	case azure.HasPrefixFold(issuer, c.cloud.ActiveDirectory()):
		return refuse("The issuer '%.200s' is this cloud's own token service, whose keys the cloud knows.", issuer)
	}
	return nil
}

// Delete removes a resource's cluster with all that is kept of it, in the
// transaction. One that does not exist is no error, one of another resource is. From
// then on its issuer's documents are gone, its tokens are refused and its agents too.
func (c *Clusters) Delete(tx *store.Tx, id, resourceID string) error {
	if _, err := recordOf(tx, id, resourceID); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	tx.Delete(key(records, id))
	tx.Delete(key(seenTimes, id))
	return dropReports(tx, id, func(string, *report) bool { return true })
}

// Enrolment is what an operator says of a cluster when its agents are put into it.
type Enrolment struct {
	// Issuer is what the API server says that it is, to the letter.
	Issuer string
	// Keys is the JWK set that the API server publishes, for an issuer that the
	// cloud has assigned; empty for a self-hosted one, which publishes its own.
	Keys json.RawMessage
	// AgentSubjects are the subjects of the service accounts that agents run as:
	// "system:serviceaccount:{namespace}:{name}".
	AgentSubjects []string
}

// Enrolled is what an enrolment has led to.
type Enrolled struct {
	Cluster
	// Issuer is the one of the cluster's tokens from now on.
	Issuer string
	// KeyIDs are those of the keys that count, and UnusableKeyIDs those of keys
	// that were passed over, since no token by them would be accepted.
	KeyIDs, UnusableKeyIDs []string

	change keyChange
}

// Enroll trusts the issuer and agents of a resource's cluster, in the transaction,
// and takes the place of what an earlier enrolment said: its keys count no more,
// unless they are given again. It is an error if the cluster is another resource's.
// [Clusters.AuditEnrolment] is for after the commit.
func (c *Clusters) Enroll(tx *store.Tx, id, resourceID string, e Enrolment) (Enrolled, error) {
	r, err := recordOf(tx, id, resourceID)
	if err != nil {
		return Enrolled{}, err
	}
	if err := checkSubjects(e.AgentSubjects); err != nil {
		return Enrolled{}, err
	}
	if err := r.checkIssuer(e.Issuer); err != nil {
		return Enrolled{}, err
	}
	var usable []token.VerificationKey
	var unusable []string
	if e.Issuer == r.IssuerURL {
		if usable, unusable, err = readKeys(e.Keys); err != nil {
			return Enrolled{}, err
		}
	} else if len(e.Keys) > 0 {
		return Enrolled{}, azure.Errorf(http.StatusBadRequest, "KeysNotTaken",
			"The keys of the issuer '%s' are read from its own documents: leave 'keys' out. For an issuer that this cloud cannot reach, "+
				"an operator of the cloud gives the keys: PUT /providers/Lanyard.Directory/trustedIssuers/NAME.", e.Issuer)
	}
	now := c.now().UTC()
	change, err := r.replaceKeys(usable, now)
	if err != nil {
		return Enrolled{}, err
	}
	r.Enrolment = &enrolment{Issuer: e.Issuer, AgentSubjects: slices.Compact(slices.Sorted(slices.Values(e.AgentSubjects))), Time: now}
	out := Enrolled{Cluster: r.Cluster, Issuer: e.Issuer, UnusableKeyIDs: unusable, change: change}
	for _, key := range usable {
		out.KeyIDs = append(out.KeyIDs, key.ID)
	}
	return out, store.PutJSON(tx, key(records, id), r)
}

// AuditEnrolment records which keys an enrolment has added and removed, for the
// caller who made it. It is for after the commit.
func (c *Clusters) AuditEnrolment(ctx context.Context, caller azure.Caller, e Enrolled) error {
	return c.auditKeys(ctx, audit.Record{
		TenantID: caller.TenantID, ObjectID: caller.ObjectID, AppID: caller.AppID,
		Action: "Microsoft.Kubernetes/connectedClusters/enroll", Scope: e.ResourceID,
		Detail: map[string]string{"issuer": e.Issuer},
	}, e.change)
}

// checkIssuer refuses an API server that is not configured as the resource says.
func (r *record) checkIssuer(issuer string) error {
	if !r.IssuerEnabled {
		return azure.Errorf(http.StatusConflict, "IssuerNotEnabled",
			"The issuer of the cluster '%s' is not enabled: set properties.oidcIssuerProfile.enabled to true.", r.ResourceID)
	}
	if issuer != "" && (issuer == r.IssuerURL || issuer == r.SelfHostedIssuerURL) {
		return nil
	}
	hint := fmt.Sprintf("Start kube-apiserver with --service-account-issuer=%s as the first of these flags, and keep the former issuer as a second one "+
		"while tokens of it are in use", r.IssuerURL)
	if r.SelfHostedIssuerURL != "" {
		hint += fmt.Sprintf("; or with the issuer '%s', which selfHostedIssuerUrl names", r.SelfHostedIssuerURL)
	} else {
		hint += "; or, if the cluster's own issuer publishes its documents where this cloud can reach them, name it in properties.oidcIssuerProfile.selfHostedIssuerUrl"
	}
	return azure.Errorf(http.StatusConflict, "IssuerMismatch",
		"The API server says that its issuer is '%.200s', and not the one of the cluster '%s', which is '%s'. %s.", issuer, r.ResourceID, r.IssuerURL, hint)
}

// maxSubjects bounds the service accounts of agents, which are one or two.
const maxSubjects = 16

// checkSubjects refuses what is no service account.
func checkSubjects(subjects []string) error {
	if len(subjects) == 0 || len(subjects) > maxSubjects {
		return azure.Errorf(http.StatusBadRequest, "InvalidAgentSubjects", "There must be 1 to %d agentSubjects, and there are %d.", maxSubjects, len(subjects))
	}
	for _, subject := range subjects {
		if _, _, ok := splitSubject(subject); !ok {
			return azure.Errorf(http.StatusBadRequest, "InvalidAgentSubjects",
				"The agent subject '%.200s' is not valid: it has the form 'system:serviceaccount:NAMESPACE:NAME'.", subject)
		}
	}
	return nil
}

// splitSubject takes a service account's subject apart.
func splitSubject(subject string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(subject, "system:serviceaccount:")
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	return namespace, name, ok && isName(namespace) && isName(name)
}

// isName reports whether s can be the name of a Kubernetes object: a DNS
// subdomain.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return isAlphanumeric(s[0]) && isAlphanumeric(s[len(s)-1])
}

func isAlphanumeric(c byte) bool { return c != '-' && c != '.' }
