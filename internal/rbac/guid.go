package rbac

import (
	"strings"

	"github.com/google/uuid"
)

// parseGUID gives the canonical form of a GUID (lower case, with dashes). It
// takes the two forms that Azure's own tools write: with dashes, and the 32
// digits alone.
func parseGUID(s string) (string, bool) {
	if len(s) != 36 && len(s) != 32 {
		return "", false
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return "", false
	}
	return id.String(), true
}

// compact gives a GUID's 32 digits, as Azure's authorization errors print it.
func compact(guid string) string { return strings.ReplaceAll(guid, "-", "") }
