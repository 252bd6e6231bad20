package workloadidentity

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

const (
	clientID = "5b3fc2f4-9d2c-4a0e-8a0f-1d7d3a1b6c11"
	tenantID = "2f0b4a5e-1d5d-4f3a-9f59-0a8f6c2b7e22"
)

func testSettings(tb testing.TB, change func(*Settings)) *Settings {
	tb.Helper()
	s := &Settings{TenantID: tenantID, AuthorityHost: "https://login.microsoftonline.com/"}
	if change != nil {
		change(s)
	}
	if err := s.Validate(); err != nil {
		tb.Fatal(err)
	}
	return s
}

func annotated() ServiceAccount {
	return ServiceAccountOf("ns", "app", map[string]string{ClientIDAnnotation: clientID})
}

// review wraps a pod as the API server does.
func review(pod string) []byte {
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1",`+
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},`+
		`"namespace":"ns","operation":"CREATE","userInfo":{"username":"kubernetes-admin","groups":["system:masters"]},`+
		`"object":%s,"oldObject":null,"dryRun":false,"options":null}}`, pod)
}

func parsePod(tb testing.TB, pod string) *Pod {
	tb.Helper()
	r, err := ParseReview(review(pod))
	if err != nil {
		tb.Fatalf("%v\n%s", err, pod)
	}
	return r.Request.Object
}

// mutate decides about a pod and applies the patch with a library that has
// nothing to do with this package.
func mutate(tb testing.TB, pod string, sa ServiceAccount, s *Settings) (string, Mutation) {
	tb.Helper()
	m, err := Decide(parsePod(tb, pod), sa, s, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return apply(tb, pod, m.Patch), m
}

func apply(tb testing.TB, pod string, p Patch) string {
	tb.Helper()
	raw := p.AppendJSON(nil)
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		tb.Fatalf("no patch: %v\n%s", err, raw)
	}
	out, err := patch.Apply([]byte(pod))
	if err != nil {
		tb.Fatalf("the patch does not apply: %v\n%s\n%s", err, raw, pod)
	}
	if err := onlyAdds(decode(tb, pod), decode(tb, string(out)), ""); err != nil {
		tb.Fatalf("the patch takes away: %v\n%s\n%s\n%s", err, raw, pod, out)
	}
	return string(out)
}

func decode(tb testing.TB, raw string) any {
	tb.Helper()
	var v any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		tb.Fatalf("%v\n%s", err, raw)
	}
	return v
}

// onlyAdds: every field of before is in after with its value, and the elements
// of every array are still there, in their order.
func onlyAdds(before, after any, at string) error {
	switch b := before.(type) {
	case map[string]any:
		a, ok := after.(map[string]any)
		if !ok {
			return fmt.Errorf("%s was an object", at)
		}
		for k, v := range b {
			if err := onlyAdds(v, a[k], at+"/"+k); err != nil {
				return err
			}
		}
	case []any:
		a, ok := after.([]any)
		if !ok {
			return fmt.Errorf("%s was an array", at)
		}
		next := 0
		for i, v := range b {
			for ; next < len(a); next++ {
				if onlyAdds(v, a[next], at) == nil {
					break
				}
			}
			if next == len(a) {
				return fmt.Errorf("%s/%d is gone or moved", at, i)
			}
			next++
		}
	case nil: // a list that was null may be one now
	default:
		if !reflect.DeepEqual(before, after) {
			return fmt.Errorf("%s was %v, is %v", at, before, after)
		}
	}
	return nil
}

// at reads a value by its path.
func at(tb testing.TB, raw string, path ...any) any {
	tb.Helper()
	v := decode(tb, raw)
	for _, p := range path {
		switch key := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			a, _ := v.([]any)
			if key >= len(a) {
				return nil
			}
			v = a[key]
		}
	}
	return v
}

func names(tb testing.TB, raw string, path ...any) []string {
	tb.Helper()
	list, _ := at(tb, raw, path...).([]any)
	var out []string
	for _, e := range list {
		out = append(out, e.(map[string]any)["name"].(string))
	}
	return out
}
