package sidecar

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/exchange"
	"github.com/lanyard-id/lanyard/internal/imds"
)

// source gives the tokens that a pod's requests ask for.
type source struct {
	clientID string
	tokens   imds.Source // by client ID
}

// Token chooses the identity and gives its token. A request without a selector
// means the service account's own identity; any client ID may be named, since it
// is the token service that decides on it. An object or resource ID can be that of
// the service account's own identity alone, whose token says what it is: nobody
// can look others up from here, and a wrong one must not be guessed at.
func (s *source) Token(ctx context.Context, r imds.Request) (imds.Token, error) {
	clientID := s.clientID
	if r.Selector.Kind == imds.ByClientID {
		clientID = r.Selector.Value
	}
	switch {
	case clientID == "":
		return imds.Token{}, invalidRequest("The service account of this pod names no identity: give client_id, or annotate it with azure.workload.identity/client-id.")
	case !exchange.IsClientID(clientID):
		return imds.Token{}, invalidRequest("The service account of this pod is annotated with the client ID '" + clientID + "', which is no GUID.")
	}
	chosen := r
	chosen.Selector = imds.Selector{Kind: imds.ByClientID, Value: clientID}
	token, err := s.tokens.Token(ctx, chosen)
	if err != nil {
		return imds.Token{}, refusal(err)
	}
	if err := checkSelector(r.Selector, token, clientID); err != nil {
		return imds.Token{}, err
	}
	return token, nil
}

func invalidRequest(message string) *azure.Error {
	return &azure.Error{Status: http.StatusBadRequest, Code: "invalid_request", Message: message}
}

// checkSelector refuses an object or resource ID that the token is not of.
func checkSelector(s imds.Selector, token imds.Token, clientID string) error {
	var is, parameter string
	claims := claimsOf(token.AccessToken)
	switch s.Kind {
	case imds.ByObjectID:
		is, parameter = claims.ObjectID, "object_id"
	case imds.ByResourceID:
		is, parameter = claims.ResourceID, "msi_res_id"
	default:
		return nil
	}
	if is != "" && azure.EqualFold(is, s.Value) {
		return nil
	}
	have := "; its " + parameter + " is '" + is + "'"
	if is == "" {
		have = ", and its token does not say its " + parameter
	}
	return invalidRequest("Identity not found: the service account of this pod stands for the identity with client_id '" +
		clientID + "'" + have + ". A workload identity selects others by client_id only.")
}

// tokenClaims are the few claims that are read of a token.
type tokenClaims struct {
	ObjectID   string `json:"oid"`
	ResourceID string `json:"xms_mirid"`
	NotBefore  int64  `json:"nbf"`
}

// claimsOf reads a token's claims without verifying it: it has just come from the
// token service, and decides on nothing but which of its own identities the pod
// may be given. A token that cannot be read, as those of some resources, has none.
func claimsOf(token string) tokenClaims {
	var claims tokenClaims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return tokenClaims{}
	}
	return claims
}

// exchanging is the source behind the cache: one exchange for each token.
func exchanging(client *exchange.Client, tenantID string, log *slog.Logger) imds.Source {
	return imds.SourceFunc(func(ctx context.Context, r imds.Request) (imds.Token, error) {
		answer, err := client.Do(ctx, exchange.Request{Tenant: tenantID, ClientID: r.Selector.Value, Scope: exchange.Scope(r.Resource)})
		var token exchange.Token
		if err == nil {
			token, err = answer.Token()
		}
		if err != nil {
			log.WarnContext(ctx, "no token", "clientId", r.Selector.Value, "resource", r.Resource, "error", err)
			return imds.Token{}, err
		}
		log.InfoContext(ctx, "token", "clientId", r.Selector.Value, "resource", r.Resource, "expires", token.Expires)
		notBefore := token.Received
		if nbf := claimsOf(token.AccessToken).NotBefore; nbf > 0 {
			notBefore = time.Unix(nbf, 0)
		}
		return imds.Token{AccessToken: token.AccessToken, ClientID: r.Selector.Value, NotBefore: notBefore, Expires: token.Expires}, nil
	})
}

// refusal puts a failure into the words of IMDS. What the token service refuses
// is 400, as it is on a machine, with the service's own description: it says which
// federated credential is missing. What may pass is 429 or 503, which clients try
// again.
func refusal(err error) error {
	if file, ok := errors.AsType[*exchange.TokenFileError](err); ok {
		return &azure.Error{Status: http.StatusInternalServerError, Code: "server_error", Message: file.Error()}
	}
	e, ok := errors.AsType[*azure.Error](err)
	switch {
	case !ok && errors.Is(err, context.Canceled):
		return err
	case !ok:
		return &azure.Error{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Message: "The token service gives no answer: " + err.Error()}
	case e.Status == http.StatusTooManyRequests:
		return &azure.Error{Status: e.Status, Code: "too_many_requests", Message: e.Message, RetryAfter: e.RetryAfter}
	case e.Status < 400 || e.Status >= 500:
		return &azure.Error{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Message: e.Message, RetryAfter: e.RetryAfter}
	case e.Code == "invalid_scope": // what IMDS calls a resource is the scope of the exchange
		return &azure.Error{Status: http.StatusBadRequest, Code: "invalid_resource", Message: e.Message}
	default:
		return &azure.Error{Status: http.StatusBadRequest, Code: e.Code, Message: e.Message}
	}
}
