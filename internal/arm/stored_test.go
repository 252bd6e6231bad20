package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/store"
)

func codeOf(err error) string {
	if known, ok := errors.AsType[*azure.Error](err); ok {
		return known.Code
	}
	return "unknown: " + err.Error()
}

const small = `{"location":"westeurope","properties":{"size":1}}`

func TestStoredLife(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	url := thingPath("rg", "One") + version

	created := w.want(http.StatusCreated, http.MethodPut, url, `{"location":"West Europe","sku":{"name":"s"},"kind":"k","properties":{"size":1,"serial":"forged","unknown":1}}`)
	if created.property("serial") != "serial of One" || created.property("provisioningState") != Succeeded || created.property("unknown") != nil {
		t.Errorf("created %s", created.Body)
	}
	data, _ := created.doc["systemData"].(map[string]any)
	if data["createdBy"] != ownerID || data["createdByType"] != "Application" || data["createdAt"] != "2026-03-01T12:00:00Z" {
		t.Errorf("systemData is %v", data)
	}
	patched := w.want(http.StatusOK, http.MethodPatch, url, `{"tags":{"a":"1"},"sku":{"tier":"t"},"properties":{"color":"red","size":null}}`)
	if sku, _ := json.Marshal(patched.doc["sku"]); string(sku) != `{"name":"s","tier":"t"}` {
		t.Errorf("the patched sku is %s", sku)
	}
	if patched.property("color") != "red" || patched.property("size") != nil || patched.property("serial") != "serial of One" || patched.doc["kind"] != "k" {
		t.Errorf("patched %s", patched.Body)
	}
	replaced := w.want(http.StatusOK, http.MethodPut, strings.Replace(url, "/One", "/ONE", 1), small)
	if replaced.doc["name"] != "ONE" || replaced.doc["tags"] != nil || replaced.doc["sku"] != nil || replaced.property("color") != nil {
		t.Errorf("replaced %s", replaced.Body)
	}
	if got := w.want(http.StatusOK, http.MethodPost, thingPath("rg", "one")+"/MEASURE"+version, `{"unit":"m"}`); got.doc["size"] != 1.0 {
		t.Errorf("measured %s", got.Body)
	}
	w.want(http.StatusOK, http.MethodPost, thingPath("rg", "one")+"/grow"+version, "")
	if got := w.want(http.StatusOK, http.MethodGet, url, ""); got.property("size") != 2.0 {
		t.Errorf("grown to %s", got.Body)
	}
	refused := w.want(http.StatusBadRequest, http.MethodPatch, url, `{"properties":{"color":"invisible"}}`)
	if refused.ErrorCode() != "InvalidColor" {
		t.Errorf("refused with %s", refused.ErrorCode())
	}
	w.want(http.StatusOK, http.MethodDelete, url, "")
	w.want(http.StatusNoContent, http.MethodDelete, url, "")
	if got := w.want(http.StatusNotFound, http.MethodGet, url, ""); got.ErrorCode() != "ResourceNotFound" {
		t.Errorf("gone with %s", got.ErrorCode())
	}
	if _, err := w.Store.Get(t.Context(), "deleted/"+strings.ToLower(thingPath("rg", "one"))); err != nil {
		t.Errorf("the Delete hook left nothing: %v", err)
	}
}

// Members that the type doesn't have are dropped, but for an identity, on which
// a client would rely.
func TestMembers(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	got := w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "one")+version,
		`{"location":"westeurope","kind":"k","zones":["1"],"plan":{"name":"p"},"managedBy":"x","identity":{"type":"None"}}`)
	if got.doc["kind"] != "k" || got.doc["zones"] != nil || got.doc["plan"] != nil || got.doc["managedBy"] != nil || got.doc["identity"] != nil {
		t.Errorf("created %s", got.Body)
	}
	refused := w.want(http.StatusBadRequest, http.MethodPut, thingPath("rg", "one")+version, `{"location":"westeurope","identity":{"type":"SystemAssigned"}}`)
	if refused.ErrorCode() != "FailedIdentityOperation" {
		t.Errorf("refused with %s", refused.Body)
	}
}

// A write that changes nothing leaves systemData and the entity tag.
func TestUnchangedWrites(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	url := thingPath("rg", "one") + version
	first := w.want(http.StatusCreated, http.MethodPut, url, small)
	w.Clock.Advance(time.Minute)
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodGet} {
		if got := w.want(http.StatusOK, method, url, small); got.Body != first.Body || got.Header.Get("ETag") != first.Header.Get("ETag") {
			t.Errorf("%s gave %s, want %s", method, got.Body, first.Body)
		}
	}
	changed := w.want(http.StatusOK, http.MethodPatch, url, `{"properties":{"size":2}}`)
	data, _ := changed.doc["systemData"].(map[string]any)
	if changed.Header.Get("ETag") == first.Header.Get("ETag") || data["createdAt"] == data["lastModifiedAt"] {
		t.Errorf("changed to %s", changed.Body)
	}
}

func TestETags(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	url := thingPath("rg", "one") + version
	if got := w.owner(http.MethodPut, url, small, "If-Match", "*"); got.Status != http.StatusPreconditionFailed || got.ErrorCode() != "PreconditionFailed" {
		t.Errorf("If-Match: * on nothing: %d", got.Status)
	}
	first := w.want(http.StatusCreated, http.MethodPut, url, small, "If-None-Match", "*")
	tag := first.Header.Get("ETag")
	if tag == "" || first.doc["eTag"] != tag {
		t.Fatalf("the tag is %q in the header and %v in the body", tag, first.doc["eTag"])
	}
	if got := w.want(http.StatusOK, http.MethodGet, url, ""); got.Header.Get("ETag") != tag {
		t.Errorf("read with %q, written with %q", got.Header.Get("ETag"), tag)
	}
	for _, tt := range []struct {
		name, method, header, value string
		status                      int
	}{
		{"exists", http.MethodPut, "If-None-Match", "*", http.StatusPreconditionFailed},
		{"other", http.MethodPut, "If-Match", `"0"`, http.StatusPreconditionFailed},
		{"this, without quotes", http.MethodPut, "If-Match", strings.Trim(tag, `"`), http.StatusOK},
		{"the old one now", http.MethodPatch, "If-Match", tag, http.StatusPreconditionFailed},
		{"the old one on delete", http.MethodDelete, "If-Match", tag, http.StatusPreconditionFailed},
		{"one of several", http.MethodDelete, "If-Match", tag + `, W/"1", *`, http.StatusOK},
	} {
		body := `{"location":"westeurope","properties":{"size":2}}`
		if got := w.owner(tt.method, url, body, tt.header, tt.value); got.Status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, got.Status, got.Body, tt.status)
		}
	}
}

// All linked scopes that fail are in one quoted list, which aad-pod-identity's
// controller finds with this expression.
func TestLinkedScopes(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	w.Assign(readerID, azure.RoleContributor, mustID(t, groupPath("rg")))
	uses := []string{thingPath("mine", "a"), thingPath("mine", "b"), thingPath("rg", "c")}
	text, err := json.Marshal(map[string]any{"location": "westeurope", "properties": map[string]any{"uses": uses}})
	cloudtest.Must(t, err)
	got := w.do(readerID, http.MethodPut, thingPath("rg", "one")+version, string(text))
	if got.Status != http.StatusForbidden || got.ErrorCode() != "LinkedAuthorizationFailed" {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	message, _ := got.doc["error"].(map[string]any)["message"].(string)
	listed := regexp.MustCompile(`'(,?(?i)/subscriptions/[^,']+)+'`).FindAllString(message, -1)
	want := fmt.Sprintf("'%s,%s'", uses[0], uses[1])
	if len(listed) == 0 || listed[len(listed)-1] != want {
		t.Errorf("the list is %q, want %q", listed, want)
	}
	if _, err := w.Store.Get(t.Context(), Key(tenantID, mustID(t, thingPath("rg", "one")))); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a refused resource was stored: %v", err)
	}
	w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "one")+version, string(text))
}

func mustID(tb testing.TB, path string) azure.ResourceID {
	tb.Helper()
	id, err := azure.ParseResourceID(path)
	cloudtest.Must(tb, err)
	return id
}

