package graph

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/token"
)

// authenticate gives the caller, or a 401 with the challenge that tells where
// tokens are to be had.
func (h *Handler) authenticate(header http.Header, r *http.Request) (azure.Caller, error) {
	caller, err := h.verify(r.Header)
	if err != nil {
		header.Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="", authorization_uri="%s/common/oauth2/authorize", client_id="%s"`,
			h.cfg.Cloud.ActiveDirectory(), azure.ServiceGraph))
	}
	return caller, err
}

func (h *Handler) verify(header http.Header) (azure.Caller, error) {
	raw, err := token.Bearer(header)
	switch {
	case errors.Is(err, token.ErrManyBearers):
		return azure.Caller{}, unauthenticated("There is more than one access token.")
	case err != nil:
		return azure.Caller{}, unauthenticated("Access token is empty.")
	}
	caller, err := h.cfg.Verifier.Verify(raw)
	if err != nil {
		return azure.Caller{}, tokenError(err)
	}
	return caller, nil
}

// tokenError maps why a token was refused to Graph's words.
func tokenError(err error) error {
	refused, ok := errors.AsType[*token.VerifyError](err)
	if !ok {
		return err
	}
	switch refused.Reason {
	case token.WrongIssuer:
		return unauthenticated("Access token validation failure. Invalid issuer.")
	case token.WrongAudience:
		return unauthenticated("Access token validation failure. Invalid audience.")
	case token.Expired:
		return unauthenticated("Lifetime validation failed, the token is expired.")
	case token.NotYetValid:
		return unauthenticated("Lifetime validation failed, the token is not yet valid.")
	case token.BadSignature, token.BadAlgorithm:
		return unauthenticated("Access token validation failure. Signature is invalid.")
	case token.Incomplete:
		return unauthenticated("Access token validation failure. The token lacks a claim that identifies its principal.")
	default:
		return unauthenticated("JWT is not well formed.")
	}
}

func unauthenticated(message string) error {
	return azure.Errorf(http.StatusUnauthorized, "InvalidAuthenticationToken", "%s", message)
}
