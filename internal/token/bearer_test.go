package token

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestBearer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []string
		want   string
		err    error
	}{
		"as it should be":          {[]string{"Bearer a.b.c"}, "a.b.c", nil},
		"the scheme in lower case": {[]string{"bearer a.b.c"}, "a.b.c", nil},
		"the scheme in upper case": {[]string{"BEARER a.b.c"}, "a.b.c", nil},
		"several spaces":           {[]string{"Bearer   a.b.c  "}, "a.b.c", nil},
		"a tab after the space":    {[]string{"Bearer \ta.b.c"}, "a.b.c", nil},
		"spaces inside":            {[]string{"Bearer a b"}, "a b", nil}, // the verifier refuses it
		"no header":                {nil, "", ErrNoBearer},
		"an empty header":          {[]string{""}, "", ErrNoBearer},
		"an empty one and another": {[]string{"", "Bearer a.b.c"}, "", ErrNoBearer},
		"another scheme":           {[]string{"Basic b3duZXI6c2VjcmV0"}, "", ErrNotBearer},
		"the scheme alone":         {[]string{"Bearer"}, "", ErrNotBearer},
		"an empty token":           {[]string{"Bearer    "}, "", ErrNotBearer},
		"the token alone":          {[]string{"a.b.c"}, "", ErrNotBearer},
		"a space before":           {[]string{" Bearer a.b.c"}, "", ErrNotBearer},
		"a tab for the space":      {[]string{"Bearer\ta.b.c"}, "", ErrNotBearer},
		"a longer scheme":          {[]string{"Bearers a.b.c"}, "", ErrNotBearer},
		"another scheme first":     {[]string{"Basic x", "Bearer a.b.c"}, "", ErrNotBearer},
		"two tokens":               {[]string{"Bearer a.b.c", "Bearer d.e.f"}, "", ErrManyBearers},
		"the same token twice":     {[]string{"Bearer a.b.c", "Bearer a.b.c"}, "", ErrManyBearers},
		"an empty one after":       {[]string{"Bearer a.b.c", ""}, "", ErrManyBearers},
		"another scheme after":     {[]string{"Bearer a.b.c", "Basic x"}, "", ErrManyBearers},
	} {
		got, err := Bearer(http.Header{"Authorization": test.values, "Proxy-Authorization": {"Bearer p.q.r"}})
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, test.want, test.err)
		}
	}
}

// FuzzBearer: a header gives a part of itself or an error, and a second header
// takes away what the first alone would give.
func FuzzBearer(f *testing.F) {
	for _, value := range []string{"Bearer a.b.c", "bearer  x ", "Basic x", "Bearer", "", " ", "\u212aearer x", "Bearer \u00a0"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		raw, err := Bearer(http.Header{"Authorization": {value}})
		if (raw == "") != (err != nil) || !strings.HasSuffix(strings.TrimSpace(value), raw) || raw != strings.TrimSpace(raw) {
			t.Fatalf("%q gave %q, %v", value, raw, err)
		}
		if again, err := Bearer(http.Header{"Authorization": {value, "Bearer x"}}); again != "" || err == nil {
			t.Fatalf("%q and another gave %q", value, again)
		}
	})
}
