package arm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// badge is what a user-assigned identity is to the engine: a type whose
// resources have principals.
type badge struct {
	PrincipalID string `json:"principalId"`
	ClientID    string `json:"clientId"`
}

// badgeWorld is a world with badges, and with hosts, whose identity block can
// name them.
func badgeWorld(tb testing.TB, change ...func(*Spec, *Hooks[thing])) *world {
	tb.Helper()
	var w *world
	badges := Define(Spec{
		Name: "Test.Things/badges", Versions: []string{"2021-04-01"}, In: AtResourceGroup, Tracked: true,
	}, Hooks[badge]{
		Put: func(_ context.Context, p *Put[badge]) error {
			if p.Old != nil {
				p.New.Properties = p.Old.Properties
				return nil
			}
			made, err := w.Directory.CreateManagedIdentity(p.Tx, p.TenantID, p.New.ID, false)
			p.New.Properties = badge{made.ObjectID, made.AppID}
			return err
		},
		Delete: func(_ context.Context, r *Request, old *Resource[badge]) error {
			return w.Directory.DeletePrincipal(r.Tx, old.TenantID, old.Properties.PrincipalID)
		},
		Principal: func(p *badge) (string, string) { return p.PrincipalID, p.ClientID },
	})
	spec := Spec{
		Name: "Test.Things/hosts", Versions: []string{"2021-04-01"}, In: AtResourceGroup, Tracked: true,
		Members: []string{"identity"}, ProvisioningState: true, ETag: "etag",
	}
	hooks := Hooks[thing]{}
	for _, f := range change {
		f(&spec, &hooks)
	}
	w = newWorld(tb, badges, thingType(), Define(spec, hooks))
	w.group("rg")
	return w
}

func badgePath(name string) string { return groupPath("rg") + "/providers/Test.Things/badges/" + name }

func hostPath(name string) string { return groupPath("rg") + "/providers/Test.Things/hosts/" + name }

// badge makes an identity and gives its principal.
func (w *world) badge(name string) badge {
	w.TB.Helper()
	made := w.want(http.StatusCreated, http.MethodPut, badgePath(name)+version, `{"location":"westeurope"}`)
	return badge{fmt.Sprint(made.property("principalId")), fmt.Sprint(made.property("clientId"))}
}

// hostBody is a host's body with the given identity block, if any.
func hostBody(identity string) string {
	if identity == "" {
		return `{"location":"westeurope"}`
	}
	return `{"location":"westeurope","identity":` + identity + `}`
}

// block gives the identity block of an answer.
func (a answer) block(tb testing.TB) *shownIdentity {
	tb.Helper()
	if a.doc["identity"] == nil {
		return nil
	}
	text, err := json.Marshal(a.doc["identity"])
	cloudtest.Must(tb, err)
	var block shownIdentity
	cloudtest.Must(tb, json.Unmarshal(text, &block))
	return &block
}

// managed lists the managed identities of the directory that are resources' own.
func (w *world) systemPrincipals() []directory.Principal {
	return slices.DeleteFunc(w.Directory.Principals(tenantID), func(p directory.Principal) bool { return !p.SystemAssigned })
}

// A resource's own identity is a principal from the answer on, another one each
// time that it is turned on, and gone with it.
func TestSystemAssigned(t *testing.T) {
	w := badgeWorld(t)
	url := hostPath("One") + version
	first := w.want(http.StatusCreated, http.MethodPut, url, hostBody(`{"type":"systemassigned"}`)).block(t)
	if first == nil || first.Type != "SystemAssigned" || first.TenantID != tenantID {
		t.Fatalf("the block is %+v", first)
	}
	p, ok := w.Directory.Principal(tenantID, first.PrincipalID)
	if !ok || !p.SystemAssigned || p.ServicePrincipalType != directory.ManagedIdentityPrincipal || p.ResourceID != hostPath("One") || p.DisplayName != "One" {
		t.Fatalf("the principal is %+v", p)
	}
	// A write without a block, and one of the same, leave it.
	for _, body := range []string{hostBody(""), hostBody(`{"type":"SystemAssigned","principalId":"x","tenantId":"y"}`), hostBody(`null`)} {
		if again := w.want(http.StatusOK, http.MethodPut, url, body).block(t); !cmp.Equal(again, first) {
			t.Errorf("%s made of %+v %+v", body, first, again)
		}
	}
	if none := w.want(http.StatusOK, http.MethodPatch, url, `{"identity":{"type":"None"}}`).block(t); !cmp.Equal(none, &shownIdentity{Type: "None"}) {
		t.Errorf("turned off it is %+v", none)
	}
	if _, ok := w.Directory.Client(tenantID, p.AppID); ok || len(w.systemPrincipals()) != 0 {
		t.Error("the principal outlived the identity")
	}
	second := w.want(http.StatusOK, http.MethodPatch, url, `{"identity":{"type":"SystemAssigned"}}`).block(t)
	if second.PrincipalID == first.PrincipalID || second.PrincipalID == "" {
		t.Errorf("turned on again it has %q, before %q", second.PrincipalID, first.PrincipalID)
	}
	w.want(http.StatusOK, http.MethodDelete, url, "")
	if left := w.systemPrincipals(); len(left) != 0 {
		t.Errorf("after the resource there is %+v", left)
	}
}

