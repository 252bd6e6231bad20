package issuer

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Where an issuer's documents are, below its URL without the slash at its end:
// the first by OpenID Connect Discovery 1.0, the second where a Kubernetes API
// server has it.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeySetPath    = "/openid/v1/jwks"
)

// Documents are what an issuer publishes.
type Documents struct {
	// Issuer is its URL, to the letter the iss of its tokens.
	Issuer string
	// Keys are the published keys, each once.
	Keys []token.VerificationKey
	// Discovery and KeySet are the documents as they are written.
	Discovery, KeySet []byte
}

// discovery is the discovery document, with the members that an API server
// writes.
type discovery struct {
	Issuer        string   `json:"issuer"`
	KeysURL       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
}

// KeySetURL is where an issuer's key set is.
func KeySetURL(issuer string) string { return strings.TrimSuffix(issuer, "/") + KeySetPath }

// NewDocuments makes the documents of an issuer. It fails where they would be of
// no use: the URL is not one that Entra accepts, or there is no key. A kid that
// two different keys have is refused too.
func NewDocuments(issuerURL string, keys []token.VerificationKey) (Documents, error) {
	if err := token.CheckIssuerURL(issuerURL); err != nil {
		return Documents{}, fmt.Errorf("the issuer %q: %w", issuerURL, err)
	}
	if len(keys) == 0 {
		return Documents{}, errors.New("there is no key to publish")
	}
	d := Documents{Issuer: issuerURL}
	doc := discovery{
		Issuer: issuerURL, KeysURL: KeySetURL(issuerURL),
		ResponseTypes: []string{"id_token"}, SubjectTypes: []string{"public"},
	}
	for _, key := range keys {
		if i := d.index(key.ID); i >= 0 {
			if !sameKey(d.Keys[i], key) {
				return Documents{}, fmt.Errorf("two different keys have the kid %q", key.ID)
			}
			continue
		}
		d.Keys = append(d.Keys, key)
		if !slices.Contains(doc.Algorithms, key.Algorithm) {
			doc.Algorithms = append(doc.Algorithms, key.Algorithm)
		}
	}
	var err error
	if d.Discovery, err = json.MarshalIndent(doc, "", "  "); err != nil {
		return Documents{}, err
	}
	d.KeySet, err = token.EncodeKeySet(d.Keys)
	return d, err
}

func (d Documents) index(id string) int {
	return slices.IndexFunc(d.Keys, func(k token.VerificationKey) bool { return k.ID == id })
}

// KeyIDs gives the published kids.
func (d Documents) KeyIDs() []string { return keyIDs(d.Keys) }

func keyIDs(keys []token.VerificationKey) []string {
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = key.ID
	}
	return ids
}

// sameKey reports whether both are the same key, whatever their names.
func sameKey(a, b token.VerificationKey) bool {
	public, ok := a.Public.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && public.Equal(b.Public)
}

// Publication is what [Documents.Publish] did.
type Publication struct {
	// DiscoveryFile and KeySetFile are the two files.
	DiscoveryFile string `json:"discoveryFile"`
	KeySetFile    string `json:"keySetFile"`
	// Added, Kept and Removed are kids.
	Added   []string `json:"added"`
	Kept    []string `json:"kept"`
	Removed []string `json:"removed"`
}

// RemovedKeysError means that keys would no longer be published.
type RemovedKeysError struct {
	Folder string
	KeyIDs []string
}

// Error names the keys.
func (e *RemovedKeysError) Error() string {
	return fmt.Sprintf("the folder %s publishes keys that are not among those given: %s; tokens signed by them would be refused",
		e.Folder, strings.Join(e.KeyIDs, ", "))
}

// Publish writes the documents below a folder, for a web server or a storage
// container to serve at the issuer's URL, readable for everybody. Each file is
// replaced at once, the keys before the document that leads to them.
//
// Keys that the folder publishes and the documents lack stop a publication
// ([*RemovedKeysError]) unless prune says that they may go. A folder of another
// issuer is not touched.
func (d Documents) Publish(folder string, prune bool) (Publication, error) {
	p := Publication{
		DiscoveryFile: filepath.Join(folder, filepath.FromSlash(DiscoveryPath)),
		KeySetFile:    filepath.Join(folder, filepath.FromSlash(KeySetPath)),
		Added:         []string{}, Kept: []string{}, Removed: []string{},
	}
	former, err := readFolder(p)
	if err != nil {
		return p, err
	}
	if former.Issuer != "" && former.Issuer != d.Issuer {
		return p, fmt.Errorf("the folder %s publishes another issuer, %s: name another folder", folder, former.Issuer)
	}
	for _, key := range former.Keys {
		if d.index(key.ID) < 0 {
			p.Removed = append(p.Removed, key.ID)
		}
	}
	if len(p.Removed) > 0 && !prune {
		return p, &RemovedKeysError{Folder: folder, KeyIDs: p.Removed}
	}
	for _, key := range d.Keys {
		if former.index(key.ID) < 0 {
			p.Added = append(p.Added, key.ID)
		} else {
			p.Kept = append(p.Kept, key.ID)
		}
	}
	for _, f := range []struct {
		path    string
		content []byte
	}{{p.KeySetFile, d.KeySet}, {p.DiscoveryFile, d.Discovery}} {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil { //nolint:gosec // what is published is for everybody
			return p, fmt.Errorf("publishing: %w", err)
		}
		if err := atomicfile.Write(f.path, append(slices.Clip(f.content), '\n'), 0o644); err != nil {
			return p, err
		}
	}
	return p, nil
}

// readFolder reads what a folder publishes: nothing, where it has no documents
// yet.
func readFolder(p Publication) (Documents, error) {
	var d Documents
	text, err := os.ReadFile(p.KeySetFile)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, fmt.Errorf("reading what is published: %w", err)
	}
	if d.Keys, err = token.ParseKeySet(text); err != nil {
		return d, fmt.Errorf("%s is not a key set of an issuer, and is not replaced: %w", p.KeySetFile, err)
	}
	text, err = os.ReadFile(p.DiscoveryFile)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, fmt.Errorf("reading what is published: %w", err)
	}
	var doc discovery
	if err := json.Unmarshal(text, &doc); err != nil {
		return d, fmt.Errorf("%s is not a discovery document, and is not replaced: %w", p.DiscoveryFile, err)
	}
	d.Issuer = doc.Issuer
	return d, nil
}
