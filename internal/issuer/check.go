package issuer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/token"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	// OK: as it should be.
	OK Severity = "ok"
	// Warning: tokens are accepted, or are by this cloud; something should change.
	Warning Severity = "warning"
	// Failure: tokens are refused.
	Failure Severity = "error"
)

// Finding is what a check found.
type Finding struct {
	// Check names what was looked at.
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	// Message says what is so, and Mend, where something is wrong, what to do.
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
}

// Failed reports whether one of the findings is a failure.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Failure })
}

const (
	// maxURL is the length of a federated credential's issuer, in characters.
	maxURL = 600
	// certificateLeft is how long a certificate should be good still.
	certificateLeft = 24 * time.Hour
	// longestKept is the most that a new key should take to be known.
	longestKept = 24 * time.Hour
)

// report collects findings.
type report []Finding

func (r *report) ok(check, format string, args ...any) {
	*r = append(*r, Finding{Check: check, Severity: OK, Message: fmt.Sprintf(format, args...)})
}

func (r *report) add(check string, s Severity, mend, format string, args ...any) {
	*r = append(*r, Finding{Check: check, Severity: s, Message: fmt.Sprintf(format, args...), Mend: mend})
}

// Judge says what Entra, and this cloud, make of an issuer, by what it publishes.
// own is for an issuer of this cloud's, which nobody else needs to reach.
func Judge(i *token.Inspection, own bool, now time.Time) []Finding {
	var r report
	if err := token.CheckIssuerURL(i.Issuer); err != nil {
		r.add("issuer", Failure, "give API servers an https URL by --service-account-issuer, without user name, query and fragment", "%v", err)
		return r
	}
	if n := utf8.RuneCountInString(i.Issuer); n > maxURL {
		r.add("issuer", Failure, "choose a shorter URL", "the issuer has %d characters, and a federated credential's at most %d", n, maxURL)
	} else {
		r.ok("issuer", "%s is a URL that can be an issuer's", i.Issuer)
	}
	r.discovery(i, own)
	r.keySet(i)
	if !own {
		r.reach(i, now)
	}
	return r
}

// discovery judges the discovery document.
func (r *report) discovery(i *token.Inspection, own bool) {
	const check = "discovery document"
	publish := "let it be read there: `lanyard issuer publish` makes it, and can serve it"
	switch {
	case own && i.Discovery.Answered:
		publish = "`lanyard cluster list` has the issuers of the clusters that are attached"
	case own:
		publish = "let the cloud run, and be reached from here: it serves this issuer's documents itself"
	}
	switch {
	case i.Discovery.Bytes == 0 || i.Err != nil && i.StatedIssuer == "" && i.KeysURL == "":
		r.add(check, Failure, publish, "%v", i.Err)
		return
	case i.StatedIssuer != i.Issuer:
		mend := "issuer and document must agree to the letter: publish it anew, or name the issuer as it does"
		if strings.TrimSuffix(i.StatedIssuer, "/") == strings.TrimSuffix(i.Issuer, "/") {
			mend = "they differ in the slash at the end, which counts: what is right is the iss of the cluster's tokens"
		}
		r.add(check, Failure, mend, "the document at %s is of the issuer %q", i.Discovery.URL, i.StatedIssuer)
		return
	}
	r.ok(check, "%s (%d bytes) is of this issuer", i.Discovery.URL, i.Discovery.Bytes)
	if !slices.Contains(i.Algorithms, token.RS256) {
		r.add(check, Warning, "publish it anew once a key signs with RS256, the only algorithm accepted",
			"its id_token_signing_alg_values_supported are %q, without RS256", i.Algorithms)
	}
}

// keySet judges the keys, where the discovery document led to them.
func (r *report) keySet(i *token.Inspection) {
	const check = "keys"
	if i.StatedIssuer != i.Issuer {
		return
	}
	if i.Keys == nil {
		r.add(check, Failure, "the document's jwks_uri is to be an https URL at which the key set is", "%v", i.Err)
		return
	}
	seen := map[string]bool{}
	for n, key := range i.Keys {
		switch {
		case key.Unusable != nil:
			severity, mend := Warning, "tokens by it are refused: sign with an RSA key of 2048 to 4096 bits"
			if key.Secret {
				severity, mend = Failure, "whoever has read it can sign: rotate the key at once, and publish public keys alone"
			}
			r.add(check, severity, mend, "key %d (%s): %v", n+1, orNone(key.ID), key.Unusable)
		case key.ID == "":
			r.add(check, Warning, "publish it with its kid", "key %d has no kid", n+1)
		case seen[key.ID]:
			r.add(check, Warning, "publish each key once, each under a kid of its own", "the kid %s is there twice", key.ID)
		}
		seen[key.ID] = true
	}
	if i.Err != nil {
		r.add(check, Failure, "let API servers sign with an RSA key of 2048 to 4096 bits", "%v", i.Err)
		return
	}
	r.ok(check, "%s (%d bytes) has %d that count: %s", i.KeysURL, i.KeySet.Bytes, len(i.KeyIDs()), strings.Join(i.KeyIDs(), ", "))
	r.kept(i)
}

func orNone(id string) string {
	if id == "" {
		return "without a kid"
	}
	return id
}