// Of many who create the same resource at once, one creates it and the others
// change it; no write is lost.
func TestConcurrentWrites(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	const writers = 12
	var wg sync.WaitGroup
	codes := make([]int, writers)
	for i := range writers {
		wg.Go(func() {
			codes[i] = w.owner(http.MethodPut, thingPath("rg", "one")+version, small).Status
			w.owner(http.MethodPost, thingPath("rg", "one")+"/grow"+version, "")
		})
	}
	wg.Wait()
	created := 0
	for _, code := range codes {
		if code == http.StatusCreated {
			created++
		} else if code != http.StatusOK {
			t.Errorf("answered %d", code)
		}
	}
	if created != 1 {
		t.Errorf("created %d times", created)
	}
	w.want(http.StatusOK, http.MethodPut, thingPath("rg", "one")+version, small)
	for range writers {
		wg.Go(func() { w.owner(http.MethodPost, thingPath("rg", "one")+"/grow"+version, "") })
	}
	wg.Wait()
	if got := w.want(http.StatusOK, http.MethodGet, thingPath("rg", "one")+version, ""); got.property("size") != float64(writers+1) {
		t.Errorf("grown to %v, want %d", got.property("size"), writers+1)
	}
}

// What isn't meant for clients stays in the log, where it is once.
func TestUnknownErrorsSayNothing(t *testing.T) {
	const secret = "the disk of host 17 is full"
	w := newWorld(t, thingType(func(_ *Spec, h *Hooks[thing]) {
		h.Put = func(context.Context, *Put[thing]) error { return errors.New(secret) }
	}))
	w.group("rg")
	got := w.want(http.StatusInternalServerError, http.MethodPut, thingPath("rg", "one")+version, small)
	if got.ErrorCode() != "InternalServerError" || strings.Contains(got.Body, "disk") || !strings.Contains(got.Body, "'"+cloudtest.CorrelationID+"'") {
		t.Errorf("answered %s", got.Body)
	}
	if n := strings.Count(w.Log.String(), secret); n != 1 {
		t.Errorf("logged %d times:\n%s", n, w.Log)
	}
}

// Without a decision, or without a record of it, nothing is allowed.
func TestNoDecisionIsUnavailable(t *testing.T) {
	w := newWorld(t, thingType())
	w.group("rg")
	cloudtest.Must(t, w.Audit.Close())
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		got := w.owner(method, groupPath("rg")+version, `{"location":"westeurope"}`)
		if got.Status != http.StatusServiceUnavailable || got.ErrorCode() != "ServiceUnavailable" || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", method, got.Status, got.Body)
		}
	}
}

