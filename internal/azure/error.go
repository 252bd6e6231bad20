package azure

import (
	"fmt"
	"time"
)

// Error is what a client may see of a failure. It is made where the fact is
// known; each protocol's edge writes it in its own wire form (the Resource
// Manager error document, an OAuth error, Key Vault's). Any other error that
// reaches an edge becomes a 500 without detail.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the protocol's error code, such as "AuthorizationFailed". For the
	// token service it is the OAuth error ("invalid_client").
	Code string
	// Message says what is wrong and how to mend it.
	Message string
	// InnerCode is the second code of protocols that have one: Key Vault's
	// innererror ("ForbiddenByRbac").
	InnerCode string
	// Numbers are the token service's AADSTS error numbers.
	Numbers []int
	// Target names the property or parameter at fault, where the protocol has it.
	Target string
	// RetryAfter says when the client may try again; 0 leaves it to the protocol.
	// The metadata service's errors say it.
	RetryAfter time.Duration
	// Details are further errors of the Resource Manager error document.
	Details []Error
	// Err is the cause, for the log only; it is never written to a client.
	Err error
}

// Errorf makes an Error with a formatted message.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error gives the code and message, for logs.
func (e *Error) Error() string {
	if e.InnerCode != "" {
		return e.Code + " (" + e.InnerCode + "): " + e.Message
	}
	return e.Code + ": " + e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }
