package arm

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// identityModel is a naive second reading of the rules for identity blocks: it
// keeps maps of lower-case names, and knows nothing of the engine.
type identityModel struct {
	exists bool
	block  bool // the resource has had one
	system bool
	// attached leads from the lower-case ID to its spelling and its principal.
	attached map[string][2]string
	alive    map[string]string // lower-case ID of a badge: principal
}

// wireBlock is an identity block as the model sends it; a nil map is none.
type wireBlock struct {
	typ     *string
	entries map[string]*struct{}
}

// apply gives the error code that a write gets, "" where it works, and what the
// resource then has.
func (m identityModel) apply(patch bool, b *wireBlock) (string, identityModel) {
	next := m
	next.attached = maps.Clone(m.attached)
	named := map[string]bool{}
	if b != nil {
		if code := next.applyBlock(m, patch, b, named); code != "" {
			return code, m
		}
	}
	for key, a := range next.attached {
		switch now := m.alive[key]; {
		case now == "":
			return "FailedIdentityOperation", m
		case named[key] || a[1] == "":
			next.attached[key] = [2]string{a[0], now}
		case a[1] != now:
			return "FailedIdentityOperation", m
		}
	}
	next.exists = true
	return "", next
}

func (m *identityModel) applyBlock(old identityModel, patch bool, b *wireBlock, named map[string]bool) string {
	kind := "none"
	if b.typ != nil {
		kind = strings.ReplaceAll(strings.ToLower(*b.typ), " ", "")
	} else if !patch {
		return "InvalidRequestContent"
	} else {
		if old.system {
			kind = "systemassigned"
		}
		if len(old.attached) > 0 {
			kind = strings.TrimPrefix(kind+",userassigned", "none,")
		}
	}
	switch kind {
	case "none", "systemassigned", "userassigned", "systemassigned,userassigned":
	default:
		return "InvalidRequestContent"
	}
	user := strings.Contains(kind, "user")
	add, remove := map[string]string{}, map[string]bool{}
	for _, spelled := range slices.Sorted(maps.Keys(b.entries)) {
		key := strings.ToLower(spelled)
		if b.entries[spelled] == nil {
			if !patch {
				return "InvalidRequestContent"
			}
			remove[key] = true
		} else if _, twice := add[key]; !twice {
			add[key] = spelled
		}
	}
	for key := range add {
		if remove[key] {
			return "InvalidRequestContent"
		}
	}
	if len(add) > 0 && !user {
		return "FailedIdentityOperation"
	}
	m.block, m.system = true, strings.Contains(kind, "system")
	if !patch || !user {
		m.attached = map[string][2]string{}
	}
	for key := range remove {
		delete(m.attached, key)
	}
	for key, spelled := range add {
		named[key] = true
		if _, has := m.attached[key]; !has {
			m.attached[key] = [2]string{spelled, old.attached[key][1]}
		}
	}
	if user && len(m.attached) == 0 {
		return "MissingIdentityIds"
	}
	return ""
}

// shown is the block that the model expects; principal is the resource's own.
func (m identityModel) shown(principal string) *shownIdentity {
	if !m.block {
		return nil
	}
	s := &shownIdentity{Type: "None"}
	if m.system {
		s.Type, s.PrincipalID, s.TenantID = "SystemAssigned", principal, tenantID
	}
	if len(m.attached) > 0 {
		s.Type = strings.TrimPrefix(s.Type+", UserAssigned", "None, ")
		s.UserAssigned = map[string]shownAttached{}
		for key, a := range m.attached {
			var seen shownAttached
			if m.alive[key] == a[1] {
				seen.PrincipalID = a[1]
			}
			s.UserAssigned[a[0]] = seen
		}
	}
	return s
}