// Cascades take the principals along, in whatever step they are removed.
func TestSystemAssignedCascade(t *testing.T) {
	w := badgeWorld(t)
	for i := range 70 {
		w.want(http.StatusCreated, http.MethodPut, hostPath(fmt.Sprintf("host-%02d", i))+version, hostBody(`{"type":"SystemAssigned"}`))
	}
	if n := len(w.systemPrincipals()); n != 70 {
		t.Fatalf("%d principals", n)
	}
	accepted := w.want(http.StatusAccepted, http.MethodDelete, groupPath("rg")+version, "")
	w.poll(accepted.Header.Get("Location"))
	if left := w.systemPrincipals(); len(left) != 0 {
		t.Errorf("%d principals are left", len(left))
	}
}

// A write that is refused leaves no principal, and one that many make at once
// makes one.
func TestSystemAssignedOnce(t *testing.T) {
	w := badgeWorld(t, func(_ *Spec, h *Hooks[thing]) {
		h.Put = func(_ context.Context, p *Put[thing]) error {
			if p.New.Properties.Size > 10 {
				return azure.Errorf(http.StatusBadRequest, "TooLarge", "No.")
			}
			return nil
		}
	})
	url := hostPath("one") + version
	refused := w.owner(http.MethodPut, url, `{"location":"westeurope","identity":{"type":"SystemAssigned"},"properties":{"size":11}}`)
	if refused.ErrorCode() != "TooLarge" || len(w.systemPrincipals()) != 0 {
		t.Fatalf("refused with %s, and %d principals", refused.Body, len(w.systemPrincipals()))
	}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			body := fmt.Sprintf(`{"location":"westeurope","identity":{"type":"SystemAssigned"},"properties":{"size":%d}}`, i)
			if got := w.owner(http.MethodPut, url, body); got.Status != http.StatusCreated && got.Status != http.StatusOK {
				t.Errorf("answered %d %s", got.Status, got.Body)
			}
		})
	}
	wg.Wait()
	if all := w.systemPrincipals(); len(all) != 1 || all[0].ObjectID != w.want(http.StatusOK, http.MethodGet, url, "").block(t).PrincipalID {
		t.Errorf("the principals are %+v", all)
	}
}

// A Put hook may give a resource an identity by default; the engine makes it
// real. Steps and actions may not.
func TestDefaultIdentity(t *testing.T) {
	w := badgeWorld(t, func(_ *Spec, h *Hooks[thing]) {
		h.Put = func(_ context.Context, p *Put[thing]) error {
			if p.New.Identity == nil {
				id, err := azure.ParseResourceID(badgePath("a"))
				p.New.Identity = &Identity{SystemAssigned: true, PrincipalID: "made up", UserAssigned: []AttachedIdentity{{ID: id}}}
				return err
			}
			return nil
		}
		h.Actions = []Action[thing]{{Name: "strip", Writes: true, Run: func(_ context.Context, _ *Request, res *Resource[thing], _ json.RawMessage) (int, any, error) {
			res.Identity = nil
			return http.StatusOK, nil, nil
		}}}
	})
	a := w.badge("a")
	made := w.want(http.StatusCreated, http.MethodPut, hostPath("one")+version, hostBody("")).block(t)
	if made.Type != IdentityBoth || made.UserAssigned[badgePath("a")] != shownAttached(a) {
		t.Errorf("made %+v", made)
	}
	if _, ok := w.Directory.Principal(tenantID, made.PrincipalID); !ok {
		t.Errorf("there is no principal %q", made.PrincipalID)
	}
	w.want(http.StatusOK, http.MethodPost, hostPath("one")+"/strip"+version, "")
	if kept := w.want(http.StatusOK, http.MethodGet, hostPath("one")+version, "").block(t); !cmp.Equal(kept, made) {
		t.Errorf("an action made of %+v %+v", made, kept)
	}
}