func TestUnwrappedErrors(t *testing.T) {
	w := newWorld(t, thingType(func(s *Spec, _ *Hooks[thing]) { s.Unwrapped = true }))
	w.group("rg")
	got := w.want(http.StatusBadRequest, http.MethodPut, thingPath("rg", "one")+version, `{"location":"westeurope","properties":{"color":"invisible"}}`)
	if want := `{"code":"InvalidColor","details":null,"message":"Nobody can see that.","subcode":""}`; got.Body != want {
		t.Errorf("answered %s, want %s", got.Body, want)
	}
	// What the gateway refuses isn't the provider's.
	gateway := w.do(nobodyID, http.MethodGet, thingPath("rg", "one")+version, "")
	if gateway.Status != http.StatusForbidden || gateway.doc["error"] == nil {
		t.Errorf("answered %s", gateway.Body)
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t, thingType())
	got := w.do(ownerID, http.MethodGet, groupPath("rg")+version, "", "x-ms-client-request-id", "mine", "x-ms-return-client-request-id", "True")
	for name, want := range map[string]string{
		"x-ms-request-id": cloudtest.RequestID, "x-ms-correlation-request-id": cloudtest.CorrelationID, "x-ms-client-request-id": "mine",
		"x-ms-ratelimit-remaining-subscription-reads": "249", "Content-Type": "application/json; charset=utf-8", "x-ms-error-code": "ResourceGroupNotFound",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if silent := w.do(ownerID, http.MethodGet, groupPath("rg")+version, "", "x-ms-client-request-id", "mine"); silent.Header.Get("x-ms-client-request-id") != "" {
		t.Error("the client's ID came back unasked")
	}
}

// An engine that throttles does so for each principal by itself.
func TestThrottle(t *testing.T) {
	w := newWorld(t, thingType())
	w.restart(func() { w.set = func(c *Config) { c.Throttle = true } })
	// Anything that gets past identification counts.
	url := groupPath("rg") + version
	for range 250 {
		w.do(readerID, http.MethodGet, url, "")
	}
	got := w.do(readerID, http.MethodGet, url, "")
	if got.Status != http.StatusTooManyRequests || got.ErrorCode() != "SubscriptionRequestsThrottled" || got.Header.Get("Retry-After") != "1" {
		t.Errorf("answered %d %s", got.Status, got.Body)
	}
	if other := w.owner(http.MethodGet, url, ""); other.Status != http.StatusNotFound {
		t.Errorf("another principal got %d", other.Status)
	}
	if deletes := w.do(readerID, http.MethodDelete, url, ""); deletes.Status != http.StatusForbidden {
		t.Errorf("another allowance gave %d", deletes.Status)
	}
}

// The parent, the group and the type's own rules are asked in this order.
func TestChildren(t *testing.T) {
	w := newWorld(t, thingType(), partType())
	part := thingPath("rg", "one") + "/parts/p" + version
	expect := func(status int, code, method, url string) {
		t.Helper()
		if got := w.owner(method, url, `{"properties":{}}`); got.Status != status || code != "" && got.ErrorCode() != code {
			t.Errorf("%s %s: %d %s, want %d %s", method, url, got.Status, got.Body, status, code)
		}
	}
	expect(404, "ResourceGroupNotFound", http.MethodPut, part)
	expect(404, "ResourceGroupNotFound", http.MethodGet, part)
	w.group("rg")
	expect(404, "ParentResourceNotFound", http.MethodPut, part)
	expect(404, "ParentResourceNotFound", http.MethodGet, part)
	expect(404, "ParentResourceNotFound", http.MethodDelete, part)
	expect(404, "ParentResourceNotFound", http.MethodGet, thingPath("rg", "one")+"/parts"+version)
	w.want(http.StatusCreated, http.MethodPut, thingPath("rg", "One")+version, small)
	expect(404, "ResourceNotFound", http.MethodGet, part)
	expect(204, "", http.MethodDelete, part)
	got := w.want(http.StatusCreated, http.MethodPut, part, `{"name":"one/p","properties":{"size":3}}`)
	if want := thingPath("rg", "One") + "/parts/p"; got.doc["id"] != want {
		t.Errorf("the ID is %v, want %s", got.doc["id"], want)
	}
	list := w.want(http.StatusOK, http.MethodGet, thingPath("rg", "one")+"/parts"+version, "")
	if items, _ := list.doc["value"].([]any); len(items) != 1 {
		t.Errorf("listed %s", list.Body)
	}
	if things := w.want(http.StatusOK, http.MethodGet, groupPath("rg")+"/providers/Test.Things/things"+version, ""); len(things.doc["value"].([]any)) != 1 {
		t.Errorf("parts were listed with things: %s", things.Body)
	}
}

// A token in a body or a URL of another form doesn't help: only one header, of
// one form, is read.
func TestOneAuthorizationHeader(t *testing.T) {
	w := newWorld(t, thingType())
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, w.Azure.ResourceManager()+groupPath("rg")+version, nil)
	req.Header.Add("Authorization", "Bearer "+w.Token(ownerID))
	req.Header.Add("Authorization", "Bearer x")
	if got := w.serve(req); got.Status != http.StatusUnauthorized {
		t.Errorf("two headers: %d", got.Status)
	}
	query := w.serve(httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		w.Azure.ResourceManager()+groupPath("rg")+version+"&access_token="+w.Token(ownerID), nil))
	if query.Status != http.StatusUnauthorized {
		t.Errorf("in the query: %d", query.Status)
	}
}
