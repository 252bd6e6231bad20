// Package audit writes the record of every decision and every issued token:
// who, what, scope, result, correlation id; never a token or a secret.
//
// It owns the file, its buffer, and what happens when records can't be written.
// It must not know what is decided or why: rbac, the token endpoints and the
// operator's commands make the records.
package audit
