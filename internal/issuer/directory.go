package issuer

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Names in a key directory.
const (
	stateName     = "state.json"
	lockName      = ".lock"
	keyPrefix     = "sa-"
	privateSuffix = ".key"
	publicSuffix  = ".pub"
)

// keyID is the form of the kid that Kubernetes gives a key: a SHA-256.
var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// Directory is a directory that holds an issuer's signing keys and the state of
// their rotation. The state file says which keys there are; a key's files are
// written before it is in there, and its private half deleted after it is out, so
// that a step that is broken off has been taken or not. Steps exclude each other
// by a lock.
type Directory struct {
	path string
	now  func() time.Time
}

// Open names a directory. It reads nothing yet. now is nil for time.Now.
func Open(path string, now func() time.Time) (*Directory, error) {
	path, err := filepath.Abs(path) // API servers are told of the files
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Directory{path: path, now: now}, nil
}

// Path is the directory's absolute path.
func (d *Directory) Path() string { return d.path }

// PrivateFile and PublicFile are the files of a key.
func (d *Directory) PrivateFile(id string) string {
	return filepath.Join(d.path, keyPrefix+id+privateSuffix)
}

// PublicFile is documented with [Directory.PrivateFile].
func (d *Directory) PublicFile(id string) string {
	return filepath.Join(d.path, keyPrefix+id+publicSuffix)
}

// InitOptions say how a key directory begins.
type InitOptions struct {
	Issuer string
	// Lead and MaxTokenLifetime have the defaults of this package when 0.
	Lead, MaxTokenLifetime time.Duration
	// SigningKey is the PEM private key by which the cluster signs already, and
	// VerificationKeys the PEM files of others by which it accepts tokens. Without
	// a signing key one is made.
	SigningKey       []byte
	VerificationKeys [][]byte
	// Bits is the length of a key that is made; 2048 when 0.
	Bits int
}

// Init makes the directory, or takes an empty one, for a new issuer or one whose
// keys are adopted. Adopted verification keys count as replaced just now.
func (d *Directory) Init(o InitOptions) (State, error) {
	s := State{Issuer: o.Issuer, LeadSeconds: seconds(o.Lead, DefaultLead), MaxTokenLifetimeSeconds: seconds(o.MaxTokenLifetime, DefaultMaxTokenLifetime)}
	if err := token.CheckIssuerURL(o.Issuer); err != nil {
		return s, fmt.Errorf("the issuer %q: %w", o.Issuer, err)
	}
	var others []token.VerificationKey
	for _, text := range o.VerificationKeys {
		keys, _, err := token.ParseVerificationKeys(text)
		if err != nil {
			return s, fmt.Errorf("a verification key: %w", err)
		}
		others = append(others, keys...)
	}
	private, public := o.SigningKey, token.VerificationKey{}
	var err error
	if private == nil {
		private, public, err = newKey(o.Bits)
	} else {
		public, err = adopt(private)
	}
	if err != nil {
		return s, err
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return s, err
	}
	return d.change(func(_ State, exists bool) (State, error) {
		if exists {
			return s, fmt.Errorf("the directory %s holds the keys of an issuer already", d.path)
		}
		now := d.now().UTC()
		for _, key := range others {
			if key.ID == public.ID || slices.ContainsFunc(s.Keys, func(k Key) bool { return k.ID == key.ID }) {
				continue
			}
			if err := d.write(key, nil); err != nil {
				return s, err
			}
			s.Keys = append(s.Keys, Key{ID: key.ID, Phase: Replaced, Algorithm: key.Algorithm, Prepared: now, LastSigned: now})
		}
		s.Keys = append(s.Keys, Key{ID: public.ID, Phase: Signing, Algorithm: public.Algorithm, Prepared: now, Activated: now})
		return s, d.write(public, private)
	})
}

func seconds(d, otherwise time.Duration) int64 {
	if d == 0 {
		d = otherwise
	}
	return int64(d / time.Second)
}

// adopt reads the file of a private key.
func adopt(private []byte) (token.VerificationKey, error) {
	keys, secret, err := token.ParseVerificationKeys(private)
	switch {
	case err != nil:
		return token.VerificationKey{}, fmt.Errorf("the signing key: %w", err)
	case !secret || len(keys) != 1:
		return token.VerificationKey{}, errors.New("the signing key: want a file with one private key, and nothing else")
	}
	return keys[0], nil
}

// newKey makes an RSA key: Entra accepts tokens signed with RS256 alone.
func newKey(bits int) (private []byte, public token.VerificationKey, err error) {
	if bits == 0 {
		bits = 2048
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, public, fmt.Errorf("making a key: %w", err)
	}
	if public, err = token.NewVerificationKey(key.Public()); err != nil {
		return nil, public, err
	}
	if err := public.Usable(); err != nil {
		return nil, public, fmt.Errorf("a key of %d bits: %w", bits, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, public, fmt.Errorf("making a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), public, nil
}

// write writes a key's files: the private one, unless it is nil, for the owner
// alone.
func (d *Directory) write(public token.VerificationKey, private []byte) error {
	der, err := x509.MarshalPKIXPublicKey(public.Public)
	if err != nil {
		return err
	}
	if private != nil {
		if err := atomicfile.Write(d.PrivateFile(public.ID), private, 0o600); err != nil {
			return err
		}
	}
	return atomicfile.Write(d.PublicFile(public.ID), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
}

// State reads the state of the rotation.
func (d *Directory) State() (State, error) {
	s, exists, err := d.read()
	if err == nil && !exists {
		return s, d.notBegun()
	}
	return s, err
}

// notBegun is the error of every step before the first.
func (d *Directory) notBegun() error {
	return fmt.Errorf("the directory %s holds no keys of an issuer: begin with init", d.path)
}

func (d *Directory) read() (s State, exists bool, err error) {
	text, err := os.ReadFile(filepath.Join(d.path, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	if err = json.Unmarshal(text, &s); err == nil {
		err = s.check()
	}
	if err != nil {
		return s, true, fmt.Errorf("%s: %w", filepath.Join(d.path, stateName), err)
	}
	return s, true, nil
}

// change takes one step, alone.
func (d *Directory) change(step func(s State, exists bool) (State, error)) (State, error) {
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		return State{}, d.notBegun()
	} else if err != nil {
		return State{}, fmt.Errorf("the directory of keys: %w", err)
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(d.path, lockName)).Lock()
	if err != nil {
		return State{}, fmt.Errorf("locking the directory of keys: %w", err)
	}
	defer unlock()
	before, exists, err := d.read()
	if err != nil {
		return before, err
	}
	after, err := step(before, exists)
	if err != nil {
		return before, err
	}
	text, err := json.MarshalIndent(after, "", "  ")
	if err != nil {
		return before, err
	}
	return after, atomicfile.Write(filepath.Join(d.path, stateName), append(text, '\n'), 0o600)
}

// step is change for a directory that has been begun.
func (d *Directory) step(step func(s State) (State, error)) (State, error) {
	return d.change(func(s State, exists bool) (State, error) {
		if !exists {
			return s, d.notBegun()
		}
		return step(s)
	})
}

// Prepare makes a new key of a length in bits (2048 when 0), as
// [State.Prepare] has it.
func (d *Directory) Prepare(bits int) (State, error) {
	return d.step(func(s State) (State, error) {
		if _, ok := s.In(Prepared); ok {
			return s.Prepare(token.VerificationKey{}, d.now()) // before a key is made for nothing
		}
		private, public, err := newKey(bits)
		if err != nil {
			return s, err
		}
		if err := d.write(public, private); err != nil {
			return s, err
		}
		return s.Prepare(public, d.now())
	})
}

// Activate is [State.Activate], for a key whose private half is there.
func (d *Directory) Activate() (State, error) {
	return d.step(func(s State) (State, error) {
		after, err := s.Activate(d.now())
		if err != nil {
			return s, err
		}
		k, _ := after.In(Signing)
		private, err := os.ReadFile(d.PrivateFile(k.ID))
		if err != nil {
			return s, fmt.Errorf("the key's private half: %w", err)
		}
		if public, err := adopt(private); err != nil || public.ID != k.ID {
			return s, fmt.Errorf("%s is not the private half of the key %s", d.PrivateFile(k.ID), k.ID)
		}
		return after, nil
	})
}

// Confirm is [State.Confirm].
func (d *Directory) Confirm() (State, error) {
	return d.step(func(s State) (State, error) { return s.Confirm(d.now()) })
}

// Retire is [State.Retire], and deletes the private keys that went, those that
// certainly no API server signs with. The public files stay: an API server that
// is started with its former flags could not start without them.
func (d *Directory) Retire(id string, force bool) (s State, gone []Key, err error) {
	s, err = d.step(func(s State) (State, error) {
		var after State
		after, gone, err = s.Retire(id, force, d.now())
		return after, err
	})
	if err != nil {
		return s, nil, err
	}
	for _, k := range gone {
		if k.Phase == Replaced && k.LastSigned.IsZero() {
			continue
		}
		if e := os.Remove(d.PrivateFile(k.ID)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("the key %s is retired, but its private half is still there: delete it: %w", k.ID, e))
		}
	}
	return s, gone, err
}

// Documents are what the issuer publishes: every key of the rotation.
func (d *Directory) Documents() (Documents, error) {
	s, err := d.State()
	if err != nil {
		return Documents{}, err
	}
	var keys []token.VerificationKey
	for _, k := range s.Keys {
		text, err := os.ReadFile(d.PublicFile(k.ID))
		if err != nil {
			return Documents{}, fmt.Errorf("the key %s: %w", k.ID, err)
		}
		found, _, err := token.ParseVerificationKeys(text)
		if err != nil || len(found) != 1 || found[0].ID != k.ID {
			return Documents{}, fmt.Errorf("%s is not the public half of the key %s", d.PublicFile(k.ID), k.ID)
		}
		keys = append(keys, found[0])
	}
	return NewDocuments(s.Issuer, keys)
}

// Strays are files of keys that the state does not know: retired ones, of which
// an API server may still be started with the public file, and those of a step
// that was broken off.
func (d *Directory) Strays(s State) ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var strays []string
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), keyPrefix)
		if !ok {
			continue
		}
		id = strings.TrimSuffix(strings.TrimSuffix(id, privateSuffix), publicSuffix)
		if !slices.ContainsFunc(s.Keys, func(k Key) bool { return k.ID == id }) {
			strays = append(strays, filepath.Join(d.path, e.Name()))
		}
	}
	return strays, nil
}