// kept judges for how long the keys may be kept.
func (r *report) kept(i *token.Inspection) {
	const check = "cache"
	said := strings.ToLower(i.KeySet.CacheControl)
	switch {
	case strings.Contains(said, "no-store"), strings.Contains(said, "no-cache"):
		r.add(check, Warning, "say Cache-Control: public, max-age=3600", "the keys must not be kept (%s): every outage of the issuer is one of its workloads", i.KeySet.CacheControl)
	case i.KeptFor >= longestKept:
		r.add(check, Warning, "say Cache-Control: public, max-age=3600", "the keys may be kept for %s or longer: so long a new key may stay unknown", longestKept)
	case said == "":
		r.ok(check, "the keys say not how long they may be kept; %s is taken", i.KeptFor)
	default:
		r.ok(check, "the keys are kept for %s (%s)", i.KeptFor, i.KeySet.CacheControl)
	}
}

// reach judges who can reach the documents.
func (r *report) reach(i *token.Inspection, now time.Time) {
	const check = "reach"
	for _, d := range []token.InspectedDocument{i.Discovery, i.KeySet} {
		if !d.Answered {
			continue
		}
		switch {
		case !d.PublicAddress:
			r.add(check, Warning, "Entra needs a public one; this cloud is told of others by --issuer-allow CIDR, unless it is its own",
				"%s is not at a public address", d.URL)
		case !d.PublicAuthority:
			r.add(check, Warning, "Entra needs one of a public authority; this cloud is told of others by --issuer-ca FILE",
				"the certificate of %s is by an authority that this system does not know", d.URL)
		default:
			r.ok(check, "%s is at a public address, with a certificate of a known authority", d.URL)
		}
		if !d.NotAfter.IsZero() && d.NotAfter.Before(now.Add(certificateLeft)) {
			r.add(check, Warning, "renew it", "the certificate of %s ends at %s", d.URL, d.NotAfter.UTC().Format(time.RFC3339))
		}
	}
}

// ClusterFacts are what a cluster's API server says of its issuer.
type ClusterFacts struct {
	// Issuer is the one of its discovery document, Keys those that it publishes.
	Issuer string
	Keys   []token.VerificationKey
	// Token is a token that was just asked for, or TokenErr says why there is none.
	Token    *token.Assertion
	TokenErr error
}

// JudgeCluster says whether the issuer is that of a cluster: whether the tokens
// of its service accounts can be verified by what is published.
func JudgeCluster(i *token.Inspection, c ClusterFacts) []Finding {
	var r report
	if c.Issuer != i.Issuer {
		r.add("cluster's issuer", Failure, "restart API servers with --service-account-issuer="+i.Issuer+", or check the issuer that the cluster has",
			"the API server's issuer is %q, not %q", c.Issuer, i.Issuer)
	} else {
		r.ok("cluster's issuer", "the API server's is the same")
	}
	if i.Err == nil {
		r.clusterKeys(i, c.Keys)
	}
	r.clusterToken(i, c)
	return r
}

// clusterKeys looks for the cluster's keys among those that are published.
func (r *report) clusterKeys(i *token.Inspection, keys []token.VerificationKey) {
	const check = "cluster's keys"
	publish := "publish all keys of the API server's --service-account-key-file, for instance by `lanyard issuer publish --cluster`"
	missing := 0
	for _, key := range keys {
		found := slices.IndexFunc(i.Keys, func(p token.IssuerKey) bool { return p.ID == key.ID })
		switch {
		case found < 0:
			missing++
			severity := Failure
			if key.Usable() != nil {
				severity = Warning // of no use where it is missed
			}
			r.add(check, severity, publish, "the API server accepts tokens by the key %s, which is not published", key.ID)
		case i.Keys[found].Unusable == nil && !i.Keys[found].Is(key):
			missing++
			r.add(check, Failure, publish, "the key that is published as %s is another one than the API server's", key.ID)
		}
	}
	if missing == 0 {
		r.ok(check, "all %d keys by which the API server accepts tokens are published", len(keys))
	}
}

// clusterToken verifies a token as a token service would.
func (r *report) clusterToken(i *token.Inspection, c ClusterFacts) {
	const check = "token"
	switch {
	case c.TokenErr != nil:
		r.add(check, Warning, "name a service account by --service-account and ask as somebody who may create serviceaccounts/token, or decide without it", "no token could be asked for: %v", c.TokenErr)
		return
	case c.Token == nil:
		return
	case c.Token.Issuer != i.Issuer:
		r.add(check, Failure, "restart API servers with --service-account-issuer="+i.Issuer+" as the first one", "a new token of the cluster has the iss %q", c.Token.Issuer)
		return
	}
	err := i.Verify(c.Token)
	_, unreachable := errors.AsType[*token.UnreachableError](err)
	_, unknown := errors.AsType[*token.KeyNotFoundError](err)
	switch {
	case unreachable: // said before
	case unknown:
		r.add(check, Failure, "publish the key by which API servers sign: AADSTS7000272 is what its workloads get", "a new token of the cluster is signed by the key %s, which is not published", c.Token.KeyID)
	case err != nil:
		r.add(check, Failure, "publish the keys that the API server has now, or let it sign with RS256: AADSTS700027 is what its workloads get", "a new token of the cluster is refused: %v", err)
	default:
		r.ok(check, "a new token of the cluster verifies, by the key %s", c.Token.KeyID)
	}
}
