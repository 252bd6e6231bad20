package keyvault

import (
	"unicode/utf8"
)

// Limits of Azure's service on what a secret may carry.
const (
	maxValueBytes       = 25 * 1024
	maxContentTypeChars = 255
	maxTags             = 15
	maxTagChars         = 512
	// maxTime is the last second of the year 9999, the largest time that clients
	// can represent.
	maxTime = 253402300799
	// maxSecretBody leaves room for a value whose every byte is escaped ("\u0000").
	maxSecretBody = 6*maxValueBytes + 64<<10
)

// secretValue is a secret's value. It prints as a word that says so, wherever a
// log or an error message meets it; only encoding to JSON writes it out.
type secretValue string

// String hides the value.
func (secretValue) String() string { return "(secret)" }

// GoString hides the value from %#v.
func (secretValue) GoString() string { return "(secret)" }

// secretBody is the body of a set or an update. Members that are null or
// missing leave things as they are.
type secretBody struct {
	Value       *secretValue      `json:"value"`
	ContentType *string           `json:"contentType"`
	Tags        map[string]string `json:"tags"`
	Attributes  struct {
		Enabled   *bool  `json:"enabled"`
		NotBefore *int64 `json:"nbf"`
		Expires   *int64 `json:"exp"`
	} `json:"attributes"`
}

// check holds the body against the service's limits.
func (b *secretBody) check() error {
	if b.Value != nil && len(*b.Value) > maxValueBytes {
		return badParameter("The secret value is %d bytes long; the limit is %d.", len(*b.Value), maxValueBytes)
	}
	if b.ContentType != nil && utf8.RuneCountInString(*b.ContentType) > maxContentTypeChars {
		return badParameter("Property contentType is longer than %d characters", maxContentTypeChars)
	}
	if len(b.Tags) > maxTags {
		return badParameter("The number of tags is %d; the limit is %d.", len(b.Tags), maxTags)
	}
	for name, value := range b.Tags {
		if name == "" || utf8.RuneCountInString(name) > maxTagChars || utf8.RuneCountInString(value) > maxTagChars {
			return badParameter("A tag's name must have from 1 to %d characters and its value at most %d", maxTagChars, maxTagChars)
		}
	}
	for property, t := range map[string]*int64{"nbf": b.Attributes.NotBefore, "exp": b.Attributes.Expires} {
		if t != nil && (*t < 0 || *t > maxTime) {
			return badParameter("Property attributes.%s has invalid value", property)
		}
	}
	return nil
}

// apply changes a version's attributes to what the body says.
func (b *secretBody) apply(v *version) {
	if b.ContentType != nil {
		v.ContentType = *b.ContentType
	}
	if b.Tags != nil {
		v.Tags = b.Tags
	}
	if b.Attributes.Enabled != nil {
		v.Enabled = *b.Attributes.Enabled
	}
	if b.Attributes.NotBefore != nil {
		v.NotBefore = b.Attributes.NotBefore
	}
	if b.Attributes.Expires != nil {
		v.Expires = b.Attributes.Expires
	}
}

// bundle is a secret on the wire, in a list, whole, or deleted.
type bundle struct {
	Value              *secretValue      `json:"value,omitempty"`
	RecoveryID         string            `json:"recoveryId,omitempty"`
	DeletedDate        int64             `json:"deletedDate,omitempty"`
	ScheduledPurgeDate int64             `json:"scheduledPurgeDate,omitempty"`
	ContentType        string            `json:"contentType,omitempty"`
	ID                 string            `json:"id"`
	Attributes         attributes        `json:"attributes"`
	Tags               map[string]string `json:"tags,omitempty"`
}

// attributes on the wire; times are seconds since 1970.
type attributes struct {
	Enabled         bool   `json:"enabled"`
	NotBefore       *int64 `json:"nbf,omitempty"`
	Expires         *int64 `json:"exp,omitempty"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays int    `json:"recoverableDays"`
}

// list is one page.
type list struct {
	Value    []bundle `json:"value"`
	NextLink *string  `json:"nextLink"`
}

// show makes a version's bundle, without its value and with the version in the
// id.
func (r *request) show(name string, v version) bundle {
	b := r.item(name, v)
	b.ID += "/" + v.ID
	return b
}

// item makes a secret's bundle as lists of secrets have it: without the version.
func (r *request) item(name string, v version) bundle {
	return bundle{
		ID: r.base + "/secrets/" + name, ContentType: v.ContentType, Tags: v.Tags,
		Attributes: attributes{
			Enabled: v.Enabled, NotBefore: v.NotBefore, Expires: v.Expires, Created: v.Created, Updated: v.Updated,
			RecoveryLevel: r.vault.recoveryLevel(), RecoverableDays: r.vault.RetentionDays,
		},
	}
}

// deleted adds to a bundle what a deleted secret has.
func (r *request) deleted(b bundle, s secret) bundle {
	b.RecoveryID = r.base + "/deletedsecrets/" + s.Name
	b.DeletedDate, b.ScheduledPurgeDate = s.Deleted.At, s.Deleted.Purge
	return b
}
