package arm

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/rbac"
)

// inlineWorld has boxes, whose lids are resources of their own and part of the
// box.
func inlineWorld(tb testing.TB) *world {
	tb.Helper()
	boxes := Define(Spec{
		Name: "Test.Things/boxes", Versions: []string{"2021-04-01"}, In: AtResourceGroup, Tracked: true, ETag: "etag",
		ProvisioningState: true, Inline: map[string]string{"lids": "Test.Things/boxes/lids"},
	}, Hooks[json.RawMessage]{})
	lids := Define(Spec{Name: "Test.Things/boxes/lids", Versions: []string{"2021-04-01"}, In: AtResourceGroup, ETag: "etag"}, Hooks[thing]{
		Put: func(_ context.Context, p *Put[thing]) error {
			if p.New.Properties.Color == "invisible" {
				return azure.Errorf(http.StatusBadRequest, "InvalidColor", "Nobody can see %s of %s.", p.Name, p.ID.Parent().Name())
			}
			return nil
		},
		Delete: func(_ context.Context, r *Request, old *Resource[thing]) error {
			r.Tx.Put("deleted/"+old.ID.Key(), nil)
			return nil
		},
	})
	w := newWorld(tb, boxes, lids)
	w.group("rg")
	return w
}

func boxPath(name string) string { return groupPath("rg") + "/providers/Test.Things/boxes/" + name }

// boxBody is a box's body with lids of these colors; nil is a body without lids.
func boxBody(lids map[string]string) string {
	if lids == nil {
		return `{"location":"westeurope","properties":{"size":1}}`
	}
	var items []string
	for _, name := range slices.Sorted(maps.Keys(lids)) {
		items = append(items, fmt.Sprintf(`{"name":%q,"id":"echoed","etag":"echoed","properties":{"color":%q}}`, name, lids[name]))
	}
	return fmt.Sprintf(`{"location":"westeurope","properties":{"size":1,"lids":[%s]}}`, strings.Join(items, ","))
}

// lids gives what a box shows of its lids, by name.
func (a answer) lids() map[string]string {
	shown := map[string]string{}
	list, _ := a.property("lids").([]any)
	for _, item := range list {
		lid, _ := item.(map[string]any)
		properties, _ := lid["properties"].(map[string]any)
		shown[fmt.Sprint(lid["name"])] = fmt.Sprint(properties["color"])
	}
	return shown
}

// However children are written, by themselves or with their parent, both show the
// same; those that a parent's write doesn't list are gone, and without a list
// they stay.
func TestInlineModel(t *testing.T) {
	w := inlineWorld(t)
	box := 0
	rapid.Check(t, func(t *rapid.T) {
		box++
		url := boxPath(fmt.Sprintf("box-%d", box))
		colors := rapid.SampledFrom([]string{"red", "blue"})
		names := rapid.SampledFrom([]string{"a", "b", "c"})
		model := map[string]string{}
		w.owner(http.MethodPut, url+version, boxBody(nil))
		tag := ""
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			before := maps.Clone(model)
			switch rapid.IntRange(0, 4).Draw(t, "action") {
			case 0:
				model = rapid.MapOfN(names, colors, 0, 3).Draw(t, "lids")
				w.owner(http.MethodPut, url+version, boxBody(model))
			case 1:
				model = rapid.MapOfN(names, colors, 0, 3).Draw(t, "patched")
				w.owner(http.MethodPatch, url+version, boxBody(model))
			case 2:
				w.owner(http.MethodPut, url+version, boxBody(nil))
			case 3:
				name := names.Draw(t, "name")
				model[name] = colors.Draw(t, "color")
				w.owner(http.MethodPut, url+"/lids/"+name+version, fmt.Sprintf(`{"properties":{"color":%q}}`, model[name]))
			default:
				name := names.Draw(t, "deleted")
				delete(model, name)
				w.owner(http.MethodDelete, url+"/lids/"+name+version, "")
			}
			got := w.owner(http.MethodGet, url+version, "")
			if shown := got.lids(); !maps.Equal(shown, model) || got.property("size") != 1.0 {
				t.Fatalf("the box shows %v, want %v: %s", shown, model, got.Body)
			}
			list := w.owner(http.MethodGet, url+"/lids"+version, "")
			if items, _ := list.doc["value"].([]any); len(items) != len(model) {
				t.Fatalf("the list is %s, want %v", list.Body, model)
			}
			if same := got.Header.Get("ETag") == tag; tag != "" && same != maps.Equal(before, model) {
				t.Fatalf("the tag went from %s to %s while the lids went from %v to %v", tag, got.Header.Get("ETag"), before, model)
			}
			tag = got.Header.Get("ETag")
		}
	})
}

