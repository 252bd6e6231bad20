package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything gives all keys of a store.
func everything(t *testing.T, s *Store) map[string]string {
	t.Helper()
	page, err := s.List(t.Context(), "", ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range page.Entries {
		all[e.Key] = string(e.Value)
	}
	return all
}

// sealIn seals values into a store.
func sealIn(t *testing.T, s *Store, pairs ...string) {
	t.Helper()
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.PutSealed(pairs[i], []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// backup gives a backup of the store.
func backup(t *testing.T, s *Store) ([]byte, BackupInfo) {
	t.Helper()
	var b bytes.Buffer
	info, err := s.Backup(t.Context(), &b, map[string]string{"domain": "lanyard.test"})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), info
}

// A backup holds every key at one revision, whatever is written meanwhile, and
// restoring it gives the same keys and values.
func TestBackupAndRestore(t *testing.T) {
	s := open(t)
	for i := range 3 * backupPage / 100 {
		var pairs []string
		for j := range 100 {
			pairs = append(pairs, fmt.Sprintf("k/%02d/%02d", i, j), strings.Repeat("v", i*10))
		}
		put(t, s, pairs...)
	}
	put(t, s, "large", strings.Repeat("x", MaxBytes-1000), "empty", "")
	sealIn(t, s, "secret", "hush", "another/secret", "")
	del(t, s, "k/00/00")
	want := everything(t, s)

	var b bytes.Buffer
	info, err := s.Backup(t.Context(), &interrupted{w: &b, at: 1, do: func() { put(t, s, "later", "1", "secret", "other") }},
		map[string]string{"domain": "lanyard.test"})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("hush")) {
		t.Error("the backup shows a sealed value")
	}
	for name, change := range map[string]func(*Config){
		"embedded": inDir(filepath.Join(t.TempDir(), "new", "store")),
		"outside":  startServer(t).at,
	} {
		cfg := Config{Keyring: testKeyring(t)}
		change(&cfg)
		restored, err := Restore(t.Context(), cfg, bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(info, restored); diff != "" {
			t.Errorf("%s: what was restored (-backed up +restored):\n%s", name, diff)
		}
		again := open(t, change)
		if diff := cmp.Diff(want, everything(t, again)); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", name, diff)
		}
		e, err := again.Get(t.Context(), "secret")
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := again.Unseal(e); err != nil || string(plain) != "hush" {
			t.Errorf("%s: the sealed value: %q, %v", name, plain, err)
		}
		put(t, again, "k/00/00", "1") // it works on
		if _, err := Restore(t.Context(), cfg, bytes.NewReader(b.Bytes())); !errors.Is(err, ErrInUse) && !errors.Is(err, ErrNotEmpty) {
			t.Errorf("%s: restoring again: %v", name, err)
		}
	}
	if info.Keys != len(want) || info.SealedBy[s.KeyIDs()[0]] != 2 || info.Notes["domain"] != "lanyard.test" {
		t.Errorf("the backup says %+v", info)
	}
}

// interrupted does something when so many bytes were written.
type interrupted struct {
	w  io.Writer
	at int
	do func()
}

func (i *interrupted) Write(p []byte) (int, error) {
	if i.at -= len(p); i.at < 0 && i.do != nil {
		i.do()
		i.do = nil
	}
	return i.w.Write(p)
}

// Whatever byte is wrong or missing, nothing is restored.
func TestDamagedBackup(t *testing.T) {
	s := open(t)
	put(t, s, "a", "1", "b/c", "2")
	sealIn(t, s, "secret", "hush")
	sound, _ := backup(t, s)
	dir := filepath.Join(t.TempDir(), "store")
	refuse := func(name string, damaged []byte, want ...error) {
		t.Helper()
		_, err := Restore(t.Context(), Config{Dir: dir, Keyring: testKeyring(t)}, bytes.NewReader(damaged))
		known := false
		for _, w := range append(want, ErrBackup) {
			known = known || errors.Is(err, w)
		}
		if !known {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Fatalf("%s: something was written", name)
		}
	}
	for i := range sound {
		damaged := bytes.Clone(sound)
		damaged[i] ^= 0x20
		// A damaged sealed value is found before the checksum is.
		refuse(fmt.Sprintf("byte %d", i), damaged, ErrSealed)
		refuse(fmt.Sprintf("the first %d bytes", i), sound[:i])
	}
	refuse("something behind", append(bytes.Clone(sound), 0))
	refuse("twice", append(bytes.Clone(sound), sound...))
	refuse("another file", []byte("PK\x03\x04 something else"))
	refuse("another format", bytes.Replace(sound, []byte("backup 1\n"), []byte("backup 2\n"), 1))
}

// Who lacks the sealing key can't make a backup that is restored, even with a
// sound checksum.
func TestForgedBackup(t *testing.T) {
	s := open(t)
	put(t, s, "role", "Reader")
	sound, info := backup(t, s)
	tail := sha256.Size + keyIDBytes + sha256.Size
	body := bytes.Replace(sound[:len(sound)-tail], []byte("Reader"), []byte("Owner!"), 1)
	sum := sha256.Sum256(body)
	forged := append(append(body, sum[:]...), sound[len(sound)-sha256.Size-keyIDBytes:]...)
	if got, err := ReadBackup(bytes.NewReader(forged), nil, nil); err != nil || got.Keys != info.Keys {
		t.Fatalf("the checksum of the forgery: %v", err)
	}
	if _, err := ReadBackup(bytes.NewReader(forged), testKeyring(t), nil); !errors.Is(err, ErrBackup) || !strings.Contains(err.Error(), "changed by someone") {
		t.Errorf("the forgery: %v", err)
	}
	// A cloud of the forger's own has another key.
	other := open(t, func(c *Config) { c.Keyring = keyring(t, 8) })
	put(t, other, "role", "Owner!")
	foreign, _ := backup(t, other)
	if _, err := ReadBackup(bytes.NewReader(foreign), testKeyring(t), nil); !errors.Is(err, ErrSealed) {
		t.Errorf("a backup by another key: %v", err)
	}
}

// A backup needs every key that its values are sealed under, which its own end
// names.
func TestBackupNeedsItsKeys(t *testing.T) {
	dir := t.TempDir()
	s := open(t, inDir(dir))
	sealIn(t, s, "old", "1")
	if err := s.ReplaceKeys(bytes.Repeat([]byte{9}, 32), bytes.Repeat([]byte{7}, 32)); err != nil {
		t.Fatal(err)
	}
	sealIn(t, s, "new", "2")
	b, info := backup(t, s)
	if len(info.SealedBy) != 2 {
		t.Errorf("sealed by %v", info.SealedBy)
	}
	for _, ring := range []*Keyring{keyring(t, 9), keyring(t, 7)} {
		if _, err := ReadBackup(bytes.NewReader(b), ring, nil); !errors.Is(err, ErrSealed) {
			t.Errorf("with one of two keys: %v", err)
		}
	}
	if _, err := ReadBackup(bytes.NewReader(b), keyring(t, 7, 9), nil); err != nil {
		t.Error(err)
	}
}

// A restore that is cut short leaves nothing that opens, and can be repeated.
func TestRestoreCutShort(t *testing.T) {
	s := open(t)
	for i := range 300 {
		put(t, s, fmt.Sprintf("k/%03d", i), strings.Repeat("v", 1000))
	}
	b, _ := backup(t, s)
	want := everything(t, s)
	for name, change := range map[string]func(*Config){
		"embedded": inDir(filepath.Join(t.TempDir(), "store")),
		"outside":  startServer(t).at,
	} {
		cfg := Config{Keyring: testKeyring(t)}
		change(&cfg)
		_, err := Restore(t.Context(), cfg, &failing{Reader: bytes.NewReader(b), left: len(b) * 3 / 2})
		if !errors.Is(err, errDisk) {
			t.Fatalf("%s: %v", name, err)
		}
		if s, err := tryOpen(t, change); err == nil || !strings.Contains(err.Error(), "restore the backup again") {
			t.Fatalf("%s: opened half a restore: %v, %v", name, s, err)
		}
		if _, err := Restore(t.Context(), cfg, bytes.NewReader(b)); err != nil {
			t.Fatalf("%s: again: %v", name, err)
		}
		if diff := cmp.Diff(want, everything(t, open(t, change))); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", name, diff)
		}
	}
}

