package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// keyIDs are those of the keys that tokens of a cluster are verified with.
func (w *world) keyIDs(c cluster.Cluster) []string {
	w.TB.Helper()
	keys, ok := w.clusters.Keys(cloudtest.OtherTenantID, c.IssuerURL)
	if !ok {
		w.TB.Fatalf("the issuer %s is not the cloud's own", c.IssuerURL)
	}
	return keys.IDs()
}

// wantKeys fails the test unless those are the keys, in whatever order.
func (w *world) wantKeys(what string, c cluster.Cluster, ids ...string) {
	w.TB.Helper()
	got := append([]string{}, w.keyIDs(c)...)
	slices.Sort(got)
	slices.Sort(ids)
	if diff := cmp.Diff(append([]string{}, ids...), got); diff != "" {
		w.TB.Errorf("%s: %s", what, diff)
	}
}

// published gives the IDs of the keys in the issuer's document.
func (w *world) published(c cluster.Cluster) []string {
	w.TB.Helper()
	path := strings.TrimPrefix(c.IssuerURL, w.Azure.OIDC()) + "openid/v1/jwks"
	set := cloudtest.Decode[struct{ Keys []struct{ Kid string } }](w.TB, w.document(http.MethodGet, path).Want(w.TB, http.StatusOK))
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

// TestKeyUploads: of an upload only public RSA keys count, and one that is no
// such upload changes nothing.
func TestKeyUploads(t *testing.T) {
	w := newWorld(t)
	one := signers[0]()
	c := w.attached("east", one)
	private := func(change func(map[string]any)) string {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		cloudtest.Must(t, json.Unmarshal(keySet(t, signers[1]()), &set))
		change(set.Keys[0])
		text, err := json.Marshal(set)
		cloudtest.Must(t, err)
		return string(text)
	}
	set := func(keys ...token.VerificationKey) string {
		text, err := token.EncodeKeySet(keys)
		cloudtest.Must(t, err)
		return string(text)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	cloudtest.Must(t, err)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	cloudtest.Must(t, err)
	many := make([]token.VerificationKey, 33)
	for i := range many {
		many[i] = token.VerificationKey{ID: fmt.Sprint(i), Algorithm: token.RS256, Public: one.key.Public()}
	}
	exponent := func(e int) string {
		return set(token.VerificationKey{ID: "e", Algorithm: token.RS256, Public: &rsa.PublicKey{N: one.key.N, E: e}})
	}
	modulus := func(n *big.Int) string {
		return set(token.VerificationKey{ID: "n", Algorithm: token.RS256, Public: &rsa.PublicKey{N: n, E: 65537}})
	}
	for name, keys := range map[string]string{
		"nothing":              "",
		"no JSON":              "{",
		"no set":               `{}`,
		"an empty set":         `{"keys":[]}`,
		"a private exponent":   private(func(k map[string]any) { k["d"] = "AQ" }),
		"a private prime":      private(func(k map[string]any) { k["P"] = "AQ" }),
		"a symmetric key":      `{"keys":[{"kty":"oct","kid":"x","k":"c2VjcmV0"}]}`,
		"no key ID":            private(func(k map[string]any) { delete(k, "kid") }),
		"a long key ID":        private(func(k map[string]any) { k["kid"] = strings.Repeat("k", 257) }),
		"a key of other use":   private(func(k map[string]any) { k["kty"] = "unheard of" }),
		"an elliptic key":      set(token.VerificationKey{ID: "ec", Algorithm: "ES256", Public: curve.Public()}),
		"a short key":          set(token.VerificationKey{ID: "short", Algorithm: token.RS256, Public: short.Public()}),
		"a very long key":      modulus(new(big.Int).Lsh(one.key.N, 4096)),
		"an exponent of one":   exponent(1),
		"an even exponent":     exponent(4),
		"too many keys":        set(many...),
		"the same ID twice":    strings.Replace(set(many[0], many[1]), `"kid": "1"`, `"kid": "0"`, 1),
		"more than is read":    `{"keys":[],"x":"` + strings.Repeat("x", 64<<10) + `"}`,
		"a member named twice": `{"keys":[],"keys":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			err := w.try(func(tx *store.Tx) error {
				_, err := w.clusters.Enroll(tx, c.ID, c.ResourceID, cluster.Enrolment{Issuer: c.IssuerURL, Keys: json.RawMessage(keys), AgentSubjects: []string{agentSubject}})
				return err
			})
			wantError(t, err, http.StatusBadRequest, "InvalidKeys")
			w.wantKeys("after it", c, "one")
		})
	}
	// Beside a usable key others are passed over, and told.
	mixed := set(token.VerificationKey{ID: "ec", Algorithm: "ES256", Public: curve.Public()},
		token.VerificationKey{ID: "one", Algorithm: token.RS256, Public: one.key.Public()})
	w.Update(func(tx *store.Tx) error {
		e, err := w.clusters.Enroll(tx, c.ID, c.ResourceID, cluster.Enrolment{Issuer: c.IssuerURL, Keys: json.RawMessage(mixed), AgentSubjects: []string{agentSubject}})
		if !slices.Equal(e.KeyIDs, []string{"one"}) || !slices.Equal(e.UnusableKeyIDs, []string{"ec"}) {
			t.Errorf("enrolled %+v", e)
		}
		return err
	})
	w.wantKeys("with an elliptic key", c, "one")
	if got := w.published(c); !slices.Equal(got, []string{"one"}) {
		t.Errorf("published: %v", got)
	}
}

// TestReportedKeys: keys that an agent reports are added at once, and go when
// nobody has reported them for a while; an operator's enrolment counts exactly.
func TestReportedKeys(t *testing.T) {
	w := newWorld(t)
	one, two, three := signers[0](), signers[1](), signers[2]()
	c := w.attached("east", one)
	raw := func() string { return w.token(c, one) }
	pod := 0
	report := func(keys ...signer) cloudtest.Answer {
		t.Helper()
		pod++ // each from another pod, so that none comes too soon
		claim := kubernetes(func(k map[string]any) { k["pod"] = map[string]any{"name": fmt.Sprintf("p-%d", pod), "uid": "u"} })
		return w.report(c, w.token(c, one, claim), channel.Report{Component: "webhook", Issuer: c.IssuerURL, Keys: keySet(t, keys...)})
	}

	report(one, two).Want(t, http.StatusOK)
	w.wantKeys("a new key", c, "one", "two")
	// One API server has restarted with the new key alone, the other has not yet:
	// whichever is asked, both keys count.
	w.Clock.Advance(10 * time.Minute)
	report(two).Want(t, http.StatusOK)
	w.wantKeys("within the grace", c, "one", "two")
	report(one, two).Want(t, http.StatusOK)
	w.Clock.Advance(14 * time.Minute)
	report(two).Want(t, http.StatusOK)
	w.wantKeys("the grace counts from the last time", c, "one", "two")
	w.Clock.Advance(2 * time.Minute)
	last := raw()
	report(two).Want(t, http.StatusOK)
	w.wantKeys("after the grace", c, "two")
	if a := w.report(c, last, channel.Report{Component: "webhook"}); a.Status != http.StatusUnauthorized {
		t.Errorf("a token by the old key: %d %s", a.Status, a.Body)
	}

	// Nobody puts another key in the place of a known one, and nothing else of such
	// a report counts.
	w.enroll(c, []string{agentSubject}, one)
	w.wantKeys("enrolled anew", c, "one")
	if a := report(signer{three.key, one.id}, two); a.Status != http.StatusConflict || a.ErrorCode() != "KeyIDTaken" {
		t.Errorf("a key ID that is taken: %d %s", a.Status, a.Body)
	}
	w.wantKeys("a key ID that is taken", c, "one")
	// Nor keys of another issuer.
	a := w.report(c, raw(), channel.Report{Component: "controller", Issuer: "https://kubernetes.default.svc", Keys: keySet(t, two)})
	if a.Status != http.StatusConflict || a.ErrorCode() != "IssuerMismatch" {
		t.Errorf("another issuer: %d %s", a.Status, a.Body)
	}
	w.wantKeys("another issuer", c, "one")

	var kept []string
	for _, r := range w.Records() {
		if r.Kind == audit.KindOperator && r.Scope == c.ResourceID {
			kept = append(kept, fmt.Sprintf("%s +%s -%s %s", r.Action[strings.LastIndexByte(r.Action, '/')+1:], r.Detail["keysAdded"], r.Detail["keysRemoved"], r.Detail["agent"]))
		}
	}
	want := []string{"report +two - " + agentSubject, "report + -one " + agentSubject}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("recorded: %s", diff)
	}
}

// TestKeysAreBounded: an agent cannot make the cloud keep any number of keys.
func TestKeysAreBounded(t *testing.T) {
	w := newWorld(t)
	one := signers[0]()
	c := w.attached("east", one)
	batch := func(name string) json.RawMessage {
		var all []token.VerificationKey
		for i := range 20 {
			all = append(all, token.VerificationKey{ID: fmt.Sprintf("%s-%d", name, i), Algorithm: token.RS256, Public: one.key.Public()})
		}
		set, err := token.EncodeKeySet(all)
		cloudtest.Must(t, err)
		return set
	}
	w.report(c, w.token(c, one), channel.Report{Component: "webhook", Issuer: c.IssuerURL, Keys: batch("a")}).Want(t, http.StatusOK)
	a := w.report(c, w.token(c, one), channel.Report{Component: "controller", Issuer: c.IssuerURL, Keys: batch("b")})
	if a.Status != http.StatusConflict || a.ErrorCode() != "TooManyKeys" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if n := len(w.keyIDs(c)); n != 21 {
		t.Errorf("%d keys are kept", n)
	}
}

// TestEnrolmentAudit: the operator's enrolment is recorded with the keys.
func TestEnrolmentAudit(t *testing.T) {
	w := newWorld(t)
	c := w.attach("east")
	e := w.enroll(c, []string{agentSubject}, signers[0](), signers[1]())
	caller := azure.Caller{TenantID: cloudtest.TenantID, ObjectID: "someone"}
	cloudtest.Must(t, w.clusters.AuditEnrolment(t.Context(), caller, e))
	records := w.Records()
	r := records[len(records)-1]
	if r.Kind != audit.KindOperator || r.ObjectID != "someone" || r.Scope != c.ResourceID || r.Detail["keysAdded"] != "one two" {
		t.Errorf("recorded %+v", r)
	}
	// The same again changes no key, and there is nothing to record.
	e = w.enroll(c, []string{agentSubject}, signers[0](), signers[1]())
	cloudtest.Must(t, w.clusters.AuditEnrolment(t.Context(), caller, e))
	if n := len(w.Records()); n != len(records) {
		t.Errorf("%d records, want %d", n, len(records))
	}
}

// FuzzKeyUpload: whatever is uploaded, what comes of it are public RSA keys, or an
// error that is the client's.
func FuzzKeyUpload(f *testing.F) {
	w := newWorld(f)
	c := w.attach("east")
	for _, seed := range []string{
		string(keySet(f, signers[0]())), string(keySet(f, signers[0](), signers[1]())), "", "{}", `{"keys":null}`, `{"keys":[null,1,{}]}`,
		`{"keys":[{"kty":"RSA","kid":"x","n":"","e":""}]}`, `{"keys":[{"kty":"RSA","kid":"x","n":"AQAB","e":"AQAB","d":"AQ"}]}`,
		`{"keys":[{"kty":"oct","k":"AQ"}]}`, `{"keys":{"kty":"RSA"}}`, "\xff", strings.Repeat("[", 5000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, upload []byte) {
		err := w.try(func(tx *store.Tx) error {
			e, err := w.clusters.Enroll(tx, c.ID, c.ResourceID, cluster.Enrolment{Issuer: c.IssuerURL, Keys: upload, AgentSubjects: []string{agentSubject}})
			if err == nil && len(e.KeyIDs) == 0 {
				t.Error("an upload without keys was taken")
			}
			if err == nil {
				err = errDone
			}
			return err
		})
		if err != errDone { //nolint:errorlint // the very error
			wantError(t, err, http.StatusBadRequest, "InvalidKeys")
		}
	})
}

// errDone ends a transaction of a fuzz target that would have been good.
var errDone = fmt.Errorf("done")