// Each identity that a body names takes assign/action, also one that is attached
// already; one that is removed, or not spoken of, takes none. Those that fail
// are in one list, in which aad-pod-identity's controller finds them.
func TestAssignAction(t *testing.T) {
	w := badgeWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.badge(name)
	}
	const writer = "33333333-3333-3333-3333-333333333334"
	w.Assign(writer, azure.RoleContributor, mustID(t, hostPath("one")))
	w.Assign(writer, azure.RoleContributor, mustID(t, badgePath("a")))
	attach := func(names ...string) string {
		entries := make([]string, len(names))
		for i, name := range names {
			entries[i] = fmt.Sprintf("%q:{}", badgePath(name))
		}
		return fmt.Sprintf(`{"location":"westeurope","identity":{"type":"UserAssigned","userAssignedIdentities":{%s}}}`, strings.Join(entries, ","))
	}
	url := hostPath("one") + version
	refused := w.do(writer, http.MethodPut, url, attach("c", "a", "b", "absent"))
	if refused.Status != http.StatusForbidden || refused.ErrorCode() != "LinkedAuthorizationFailed" {
		t.Fatalf("%d %s", refused.Status, refused.Body)
	}
	message, _ := refused.doc["error"].(map[string]any)["message"].(string)
	lists := regexp.MustCompile(`'(,?(?i)/subscriptions/[a-z0-9-]+/resourceGroups/[^/']+/providers/Test.Things/badges/[a-zA-Z0-9-_]+)+'`).FindAllString(message, -1)
	want := fmt.Sprintf("'%s,%s,%s'", badgePath("absent"), badgePath("b"), badgePath("c"))
	if len(lists) != 1 || lists[0] != want || !strings.Contains(message, "'Test.Things/badges/assign/action'") {
		t.Errorf("the message is %s", message)
	}
	w.want(http.StatusCreated, http.MethodPut, url, attach("a", "b"))
	for _, tt := range []struct {
		name, method, body string
		status             int
	}{
		{"not spoken of", http.MethodPut, hostBody(""), http.StatusOK},
		{"only the one that it may", http.MethodPatch, attach("a"), http.StatusOK},
		{"attached already", http.MethodPatch, attach("b"), http.StatusForbidden},
		{"the whole set", http.MethodPut, attach("a", "b"), http.StatusForbidden},
		{"removed", http.MethodPatch, fmt.Sprintf(`{"identity":{"userAssignedIdentities":{%q:null}}}`, badgePath("b")), http.StatusOK},
		{"replaced", http.MethodPut, attach("a"), http.StatusOK},
		{"turned off", http.MethodPatch, `{"identity":{"type":"None"}}`, http.StatusOK},
	} {
		if got := w.do(writer, tt.method, url, tt.body); got.Status != tt.status {
			t.Errorf("%s: %d %s", tt.name, got.Status, got.Body)
		}
	}
}

