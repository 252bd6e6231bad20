package trust

import (
	"crypto/sha1" //nolint:gosec // what OpenSSL names files by; nothing rests on it
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The parts of a name. encoding/asn1 knows sets by the ending of a type's name.
type (
	relativeNameSET []attribute
	attribute       struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
)

// SubjectHash is the name, without the ".0", by which OpenSSL (1.0 and later)
// looks a certificate up in a directory: eight hexadecimal digits, those that
// `openssl x509 -subject_hash` prints. It is the first four bytes, the last one
// first, of the SHA-1 of the subject's canonical form: each attribute's text in
// UTF-8, with ASCII letters in lower case and white space trimmed and collapsed,
// and the sets one after another without the sequence around them.
func SubjectHash(c *x509.Certificate) (string, error) {
	var name []relativeNameSET
	if rest, err := asn1.Unmarshal(c.RawSubject, &name); err != nil || len(rest) > 0 {
		return "", fmt.Errorf("reading the subject of a certificate: %w", err)
	}
	digest := sha1.New() //nolint:gosec // as above
	for _, set := range name {
		for i := range set {
			canonical(&set[i].Value)
		}
		encoded, err := asn1.Marshal(set)
		if err != nil {
			return "", fmt.Errorf("reading the subject of a certificate: %w", err)
		}
		digest.Write(encoded)
	}
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(digest.Sum(nil))), nil
}

// canonical puts a value into the canonical form. What is no text stays as it is.
func canonical(v *asn1.RawValue) {
	text, ok := textOf(*v)
	if !ok {
		return
	}
	folded := []byte(strings.Join(strings.FieldsFunc(text, isSpace), " "))
	for i, b := range folded {
		if 'A' <= b && b <= 'Z' {
			folded[i] = b + 'a' - 'A'
		}
	}
	*v = asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagUTF8String, Bytes: folded}
}

// isSpace knows ASCII's white space alone, as OpenSSL does.
func isSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// textOf reads a string of the types that the canonical form covers, as far as
// crypto/x509 takes a certificate that has them. Numeric strings are not covered.
func textOf(v asn1.RawValue) (string, bool) {
	if v.Class != asn1.ClassUniversal {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String:
		return string(v.Bytes), utf8.Valid(v.Bytes)
	case asn1.TagPrintableString, asn1.TagIA5String, asn1.TagT61String:
		// One byte a character, beyond ASCII as Latin 1.
		runes := make([]rune, len(v.Bytes))
		for i, b := range v.Bytes {
			runes[i] = rune(b)
		}
		return string(runes), true
	case asn1.TagBMPString:
		if len(v.Bytes)%2 != 0 {
			return "", false
		}
		units := make([]uint16, 0, len(v.Bytes)/2)
		for b := v.Bytes; len(b) > 0; b = b[2:] {
			units = append(units, binary.BigEndian.Uint16(b))
		}
		return string(utf16.Decode(units)), true
	}
	return "", false
}
