package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lanyard-id/lanyard/internal/standin"
)

// podHeader and podClaims are those of a Kubernetes service-account token.
func podHeader(kid string) map[string]any { return map[string]any{"alg": "RS256", "kid": kid} }

func podClaims(issuer string) map[string]any {
	return map[string]any{
		"iss": issuer, "sub": "system:serviceaccount:ns:name", "aud": []string{"api://AzureADTokenExchange"},
		"iat": standin.Start.Unix(), "nbf": standin.Start.Unix(), "exp": standin.Start.Unix() + 3600, "jti": "id",
		"kubernetes.io": map[string]any{"namespace": "ns"},
	}
}

// padded encodes as older clients do, and signs what it sends.
func padded(t *testing.T, kid string, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for len(b)%3 == 0 {
			b = append(b, ' ') // so that there is padding
		}
		return base64.URLEncoding.EncodeToString(b)
	}
	return signRS256(t, rsaKey(0), part(podHeader(kid))+"."+part(claims)) + "=="
}

func TestParseAssertion(t *testing.T) {
	t.Parallel()
	want := &Assertion{
		Issuer: "https://issuer", Subject: "system:serviceaccount:ns:name",
		Audience: []string{"api://AzureADTokenExchange"}, KeyID: "k", Algorithm: "RS256",
		NotBefore: standin.Start, IssuedAt: standin.Start, Expiry: standin.Start.Add(time.Hour),
	}
	claims := podClaims("https://issuer")
	for name, raw := range map[string]string{
		"plain":  forge(t, rsaKey(0), podHeader("k"), claims),
		"padded": padded(t, "k", claims),
	} {
		a, err := ParseAssertion(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, a, cmpopts.IgnoreUnexported(Assertion{}), cmpopts.IgnoreFields(Assertion{}, "Claims")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if ns := a.Claims["kubernetes.io"].(map[string]any)["namespace"]; ns != "ns" {
			t.Errorf("%s: claims %v", name, a.Claims)
		}
	}
	bare, err := ParseAssertion(segment(t, `{"alg":"PS256","typ":"JWT","x5t":"t","x5c":["c"],"jwk":{}}`) + "." +
		segment(t, `{"aud":"one","exp":1772366400.5}`) + ".")
	if err != nil {
		t.Fatal(err)
	}
	want = &Assertion{Audience: []string{"one"}, Algorithm: "PS256", Type: "JWT", X5T: "t", Expiry: standin.Start.Add(time.Second / 2)}
	if diff := cmp.Diff(want, bare, cmpopts.IgnoreUnexported(Assertion{}), cmpopts.IgnoreFields(Assertion{}, "Claims")); diff != "" {
		t.Error(diff)
	}
}

func TestParseAssertionRefusals(t *testing.T) {
	t.Parallel()
	const head = `{"alg":"RS256"}`
	sig := base64.RawURLEncoding.EncodeToString([]byte("signature"))
	of := func(header, payload string) string { return segment(t, header) + "." + segment(t, payload) + "." + sig }
	for name, raw := range map[string]string{
		"empty":             "",
		"words":             "not a token",
		"two parts":         "a.b",
		"four parts":        of(head, "{}") + ".x",
		"too long":          of(head, `{"x":"`+strings.Repeat("x", maxTokenBytes)+`"}`),
		"line break":        of(head, "{}") + "\n",
		"line break inside": "e\n" + of(head, "{}")[1:],
		"space":             " " + of(head, "{}"),
		"wrong padding":     segment(t, head) + "=." + segment(t, "{}") + "." + sig,
		"too much padding":  segment(t, head) + "." + segment(t, "{}") + "===." + sig,
		"standard alphabet": segment(t, head) + "." + base64.StdEncoding.EncodeToString([]byte(`{"x":"???>>>"}`)) + "." + sig,
		"signature":         segment(t, head) + "." + segment(t, "{}") + ".!",
		"header no JSON":    of("x", "{}"),
		"header null":       of("null", "{}"),
		"header a list":     of("[]", "{}"),
		"header twice":      of(`{"alg":"RS256","alg":"none"}`, "{}"),
		"header trailing":   of(head+"{}", "{}"),
		"no alg":            of("{}", "{}"),
		"empty alg":         of(`{"alg":""}`, "{}"),
		"alg a number":      of(`{"alg":1}`, "{}"),
		"alg null":          of(`{"alg":null}`, "{}"),
		"kid a number":      of(`{"alg":"RS256","kid":1}`, "{}"),
		"kid null":          of(`{"alg":"RS256","kid":null}`, "{}"),
		"kid too long":      of(`{"alg":"RS256","kid":"`+strings.Repeat("k", 257)+`"}`, "{}"),
		"typ a list":        of(`{"alg":"RS256","typ":[]}`, "{}"),
		"crit":              of(`{"alg":"RS256","crit":["b64"],"b64":false}`, "{}"),
		"payload no JSON":   of(head, "x"),
		"payload null":      of(head, "null"),
		"payload a list":    of(head, "[]"),
		"payload twice":     of(head, `{"sub":"a","sub":"b"}`),
		"iss a number":      of(head, `{"iss":1}`),
		"iss null":          of(head, `{"iss":null}`),
		"sub a list":        of(head, `{"sub":["a"]}`),
		"aud a number":      of(head, `{"aud":1}`),
		"aud null":          of(head, `{"aud":null}`),
		"aud of numbers":    of(head, `{"aud":[1]}`),
		"exp a string":      of(head, `{"exp":"1"}`),
		"exp negative":      of(head, `{"exp":-1}`),
		"exp beyond years":  of(head, `{"exp":253402300800}`),
		"exp huge":          of(head, `{"exp":1e308}`),
		"exp beyond floats": of(head, `{"exp":1e999}`),
		"nbf null":          of(head, `{"nbf":null}`),
		"iat an object":     of(head, `{"iat":{}}`),
		"deep":              of(head, strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 1999)),
	} {
		t.Run(name, func(t *testing.T) {
			a, err := ParseAssertion(raw)
			if err == nil {
				t.Fatalf("parsed as %v", a)
			}
			if a != nil {
				t.Error("an error comes with an assertion")
			}
			wantNoLeak(t, err, raw)
		})
	}
}

// Names are taken as they are spelled: another program's "Sub" is not "sub".
func TestAssertionNamesAreExact(t *testing.T) {
	t.Parallel()
	a, err := ParseAssertion(segment(t, `{"alg":"RS256","Alg":"none","KID":"x"}`) + "." +
		segment(t, `{"sub":"me","Sub":"other","ISS":"https://other"}`) + ".")
	if err != nil {
		t.Fatal(err)
	}
	if a.Algorithm != "RS256" || a.KeyID != "" || a.Subject != "me" || a.Issuer != "" {
		t.Errorf("read as %+v", a)
	}
}

func TestAssertionIsNotPrinted(t *testing.T) {
	t.Parallel()
	raw := forge(t, rsaKey(0), podHeader("k"), podClaims("https://issuer"))
	a, err := ParseAssertion(raw)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "assertion", a, "value", *a)
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "assertion", a, "value", *a)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&log, format+" "+format, a, *a)
	}
	text := log.String()
	header, body, sig := cut(raw)
	signature, err := decodeSegment(sig, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{header, body, sig, string(signature[:16]), fmt.Sprint(signature[0], signature[1], signature[2])} {
		if strings.Contains(text, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if !strings.Contains(text, "https://issuer") {
		t.Error("the log does not name the issuer")
	}
}