func TestInlineRefusals(t *testing.T) {
	w := inlineWorld(t)
	url := boxPath("one")
	w.want(http.StatusCreated, http.MethodPut, url+version, boxBody(map[string]string{"a": "red"}))
	for name, tt := range map[string]struct{ lids, code, words string }{
		"no list":          {`{}`, "InvalidRequestContent", "Path 'properties.lids'"},
		"no name":          {`[{"properties":{}}]`, "InvalidRequestContent", "Path 'properties.lids[0]'"},
		"a name twice":     {`[{"name":"b"},{"name":"B"}]`, "InvalidRequestContent", "'B' is used twice"},
		"no object":        {`["b"]`, "InvalidRequestContent", "properties.lids"},
		"no properties":    {`[{"name":"b","properties":[]}]`, "InvalidRequestContent", "Path 'properties.lids[0].properties'"},
		"a bad name":       {`[{"name":"b/c"}]`, "InvalidResourceName", "b/c"},
		"a dotted name":    {`[{"name":".."}]`, "InvalidResourceName", ".."},
		"the child's rule": {`[{"name":"b","properties":{"color":"invisible"}}]`, "InvalidColor", "b of one"},
	} {
		got := w.owner(http.MethodPut, url+version, `{"location":"westeurope","properties":{"lids":`+tt.lids+`}}`)
		if got.Status != http.StatusBadRequest || got.ErrorCode() != tt.code || !strings.Contains(got.Body, tt.words) {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	// A refusal leaves all as it was; null is no list; names fold.
	if got := w.want(http.StatusOK, http.MethodPut, url+version, `{"location":"westeurope","properties":{"size":1,"LIDS":null}}`); !maps.Equal(got.lids(), map[string]string{"a": "red"}) {
		t.Errorf("left are %s", got.Body)
	}
	if got := w.want(http.StatusOK, http.MethodPut, url+version, boxBody(map[string]string{"A": "red"})); len(got.lids()) != 1 {
		t.Errorf("renamed to %s", got.Body)
	}
	if got := w.want(http.StatusOK, http.MethodGet, groupPath("rg")+"/providers/Test.Things/boxes"+version, ""); !strings.Contains(got.Body, `"color":"red"`) {
		t.Errorf("the list of boxes is %s", got.Body)
	}
	if got := w.owner(http.MethodPut, url+version, fmt.Sprintf(`{"location":"westeurope","properties":{"text":%q}}`, strings.Repeat("x", 2<<20))); got.Status != http.StatusRequestEntityTooLarge || got.ErrorCode() != "RequestContentTooLarge" {
		t.Errorf("too large: %d %.200s", got.Status, got.Body)
	}
}

// A child that is left out goes with its roles; one with very many must be
// deleted by itself, which takes several transactions.
func TestInlineRoles(t *testing.T) {
	w := inlineWorld(t)
	url := boxPath("one")
	w.want(http.StatusCreated, http.MethodPut, url+version, boxBody(map[string]string{"a": "red", "b": "red"}))
	roles := func(lid string, n int) {
		for range n {
			w.Assign(uuid.NewString(), azure.RoleReader, mustID(t, url+"/lids/"+lid))
		}
	}
	roles("a", 1)
	roles("b", rbac.MaxDeleteBelow+1)
	w.want(http.StatusOK, http.MethodPut, url+version, boxBody(map[string]string{"b": "red"}))
	if _, err := w.Store.Get(t.Context(), "deleted/"+strings.ToLower(url)+"/lids/a"); err != nil {
		t.Errorf("the child's Delete hook did not run: %v", err)
	}
	if got := w.owner(http.MethodPut, url+version, boxBody(map[string]string{})); got.Status != http.StatusConflict || got.ErrorCode() != "Conflict" {
		t.Errorf("answered %d %s", got.Status, got.Body)
	}
	w.want(http.StatusOK, http.MethodDelete, url+"/lids/b"+version, "")
	all, err := w.Guard.ListAssignments(t.Context(), tenantID)
	cloudtest.Must(t, err)
	if n := slices.IndexFunc(all, func(a rbac.Assignment) bool { return strings.Contains(a.Scope.Key(), "/lids/") }); n >= 0 {
		t.Errorf("left is %+v", all[n])
	}
}

// A parent that was read before a child changed cannot be written over it.
func TestInlineTags(t *testing.T) {
	w := inlineWorld(t)
	url := boxPath("one")
	read := w.want(http.StatusCreated, http.MethodPut, url+version, boxBody(map[string]string{"a": "red"}))
	w.want(http.StatusCreated, http.MethodPut, url+"/lids/b"+version, `{"properties":{"color":"blue"}}`)
	lost := w.owner(http.MethodPut, url+version, boxBody(read.lids()), "If-Match", read.Header.Get("ETag"))
	if lost.Status != http.StatusPreconditionFailed {
		t.Errorf("answered %d %s", lost.Status, lost.Body)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if got := w.owner(http.MethodPut, fmt.Sprintf("%s/lids/many-%d%s", url, i, version), `{"properties":{"color":"red"}}`); got.Status != http.StatusCreated {
				t.Errorf("answered %d %s", got.Status, got.Body)
			}
		})
	}
	wg.Wait()
	if got := w.want(http.StatusOK, http.MethodGet, url+version, ""); len(got.lids()) != 10 {
		t.Errorf("shown are %v", got.lids())
	}
	w.want(http.StatusOK, http.MethodDelete, url+version, "")
	if left := w.Entries("arm" + strings.ToLower(url)); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

// The table refuses children that a parent's write could not do justice to.
func TestInlineTable(t *testing.T) {
	parent := func(child string) Type {
		return Define(Spec{Name: "Test.Things/boxes", Versions: []string{"2021-04-01"}, In: AtResourceGroup, Inline: map[string]string{"lids": child}}, Hooks[json.RawMessage]{})
	}
	lids := func(spec Spec, hooks Hooks[thing]) Type {
		spec.Name, spec.Versions, spec.In = "Test.Things/boxes/lids", []string{"2021-04-01"}, AtResourceGroup
		return Define(spec, hooks)
	}
	for name, types := range map[string][]Type{
		"unknown":   {parent("Test.Things/boxes/lids")},
		"no child":  {parent("Test.Things/things"), thingType()},
		"no type":   {parent("lids")},
		"tracked":   {parent("Test.Things/boxes/lids"), lids(Spec{Tracked: true}, Hooks[thing]{})},
		"identity":  {parent("Test.Things/boxes/lids"), lids(Spec{Members: []string{"identity"}}, Hooks[thing]{})},
		"long runs": {parent("Test.Things/boxes/lids"), lids(Spec{}, Hooks[thing]{AsyncDelete: func(context.Context, *Step, *Resource[thing]) (bool, error) { return true, nil }})},
	} {
		if _, err := newRouter(types); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := newRouter([]Type{parent("Test.Things/boxes/lids"), lids(Spec{}, Hooks[thing]{})}); err != nil {
		t.Error(err)
	}
}
