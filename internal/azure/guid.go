package azure

import "github.com/google/uuid"

// IsGUID reports whether s is a GUID in the one form that Azure prints: digits
// in groups of 8-4-4-4-12, in either case. Braces, URNs and the 32 digits alone,
// which uuid.Validate takes too, are none.
func IsGUID(s string) bool {
	const printed = len("00000000-0000-0000-0000-000000000000")
	return len(s) == printed && uuid.Validate(s) == nil
}
