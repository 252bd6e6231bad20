package issuer

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/token"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	_, curve := ellipticKey(t)
	for issuer, keysURL := range map[string]string{
		"https://oidc.example":          "https://oidc.example/openid/v1/jwks",
		"https://oidc.example/cluster/": "https://oidc.example/cluster/openid/v1/jwks",
	} {
		d := documents(t, issuer, publicKey(t, 0), curve, publicKey(t, 0))
		var got map[string]any
		if err := json.Unmarshal(d.Discovery, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"issuer": issuer, "jwks_uri": keysURL,
			"response_types_supported":              []any{"id_token"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256", "ES256"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		keys, err := token.ParseKeySet(d.KeySet)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]token.VerificationKey{publicKey(t, 0), curve}, keys); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDocumentsRefusals(t *testing.T) {
	t.Parallel()
	twin := publicKey(t, 1)
	twin.ID = publicKey(t, 0).ID
	for want, try := range map[string]struct {
		url  string
		keys []token.VerificationKey
	}{
		"not https":         {"http://oidc.example", []token.VerificationKey{publicKey(t, 0)}},
		"query":             {"https://oidc.example?x", []token.VerificationKey{publicKey(t, 0)}},
		"no key to publish": {issuerURL, nil},
		"two different":     {issuerURL, []token.VerificationKey{publicKey(t, 0), twin}},
	} {
		_, err := NewDocuments(try.url, try.keys)
		wantError(t, err, want)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPublish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "new", "folder")
	a, b := publicKey(t, 0), publicKey(t, 1)
	p, err := documents(t, issuerURL, a).Publish(folder, false)
	if err != nil {
		t.Fatal(err)
	}
	want := Publication{
		DiscoveryFile: filepath.Join(folder, ".well-known", "openid-configuration"), KeySetFile: filepath.Join(folder, "openid", "v1", "jwks"),
		Added: []string{a.ID}, Kept: []string{}, Removed: []string{},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	for _, file := range []string{p.DiscoveryFile, p.KeySetFile} {
		if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o644 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}

	// A key more, and then one less: that must be said.
	p, err = documents(t, issuerURL, b, a).Publish(folder, false)
	if err != nil || !cmp.Equal(p.Added, []string{b.ID}) || !cmp.Equal(p.Kept, []string{a.ID}) {
		t.Errorf("%+v, %v", p, err)
	}
	before := read(t, p.KeySetFile)
	_, err = documents(t, issuerURL, b).Publish(folder, false)
	removed, ok := errors.AsType[*RemovedKeysError](err)
	if !ok || !cmp.Equal(removed.KeyIDs, []string{a.ID}) || read(t, p.KeySetFile) != before {
		t.Errorf("%v", err)
	}
	p, err = documents(t, issuerURL, b).Publish(folder, true)
	if err != nil || !cmp.Equal(p.Removed, []string{a.ID}) {
		t.Errorf("%+v, %v", p, err)
	}
	keys, err := token.ParseKeySet([]byte(read(t, p.KeySetFile)))
	if err != nil || !cmp.Equal(keyIDs(keys), []string{b.ID}) {
		t.Errorf("%v, %v", keys, err)
	}
}

// What is not this issuer's is not replaced.
func TestPublishLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d := documents(t, issuerURL, publicKey(t, 0))
	p, err := d.Publish(folder, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = documents(t, issuerURL+"/", publicKey(t, 0)).Publish(folder, true)
	wantError(t, err, "publishes another issuer, "+issuerURL+":")

	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(p.DiscoveryFile, "<html>")
	_, err = d.Publish(folder, true)
	wantError(t, err, "is not a discovery document")
	write(p.KeySetFile, "<html>")
	_, err = d.Publish(folder, true)
	wantError(t, err, "is not a key set of an issuer")
	if got := read(t, p.KeySetFile); got != "<html>" {
		t.Errorf("it was replaced: %s", got)
	}

	// Half a publication, as a crash leaves it, is finished.
	if err := errors.Join(os.WriteFile(p.KeySetFile, d.KeySet, 0o600), os.Remove(p.DiscoveryFile)); err != nil {
		t.Fatal(err)
	}
	if p, err = d.Publish(folder, false); err != nil || len(p.Kept) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	read(t, p.DiscoveryFile)

	_, err = d.Publish(filepath.Join(p.KeySetFile, "below"), false)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
}
