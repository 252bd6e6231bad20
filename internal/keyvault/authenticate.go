package keyvault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/token"
)

// authenticate gives the caller, or a 401 with the challenge that tells the
// client where to get a token and for what. The client's first request comes
// without token and body on purpose, to get it.
func (h *Handler) authenticate(header http.Header, r *http.Request, addr address, vault Vault) (azure.Caller, error) {
	caller, err := h.verify(r.Header, vault)
	if err != nil {
		// One comma and space, and no other space or "=" inside the values: SDKs
		// parse exactly this form.
		header.Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="%s/%s", resource="%s"`,
			addr.authority, vault.TenantID, addr.resource))
		return azure.Caller{}, err
	}
	return caller, nil
}

func (h *Handler) verify(header http.Header, vault Vault) (azure.Caller, error) {
	raw, err := token.Bearer(header)
	if err != nil {
		return azure.Caller{}, unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
	}
	caller, err := h.cfg.Verifier.Verify(raw)
	if err != nil {
		return azure.Caller{}, h.tokenError(err, vault)
	}
	if !azure.EqualFold(caller.TenantID, vault.TenantID) {
		return azure.Caller{}, h.wrongIssuer(vault, caller.Issuer)
	}
	return caller, nil
}

// tokenError maps why a token was refused to Key Vault's words.
func (h *Handler) tokenError(err error, vault Vault) error {
	refused, ok := errors.AsType[*token.VerifyError](err)
	if !ok {
		return err
	}
	var issuer string
	var audience string
	if refused.Claims != nil {
		issuer, audience = refused.Claims.Issuer, refused.Claims.Audience
	}
	switch refused.Reason {
	case token.WrongIssuer:
		return h.wrongIssuer(vault, issuer)
	case token.WrongAudience:
		return unauthorized("AKV10022: Invalid audience. Expected %s, found: %s.",
			strings.Join(h.audiences.URIs, ", "), audience)
	case token.Expired:
		return unauthorized("[TokenExpired] Error validating token: 'S2S12086'.")
	case token.NotYetValid:
		return unauthorized("[TokenNotYetValid] Error validating token: the token is not valid yet; compare the clocks.")
	case token.BadSignature, token.BadAlgorithm:
		return unauthorized("AKV10046: Unable to resolve the key used for signature validation.")
	case token.Incomplete:
		return unauthorized("[TokenIncomplete] Error validating token: the token lacks the claims 'tid', 'oid' or 'sub'.")
	default:
		return unauthorized("[BearerReadAccessTokenFailed] Error validating token: the token is malformed.")
	}
}

func (h *Handler) wrongIssuer(vault Vault, found string) error {
	return unauthorized("AKV10032: Invalid issuer. Expected one of %s, %s, found %s.",
		h.cfg.Cloud.IssuerV1(vault.TenantID), h.cfg.Cloud.IssuerV2(vault.TenantID), found)
}

func unauthorized(format string, args ...any) error {
	return azure.Errorf(http.StatusUnauthorized, "Unauthorized", format, args...)
}
