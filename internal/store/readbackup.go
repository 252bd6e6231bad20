package store

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
)

// ReadBackup reads a backup to its end and gives f each of its keys in order,
// before it is known whether the backup is sound: f must have no effect that an
// error of ReadBackup doesn't undo. f may be nil. What f is given it may keep.
//
// With a keyring it checks that the backup was made with one of its keys, and
// that every sealed value opens; without one, the checksum alone. It fails with
// ErrBackup when the file is no backup, is cut short, damaged or changed, and
// with ErrSealed when the keyring lacks a key.
func ReadBackup(r io.Reader, ring *Keyring, f func(key string, value []byte) error) (BackupInfo, error) {
	b := &backupReader{from: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	head, err := b.header()
	if err != nil {
		return BackupInfo{}, err
	}
	info := BackupInfo{Created: head.Created, Revision: head.Revision, Notes: head.Notes}
	sealed := map[string]int{}
	for last := ""; ; {
		key, value, more, err := b.next()
		if err != nil {
			return info, err
		}
		if !more {
			break
		}
		if key <= last {
			return info, fmt.Errorf("%w: the key %q is not in order", ErrBackup, key)
		}
		last = key
		info.Keys++
		if IsSealed(value) {
			sealed[hex.EncodeToString(sealedBy(value))]++
			if ring != nil {
				if _, err := ring.Open(key, value); err != nil {
					return info, err
				}
			}
		}
		if f != nil {
			if err := f(key, value); err != nil {
				return info, err
			}
		}
	}
	var foot backupFooter
	if err := b.note(&foot); err != nil {
		return info, err
	}
	if foot.Keys != info.Keys || !maps.Equal(foot.SealedBy, sealed) {
		return info, fmt.Errorf("%w: it holds other keys than it says", ErrBackup)
	}
	info.SealedBy = sealed
	return info, b.ending(ring)
}

// backupReader reads the parts of a backup.
type backupReader struct {
	from *bufio.Reader
	sum  hash.Hash
}

// cut words an error of reading: an early end is damage.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrBackup)
	}
	return fmt.Errorf("reading the backup: %w", err)
}

// ReadByte is for lengths.
func (b *backupReader) ReadByte() (byte, error) {
	c, err := b.from.ReadByte()
	if err == nil {
		b.sum.Write([]byte{c})
	}
	return c, err
}

// sized reads a length, of at most limit, and as many bytes.
func (b *backupReader) sized(what string, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(b)
	if err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: the length of %s: %w", ErrBackup, what, err)
		}
		return nil, cut(err)
	}
	if n > limit {
		return nil, fmt.Errorf("%w: %s is %d bytes long, more than %d", ErrBackup, what, n, limit)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(b.from, p); err != nil {
		return nil, cut(err)
	}
	b.sum.Write(p)
	return p, nil
}

func (b *backupReader) note(into any) error {
	text, err := b.sized("a note", maxBackupNote)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: a note in it: %w", ErrBackup, err)
	}
	return nil
}

// header reads what stands before the keys.
func (b *backupReader) header() (backupHeader, error) {
	var head backupHeader
	line := make([]byte, 0, len(backupMagic)+8)
	for len(line) < cap(line) {
		c, err := b.ReadByte()
		if err != nil && !errors.Is(err, io.EOF) {
			return head, cut(err)
		}
		if err != nil || c == '\n' {
			break
		}
		line = append(line, c)
	}
	version, ok := strings.CutPrefix(string(line), backupMagic)
	switch {
	case !ok:
		return head, fmt.Errorf("%w: it does not begin as one", ErrBackup)
	case version != fmt.Sprint(backupVersion):
		return head, fmt.Errorf("%w: it has the format %.8q, and this release reads %d", ErrBackup, version, backupVersion)
	}
	if err := b.note(&head); err != nil {
		return head, err
	}
	if head.Layout != layoutVersion {
		return head, fmt.Errorf("%w: its keys have the layout %d, and this release's is %d", ErrBackup, head.Layout, layoutVersion)
	}
	return head, nil
}

// next reads a key; more is false at their end.
func (b *backupReader) next() (key string, value []byte, more bool, err error) {
	tag, err := b.ReadByte()
	switch {
	case err != nil:
		return "", nil, false, cut(err)
	case tag == backupEnd:
		return "", nil, false, nil
	case tag != backupKey:
		return "", nil, false, fmt.Errorf("%w: there is no key where one must be", ErrBackup)
	}
	name, err := b.sized("a key", maxBackupKey)
	if err != nil {
		return "", nil, false, err
	}
	value, err = b.sized("a value", MaxBytes)
	return string(name), value, true, err
}

// ending checks what stands after the keys, and that nothing follows.
func (b *backupReader) ending(ring *Keyring) error {
	want := b.sum.Sum(nil)
	end := make([]byte, len(want)+keyIDBytes+sha256.Size)
	if _, err := io.ReadFull(b.from, end); err != nil {
		return cut(err)
	}
	sum, id, code := end[:len(want)], end[len(want):len(want)+keyIDBytes], end[len(want)+keyIDBytes:]
	if !slices.Equal(sum, want) {
		return fmt.Errorf("%w: its checksum is wrong", ErrBackup)
	}
	if _, err := b.from.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrBackup)
	}
	if ring == nil {
		return nil
	}
	key := ring.find(id)
	if key == nil {
		return fmt.Errorf("%w: the backup was made with the sealing key %x, which is not in the keyring", ErrSealed, id)
	}
	if !hmac.Equal(code, authenticate(key, sum)) {
		return fmt.Errorf("%w: it was changed by someone who does not have the sealing key", ErrBackup)
	}
	return nil
}
