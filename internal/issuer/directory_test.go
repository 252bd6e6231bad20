package issuer

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/standin"
)

func openDirectory(t *testing.T, c *standin.Clock) *Directory {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "keys"), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// files lists what the directory holds, without its lock.
func files(t *testing.T, d *Directory) []string {
	t.Helper()
	entries, err := os.ReadDir(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}

func wantMode(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != mode {
		t.Errorf("%s has mode %s, not %s", path, fi.Mode().Perm(), mode)
	}
}

func TestDirectoryRotation(t *testing.T) {
	t.Parallel()
	c := standin.NewClock(standin.Start)
	d := openDirectory(t, c)
	_, err := d.State()
	wantError(t, err, "begin with init")
	_, err = d.Prepare(0)
	wantError(t, err, "begin with init")

	s, err := d.Init(InitOptions{Issuer: issuerURL})
	s = try(t, s, err)
	first, _ := s.In(Signing)
	wantMode(t, d.Path(), 0o700)
	wantMode(t, d.PrivateFile(first.ID), 0o600)
	wantMode(t, d.PublicFile(first.ID), 0o644)
	_, err = d.Init(InitOptions{Issuer: issuerURL})
	wantError(t, err, "holds the keys of an issuer already")

	s, err = d.Prepare(0)
	s = try(t, s, err)
	second, _ := s.In(Prepared)
	wantMode(t, d.PrivateFile(second.ID), 0o600)
	_, err = d.Prepare(0)
	wantError(t, err, "prepared already")
	want := Flags{
		APIServer: []string{
			"--service-account-issuer=" + issuerURL,
			"--service-account-jwks-uri=" + issuerURL + "/openid/v1/jwks",
			"--service-account-signing-key-file=" + d.PrivateFile(first.ID),
			"--service-account-key-file=" + d.PublicFile(first.ID),
			"--service-account-key-file=" + d.PublicFile(second.ID),
		},
		ControllerManager: []string{"--service-account-private-key-file=" + d.PrivateFile(first.ID)},
	}
	if diff := cmp.Diff(want, d.Flags(s)); diff != "" {
		t.Error(diff)
	}
	docs, err := d.Documents()
	if err != nil || !cmp.Equal(docs.KeyIDs(), []string{first.ID, second.ID}) || docs.Issuer != issuerURL {
		t.Errorf("%v, %v", docs.KeyIDs(), err)
	}

	_, err = d.Activate()
	wantTooEarly(t, err, standin.Start.Add(DefaultLead))
	c.Advance(DefaultLead)
	s, err = d.Activate()
	s = try(t, s, err)
	want.APIServer[2] = "--service-account-signing-key-file=" + d.PrivateFile(second.ID)
	want.APIServer[3], want.APIServer[4] = want.APIServer[4], want.APIServer[3]
	want.ControllerManager[0] = "--service-account-private-key-file=" + d.PrivateFile(second.ID)
	if diff := cmp.Diff(want, d.Flags(s)); diff != "" {
		t.Error(diff)
	}
	s, err = d.Confirm()
	try(t, s, err)
	c.Advance(DefaultMaxTokenLifetime)
	s, gone, err := d.Retire("", false)
	s = try(t, s, err)
	if len(gone) != 1 || gone[0].ID != first.ID {
		t.Errorf("%v", gone)
	}
	// An API server that is started with its former flags still finds the file.
	left := []string{"sa-" + second.ID + ".key", "sa-" + second.ID + ".pub", "sa-" + first.ID + ".pub", "state.json"}
	slices.Sort(left)
	if diff := cmp.Diff(left, files(t, d)); diff != "" {
		t.Error(diff)
	}
	if strays, err := d.Strays(s); err != nil || !slices.Equal(strays, []string{d.PublicFile(first.ID)}) {
		t.Errorf("%v, %v", strays, err)
	}
	again, err := d.State()
	if diff := cmp.Diff(s, again); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// A cluster's own keys are adopted as they are.
func TestInitAdopts(t *testing.T) {
	t.Parallel()
	c := standin.NewClock(standin.Start)
	d := openDirectory(t, c)
	s, err := d.Init(InitOptions{
		Issuer: issuerURL, Lead: time.Minute, MaxTokenLifetime: time.Hour, SigningKey: privatePEM(0),
		VerificationKeys: [][]byte{append(publicPEM(t, 1), publicPEM(t, 0)...), publicPEM(t, 1)},
	})
	s = try(t, s, err)
	want := State{Issuer: issuerURL, LeadSeconds: 60, MaxTokenLifetimeSeconds: 3600, Keys: []Key{
		{ID: publicKey(t, 1).ID, Phase: Replaced, Algorithm: "RS256", Prepared: standin.Start, LastSigned: standin.Start},
		{ID: publicKey(t, 0).ID, Phase: Signing, Algorithm: "RS256", Prepared: standin.Start, Activated: standin.Start},
	}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
	if got := read(t, d.PrivateFile(publicKey(t, 0).ID)); got != string(privatePEM(0)) {
		t.Error("the private key was changed")
	}
	if _, err := os.Stat(d.PrivateFile(publicKey(t, 1).ID)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a private half from nowhere: %v", err)
	}
	docs, err := d.Documents()
	if err != nil || len(docs.Keys) != 2 {
		t.Errorf("%v, %v", docs, err)
	}
	c.Advance(time.Hour)
	if s, _, err = d.Retire("", false); err != nil || len(s.Keys) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestInitRefusals(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]InitOptions{
		"not https":                         {Issuer: "http://oidc.example"},
		"the signing key: want a file":      {Issuer: issuerURL, SigningKey: publicPEM(t, 0)},
		"the signing key: it holds no PEM":  {Issuer: issuerURL, SigningKey: []byte("key")},
		"one private key, and nothing else": {Issuer: issuerURL, SigningKey: append(privatePEM(0), privatePEM(1)...)},
		"a verification key: it holds no":   {Issuer: issuerURL, VerificationKeys: [][]byte{nil}},
		"not 2048 to 4096":                  {Issuer: issuerURL, Bits: 1024},
	} {
		d := openDirectory(t, standin.NewClock(standin.Start))
		_, err := d.Init(o)
		wantError(t, err, want)
		if _, err := os.Stat(d.Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it left something behind: %v", want, err)
		}
	}
}

// A step that is broken off between a key's files and the state was not taken.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	c := standin.NewClock(standin.Start)
	d := openDirectory(t, c)
	s, err := d.Init(InitOptions{Issuer: issuerURL, SigningKey: privatePEM(0)})
	s = try(t, s, err)
	if err := d.write(publicKey(t, 1), privatePEM(1)); err != nil {
		t.Fatal(err)
	}
	again, err := d.State()
	if diff := cmp.Diff(s, again); diff != "" || err != nil {
		t.Error(diff, err)
	}
	docs, err := d.Documents()
	if err != nil || len(docs.Keys) != 1 {
		t.Errorf("%v, %v", docs, err)
	}
	strays, err := d.Strays(s)
	if want := []string{d.PrivateFile(publicKey(t, 1).ID), d.PublicFile(publicKey(t, 1).ID)}; err != nil || !slices.Equal(strays, want) {
		t.Errorf("%v, %v; want %v", strays, err, want)
	}
	if s, err = d.Prepare(0); err != nil || len(s.Keys) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

// By force a key goes that API servers may still sign with: they must be able to
// start until they have their new flags.
func TestForcedRetirementKeepsWhatIsInUse(t *testing.T) {
	t.Parallel()
	c := standin.NewClock(standin.Start)
	d := openDirectory(t, c)
	s, err := d.Init(InitOptions{Issuer: issuerURL, SigningKey: privatePEM(0), Lead: time.Second})
	try(t, s, err)
	s, err = d.Prepare(0)
	try(t, s, err)
	c.Advance(time.Second)
	s, err = d.Activate()
	try(t, s, err)
	s, gone, err := d.Retire("", true)
	s = try(t, s, err)
	if len(gone) != 1 || len(s.Keys) != 1 || len(files(t, d)) != 5 {
		t.Errorf("%v, %+v, %v", gone, s, files(t, d))
	}
	s, err = d.Prepare(0)
	s = try(t, s, err)
	k, _ := s.In(Prepared)
	if _, _, err := d.Retire(k.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.PrivateFile(k.ID)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the private half of a key that never signed: %v", err)
	}
}

// What was changed by hand is noticed before it signs or is published.
func TestDirectoryTampered(t *testing.T) {
	t.Parallel()
	c := standin.NewClock(standin.Start)
	d := openDirectory(t, c)
	s, err := d.Init(InitOptions{Issuer: issuerURL, SigningKey: privatePEM(0), Lead: time.Second})
	try(t, s, err)
	s, err = d.Prepare(0)
	s = try(t, s, err)
	k, _ := s.In(Prepared)
	c.Advance(time.Second)
	own := []byte(read(t, d.PrivateFile(k.ID)))
	for _, text := range [][]byte{privatePEM(1), own[:100], publicPEM(t, 1)} {
		if err := os.WriteFile(d.PrivateFile(k.ID), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = d.Activate()
		wantError(t, err, "is not the private half of the key "+k.ID)
	}
	if err := os.Remove(d.PrivateFile(k.ID)); err != nil {
		t.Fatal(err)
	}
	_, err = d.Activate()
	wantError(t, err, "the key's private half")

	if err := os.WriteFile(d.PublicFile(k.ID), publicPEM(t, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = d.Documents()
	wantError(t, err, "is not the public half of the key "+k.ID)

	state := filepath.Join(d.Path(), stateName)
	if err := os.WriteFile(state, []byte(strings.ReplaceAll(read(t, state), `"prepared",`, `"signing",`)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { _, err := d.State(); return err },
		func() error { _, err := d.Prepare(0); return err },
		func() error { _, _, err := d.Retire("", true); return err },
	} {
		wantError(t, step(), "state.json: it does not have exactly one key that signs")
	}
}

// Of steps at the same time one is taken after the other.
func TestDirectoryIsLocked(t *testing.T) {
	t.Parallel()
	d := openDirectory(t, standin.NewClock(standin.Start))
	s, err := d.Init(InitOptions{Issuer: issuerURL, SigningKey: privatePEM(0)})
	try(t, s, err)
	errs := make([]error, 4)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = d.Prepare(0) })
	}
	all.Wait()
	failed := 0
	for _, err := range errs {
		if err != nil {
			wantError(t, err, "prepared already")
			failed++
		}
	}
	if failed != 3 || len(files(t, d)) != 5 {
		t.Errorf("%d failed: %v; %v", failed, errs, files(t, d))
	}
}

// An elliptic key can be adopted, so that it can be replaced.
func TestAdoptElliptic(t *testing.T) {
	t.Parallel()
	private, public := ellipticKey(t)
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, standin.NewClock(standin.Start))
	s, err := d.Init(InitOptions{Issuer: issuerURL, SigningKey: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})})
	s = try(t, s, err)
	if k, _ := s.In(Signing); k.ID != public.ID || k.Algorithm != "ES256" {
		t.Errorf("%+v", k)
	}
	if s, err = d.Prepare(0); err != nil || s.Keys[1].Algorithm != "RS256" {
		t.Errorf("%+v, %v", s, err)
	}
}