var errDisk = errors.New("the disk went away")

// failing gives an error after so many bytes.
type failing struct {
	*bytes.Reader
	left int
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, errDisk
	}
	n, err := f.Reader.Read(p)
	f.left -= n
	return n, err
}

// A store with keys but without a version, as no release leaves it, is not
// empty either.
func TestRestoreNeedsAnEmptyStore(t *testing.T) {
	srv := startServer(t)
	s := open(t, srv.at)
	put(t, s, "k", "v")
	b, _ := backup(t, s)
	if _, err := s.client.Delete(t.Context(), s.keys.version()); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Keyring: testKeyring(t)}
	srv.at(&cfg)
	if _, err := Restore(t.Context(), cfg, bytes.NewReader(b)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	cfg.Prefix = "/elsewhere/"
	if _, err := Restore(t.Context(), cfg, bytes.NewReader(b)); err != nil {
		t.Errorf("under another prefix: %v", err)
	}
}

func FuzzReadBackup(f *testing.F) {
	var b bytes.Buffer
	w := newBackupWriter(&b, backupHeader{Layout: layoutVersion})
	if err := errors.Join(w.add("k", []byte("v")), w.end(keyring(f, 7).first())); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:20])
	f.Add([]byte("lanyard backup 1\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	ring := keyring(f, 7)
	f.Fuzz(func(t *testing.T, file []byte) {
		// The one in the corpus alone was made with the key.
		if _, err := ReadBackup(bytes.NewReader(file), ring, nil); err == nil && !bytes.Equal(file, b.Bytes()) {
			t.Errorf("%q was taken for a backup", file)
		}
	})
}