func (b *wireBlock) text() string {
	parts := []string{}
	if b.typ != nil {
		parts = append(parts, fmt.Sprintf(`"type":%q`, *b.typ))
	}
	if b.entries != nil {
		entries, _ := json.Marshal(b.entries) // encodes
		parts = append(parts, `"userAssignedIdentities":`+string(entries))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func drawBlock(t *rapid.T, names []string) *wireBlock {
	b := &wireBlock{}
	if rapid.IntRange(0, 4).Draw(t, "typed") > 0 {
		kind := rapid.SampledFrom([]string{"None", "SystemAssigned", "userassigned", "SystemAssigned,UserAssigned", "SystemAssigned, UserAssigned", "Both"}).Draw(t, "type")
		b.typ = &kind
	}
	if rapid.Bool().Draw(t, "entries") {
		b.entries = map[string]*struct{}{}
		for _, name := range names {
			for _, spelled := range []string{badgePath(name), strings.ToLower(badgePath(name))} {
				switch rapid.IntRange(0, 9).Draw(t, spelled) {
				case 0, 1, 2:
					b.entries[spelled] = &struct{}{}
				case 3, 4:
					b.entries[spelled] = nil
				}
			}
		}
	}
	return b
}

// The engine agrees with the model on every sequence of writes, deletions and
// rebirths, and its directory has the principals that it shows, and no others.
func TestIdentityModel(t *testing.T) {
	w := badgeWorld(t)
	names := []string{"Aa", "Bb", "Cc"}
	host := 0
	rapid.Check(t, func(t *rapid.T) {
		host++
		url := hostPath(fmt.Sprintf("host-%d", host)) + version
		m := identityModel{attached: map[string][2]string{}, alive: map[string]string{}}
		for _, name := range names {
			made := w.owner(http.MethodPut, badgePath(name)+version, `{"location":"westeurope"}`)
			m.alive[strings.ToLower(badgePath(name))] = fmt.Sprint(made.property("principalId"))
		}
		principal := ""
		steps := rapid.IntRange(1, 12).Draw(t, "steps")
		for range steps {
			switch action := rapid.IntRange(0, 9).Draw(t, "action"); {
			case action == 0:
				name := rapid.SampledFrom(names).Draw(t, "deleted")
				w.owner(http.MethodDelete, badgePath(name)+version, "")
				delete(m.alive, strings.ToLower(badgePath(name)))
			case action == 1:
				name := rapid.SampledFrom(names).Draw(t, "made")
				made := w.owner(http.MethodPut, badgePath(name)+version, `{"location":"westeurope"}`)
				m.alive[strings.ToLower(badgePath(name))] = fmt.Sprint(made.property("principalId"))
			case action == 2:
				w.owner(http.MethodDelete, url, "")
				m.exists, m.block, m.system, m.attached = false, false, false, map[string][2]string{}
			default:
				patch := m.exists && action > 5
				var b *wireBlock
				if rapid.IntRange(0, 5).Draw(t, "block") > 0 {
					b = drawBlock(t, names)
				}
				m = checkStep(t, w, url, m, patch, b, principal)
			}
			principal = checkState(t, w, url, m, principal)
		}
		w.owner(http.MethodDelete, url, "")
		if left := w.systemPrincipals(); len(left) != 0 {
			t.Fatalf("principals are left: %+v", left)
		}
	})
}

// checkStep makes a write and compares the answer with the model's.
func checkStep(t *rapid.T, w *world, url string, m identityModel, patch bool, b *wireBlock, principal string) identityModel {
	method, body := http.MethodPut, hostBody("")
	if b != nil {
		body = hostBody(b.text())
	}
	if patch {
		method = http.MethodPatch
	}
	code, next := m.apply(patch, b)
	got := w.owner(method, url, body)
	if code == "" && got.Status >= http.StatusBadRequest || code != "" && got.ErrorCode() != code {
		t.Fatalf("%s %s: answered %d %s, want %q", method, body, got.Status, got.Body, code)
	}
	if m.system && next.system && got.Status < http.StatusBadRequest && got.block(w.TB).PrincipalID != principal {
		t.Fatalf("%s %s: the principal changed", method, body)
	}
	return next
}

// checkState compares what the resource shows, and gives its own principal.
func checkState(t *rapid.T, w *world, url string, m identityModel, before string) string {
	got := w.owner(http.MethodGet, url, "")
	if !m.exists {
		if got.Status != http.StatusNotFound || len(w.systemPrincipals()) != 0 {
			t.Fatalf("there is %s, with %d principals", got.Body, len(w.systemPrincipals()))
		}
		return ""
	}
	block := got.block(w.TB)
	principal := ""
	if block != nil {
		principal = block.PrincipalID
		for id, a := range block.UserAssigned {
			if p, ok := w.Directory.Principal(tenantID, a.PrincipalID); a.PrincipalID != "" && (!ok || p.AppID != a.ClientID) {
				t.Fatalf("%s shows the client ID %s", id, a.ClientID)
			}
			a.ClientID = ""
			block.UserAssigned[id] = a
		}
	}
	if diff := cmp.Diff(m.shown(principal), block); diff != "" {
		t.Fatalf("the block (-want +got):\n%s", diff)
	}
	owned := w.systemPrincipals()
	switch {
	case m.system && (len(owned) != 1 || owned[0].ObjectID != principal):
		t.Fatalf("the principals are %+v, the resource shows %q", owned, principal)
	case !m.system && len(owned) != 0:
		t.Fatalf("the principals are %+v", owned)
	}
	return principal
}
