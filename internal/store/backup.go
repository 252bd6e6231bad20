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
	"time"
)

// A backup is
//
//	"lanyard backup 1\n"
//	length | header (JSON)
//	1 | length | key | length | value     for each key, in order
//	0 | length | footer (JSON)
//	SHA-256 of all that                   32 bytes
//	ID of a sealing key                   8 bytes
//	HMAC-SHA-256 of the checksum          32 bytes
//
// Lengths are unsigned varints. Values are as the store has them: sealed ones
// stay sealed, so that a backup opens nothing without the sealing keys, which
// it does not hold. The checksum finds damage; the code at the end, whose key
// is derived from the sealing key, finds a backup that someone else wrote or
// changed, who might otherwise add a role assignment and have it restored.
const (
	backupMagic   = "lanyard backup "
	backupVersion = 1
	backupKey     = 1 // tags
	backupEnd     = 0

	maxBackupNote = 64 << 10 // of header and footer
	maxBackupKey  = 64 << 10
)

// ErrBackup means that a file is no backup, or is damaged, or was changed.
var ErrBackup = errors.New("store: not a sound backup")

// BackupInfo says what a backup is.
type BackupInfo struct {
	// Created is when it was made, by the clock of who made it.
	Created time.Time `json:"created"`
	// Revision is the one state of the store that it holds.
	Revision int64 `json:"revision"`
	// Notes are of whoever had it made: the cloud's names, say.
	Notes map[string]string `json:"notes,omitempty"`
	// Keys is how many keys it holds.
	Keys int `json:"keys"`
	// SealedBy tells how many of its values are sealed under which key; the
	// names are those of [Keyring.IDs]. All of those keys are needed.
	SealedBy map[string]int `json:"sealedBy"`
}

// backupHeader and backupFooter are what is known before and after the keys.
type backupHeader struct {
	Created  time.Time         `json:"created"`
	Revision int64             `json:"revision"`
	Layout   int               `json:"layout"`
	Notes    map[string]string `json:"notes,omitempty"`
}

type backupFooter struct {
	Keys     int            `json:"keys"`
	SealedBy map[string]int `json:"sealedBy"`
}

// backupWriter writes a backup.
type backupWriter struct {
	to   *bufio.Writer
	sum  hash.Hash
	foot backupFooter
	err  error // the first one
}

func newBackupWriter(w io.Writer, head backupHeader) *backupWriter {
	b := &backupWriter{to: bufio.NewWriterSize(w, 64<<10), sum: sha256.New(), foot: backupFooter{SealedBy: map[string]int{}}}
	b.write([]byte(fmt.Sprintf("%s%d\n", backupMagic, backupVersion)))
	b.note(head)
	return b
}

func (b *backupWriter) write(p []byte) {
	if b.err == nil {
		b.sum.Write(p) // never fails
		_, b.err = b.to.Write(p)
	}
}

func (b *backupWriter) sized(p []byte) {
	b.write(binary.AppendUvarint(nil, uint64(len(p))))
	b.write(p)
}

func (b *backupWriter) note(v any) {
	text, err := json.Marshal(v)
	if err == nil && len(text) > maxBackupNote {
		err = fmt.Errorf("the notes are %d bytes long, more than %d", len(text), maxBackupNote)
	}
	if err != nil && b.err == nil {
		b.err = err
	}
	b.sized(text)
}

// add writes a key.
func (b *backupWriter) add(key string, value []byte) error {
	b.write([]byte{backupKey})
	b.sized([]byte(key))
	b.sized(value)
	b.foot.Keys++
	if IsSealed(value) {
		b.foot.SealedBy[hex.EncodeToString(sealedBy(value))]++
	}
	return b.err
}

// end writes what follows the keys.
func (b *backupWriter) end(key *sealingKey) error {
	b.write([]byte{backupEnd})
	b.note(b.foot)
	sum := b.sum.Sum(nil)
	for _, p := range [][]byte{sum, key.id, authenticate(key, sum)} {
		if b.err == nil {
			_, b.err = b.to.Write(p)
		}
	}
	if b.err != nil {
		return b.err
	}
	return b.to.Flush()
}

// authenticate is the code that only who has the sealing key can make.
func authenticate(key *sealingKey, sum []byte) []byte {
	mac := hmac.New(sha256.New, key.mac)
	mac.Write(key.id)
	mac.Write(sum)
	return mac.Sum(nil)
}