// An identity that is deleted while it is attached stays listed, and the
// resource can't be changed until it is removed. One of the same name that comes
// later is another one: it is attached when somebody attaches it.
func TestDeletedWhileAttached(t *testing.T) {
	w := badgeWorld(t)
	old, kept := w.badge("a"), w.badge("b")
	url := hostPath("one") + version
	both := hostBody(fmt.Sprintf(`{"type":"UserAssigned","userAssignedIdentities":{%q:{},%q:{}}}`, badgePath("a"), badgePath("b")))
	w.want(http.StatusCreated, http.MethodPut, url, both)
	w.want(http.StatusOK, http.MethodDelete, badgePath("a")+version, "")

	listed := w.want(http.StatusOK, http.MethodGet, url, "").block(t)
	if want := map[string]shownAttached{badgePath("a"): {}, badgePath("b"): shownAttached(kept)}; !cmp.Equal(listed.UserAssigned, want) {
		t.Errorf("listed are %+v", listed.UserAssigned)
	}
	for method, body := range map[string]string{http.MethodPut: both, http.MethodPatch: `{"tags":{"a":"b"}}`} {
		got := w.want(http.StatusBadRequest, method, url, body)
		if got.ErrorCode() != "FailedIdentityOperation" || !strings.Contains(got.Body, "Resource '"+badgePath("a")+"' was not found.") {
			t.Errorf("%s: %s", method, got.Body)
		}
	}
	reborn := w.badge("a")
	if reborn == old {
		t.Fatal("the new identity is the old one")
	}
	if got := w.want(http.StatusOK, http.MethodGet, url, "").block(t); got.UserAssigned[badgePath("a")] != (shownAttached{}) {
		t.Errorf("the new identity came by itself: %+v", got.UserAssigned)
	}
	got := w.want(http.StatusBadRequest, http.MethodPut, url, hostBody(""))
	if got.ErrorCode() != "FailedIdentityOperation" || !strings.Contains(got.Body, "was deleted after it was assigned") {
		t.Errorf("with a new one of its name: %s", got.Body)
	}
	attached := w.want(http.StatusOK, http.MethodPatch, url, fmt.Sprintf(`{"identity":{"userAssignedIdentities":{%q:{}}}}`, badgePath("a"))).block(t)
	if attached.UserAssigned[badgePath("a")] != shownAttached(reborn) {
		t.Errorf("attached are %+v", attached.UserAssigned)
	}
	w.want(http.StatusOK, http.MethodDelete, badgePath("a")+version, "")
	removed := w.want(http.StatusOK, http.MethodPatch, url, fmt.Sprintf(`{"identity":{"userAssignedIdentities":{%q:null}}}`, badgePath("a"))).block(t)
	if want := map[string]shownAttached{badgePath("b"): shownAttached(kept)}; !cmp.Equal(removed.UserAssigned, want) {
		t.Errorf("left are %+v", removed.UserAssigned)
	}
	if all := w.want(http.StatusOK, http.MethodGet, hostPath("")[:len(hostPath(""))-1]+version, ""); !strings.Contains(all.Body, kept.ClientID) {
		t.Errorf("the list is %s", all.Body)
	}
}

// A scale set may have hundreds: pod identity's controller attaches 150 in a
// request, which is more than a transaction can compare.
func TestManyIdentities(t *testing.T) {
	w := badgeWorld(t)
	url := hostPath("one") + version
	w.want(http.StatusCreated, http.MethodPut, url, hostBody(""))
	const batch = 150
	for b := range 2 {
		entries := make([]string, batch)
		for i := range entries {
			name := fmt.Sprintf("badge-%d-%d", b, i)
			w.badge(name)
			entries[i] = fmt.Sprintf("%q:{}", strings.ToLower(badgePath(name)))
		}
		got := w.want(http.StatusOK, http.MethodPatch, url, fmt.Sprintf(`{"identity":{"type":"UserAssigned","userAssignedIdentities":{%s}}}`, strings.Join(entries, ",")))
		if n := len(got.block(t).UserAssigned); n != (b+1)*batch {
			t.Errorf("%d are attached", n)
		}
	}
}

// The types of an identity block, as SDKs write them.
func TestIdentityTypes(t *testing.T) {
	for text, want := range map[string]string{
		"None": IdentityNone, "none": IdentityNone, " NONE ": IdentityNone, "SystemAssigned": IdentitySystemAssigned,
		"systemassigned": IdentitySystemAssigned, "UserAssigned": IdentityUserAssigned, "SystemAssigned, UserAssigned": IdentityBoth,
		"SystemAssigned,UserAssigned": IdentityBoth, "userassigned ,  SYSTEMASSIGNED": IdentityBoth,
		"": "", "System": "", "None, UserAssigned": "", "UserAssigned,": "", "SystemAssigned,SystemAssigned": "", "SystemAſſigned": "",
	} {
		system, user, ok := parseIdentityType(text)
		got := ""
		if ok {
			block := &Identity{SystemAssigned: system}
			if user {
				block.UserAssigned = make([]AttachedIdentity, 1)
			}
			got = block.Type()
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
