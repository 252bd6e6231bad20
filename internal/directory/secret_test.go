package directory

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/standin"
	"github.com/lanyard-id/lanyard/internal/store"
)

func TestSecretText(t *testing.T) {
	// The form by which public secret scanners know Entra's secrets.
	form := regexp.MustCompile(`^[a-zA-Z0-9]{3}8Q~[a-zA-Z0-9]{34}$`)
	seen := map[string]bool{}
	letters := map[rune]bool{}
	for range 200 {
		s, text := newSecret()
		if !form.MatchString(text) {
			t.Fatalf("%q does not look like a client secret", text)
		}
		if s.Hint != text[:3] || seen[text] {
			t.Fatalf("the hint is %q, seen before: %v", s.Hint, seen[text])
		}
		seen[text] = true
		for _, r := range text {
			letters[r] = true
		}
	}
	for _, r := range secretAlphabet {
		if !letters[r] {
			t.Errorf("%q never occurs", r)
		}
	}
}

func TestCheckSecret(t *testing.T) {
	past, pastText := newSecret()
	past.Start, past.End = standin.Start.Add(-48*time.Hour), standin.Start
	live, liveText := newSecret()
	live.Start, live.End = standin.Start, standin.Start.Add(time.Hour)
	future, futureText := newSecret()
	future.Start, future.End = standin.Start.Add(time.Minute), standin.Start.Add(time.Hour)
	// The same text as an expired and as a valid secret counts as valid.
	revived := past
	revived.End = standin.Start.Add(time.Hour)

	for _, tt := range []struct {
		name        string
		secrets     []Secret
		text        string
		ok, expired bool
	}{
		{"valid", []Secret{past, live, future}, liveText, true, false},
		{"expired", []Secret{past, live, future}, pastText, false, true},
		{"not yet valid", []Secret{past, live, future}, futureText, false, false},
		{"wrong", []Secret{past, live, future}, "abc8Q~" + strings.Repeat("x", 34), false, false},
		{"one character off", []Secret{live}, liveText[:39] + "~", false, false},
		{"shorter", []Secret{live}, liveText[:39], false, false},
		{"longer", []Secret{live}, liveText + "x", false, false},
		{"empty", []Secret{live}, "", false, false},
		{"the key ID in place of the secret", []Secret{live}, live.KeyID, false, false},
		{"the hash in place of the secret", []Secret{live}, string(live.Hash), false, false},
		{"no secrets", nil, liveText, false, false},
		{"a secret without a hash", []Secret{{Start: live.Start, End: live.End}}, "", false, false},
		{"expired and valid", []Secret{past, revived}, pastText, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := Application{Secrets: tt.secrets}
			if ok, expired := app.CheckSecret(tt.text, standin.Start); ok != tt.ok || expired != tt.expired {
				t.Errorf("ok %v, expired %v; want %v, %v", ok, expired, tt.ok, tt.expired)
			}
		})
	}
}

func TestAddSecret(t *testing.T) {
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	add := func(tenantID, appID string, end time.Time) (secret Secret, text string, err error) {
		err = f.update(func(tx *store.Tx) (err error) {
			secret, text, err = f.AddSecret(tx, tenantID, appID, "laptop", end)
			return err
		})
		return secret, text, err
	}
	first, firstText, err := add(contoso, strings.ToUpper(app.AppID), standin.Start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if first.DisplayName != "laptop" || !first.Start.Equal(standin.Start) || !first.End.Equal(standin.Start.Add(time.Hour)) {
		t.Errorf("the secret is %+v", first)
	}
	second, secondText, err := add(contoso, app.AppID, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if want := standin.Start.AddDate(2, 0, 0); !second.End.Equal(want) {
		t.Errorf("without an end the secret ends %v, want %v", second.End, want)
	}
	check := func(text string) (ok, expired bool) {
		c, found := f.Client(contoso, app.AppID)
		if !found || c.Application == nil {
			t.Fatalf("the client is %+v", c)
		}
		return c.Application.CheckSecret(text, f.clock.Now())
	}
	for _, text := range []string{firstText, secondText} {
		if ok, _ := check(text); !ok {
			t.Error("a secret is not accepted right after Update")
		}
	}
	f.clock.Advance(time.Hour)
	if ok, expired := check(firstText); ok || !expired {
		t.Errorf("after its end the secret is ok %v, expired %v", ok, expired)
	}

	page, err := f.st.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Entries {
		if strings.Contains(string(e.Value), firstText[6:]) || strings.Contains(string(e.Value), secondText[6:]) {
			t.Errorf("%s holds a secret's text", e.Key)
		}
	}

	_, _, err = add(contoso, app.AppID, f.clock.Now())
	wantError(t, err, 400, "Request_BadRequest",
		"Invalid value specified for property 'passwordCredentials' of resource 'Application'. The end date is in the past.")
	_, _, err = add(fabrikam, app.AppID, time.Time{})
	wantError(t, err, 404, "Request_ResourceNotFound",
		"Resource '"+app.AppID+"' does not exist or one of its queried reference-property objects are not present.")
	mi := f.identity(contoso, "id1")
	_, _, err = add(contoso, mi.AppID, time.Time{})
	wantError(t, err, 404, "Request_ResourceNotFound",
		"Resource '"+mi.AppID+"' does not exist or one of its queried reference-property objects are not present.")
}

func TestAddSecretLimit(t *testing.T) {
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	f.must(func(tx *store.Tx) error {
		for range maxSecrets {
			if _, _, err := f.AddSecret(tx, contoso, app.AppID, "", time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	wantError(t, f.update(func(tx *store.Tx) error {
		_, _, err := f.AddSecret(tx, contoso, app.AppID, "", time.Time{})
		return err
	}), 400, "Request_BadRequest", "The application has 50 client secrets, which is the most it can have.")
}

func BenchmarkCheckSecret(b *testing.B) {
	secret, text := newSecret()
	secret.End = standin.Start.Add(time.Hour)
	app := Application{Secrets: []Secret{secret}}
	for b.Loop() {
		if ok, _ := app.CheckSecret(text, standin.Start); !ok {
			b.Fatal("refused")
		}
	}
}

func TestRemoveSecret(t *testing.T) {
	f := newFixture(t)
	app, _ := f.application(contoso, "app")
	var secrets [2]Secret
	var texts [2]string
	f.must(func(tx *store.Tx) (err error) {
		for i := range secrets {
			if secrets[i], texts[i], err = f.AddSecret(tx, contoso, app.AppID, "", time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	remove := func(tenantID, keyID string) error {
		return f.update(func(tx *store.Tx) error { return f.RemoveSecret(tx, tenantID, app.AppID, keyID) })
	}
	for range 2 { // repeating it is no error
		if err := remove(contoso, secrets[0].KeyID); err != nil {
			t.Fatal(err)
		}
	}
	c, _ := f.Client(contoso, app.AppID)
	for i, want := range []bool{false, true} {
		if ok, expired := c.Application.CheckSecret(texts[i], standin.Start); ok != want || expired {
			t.Errorf("secret %d is ok %v, expired %v", i, ok, expired)
		}
	}
	wantError(t, remove(fabrikam, secrets[1].KeyID), 404, "Request_ResourceNotFound",
		"Resource '"+app.AppID+"' does not exist or one of its queried reference-property objects are not present.")
}
