package tokenproxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/exchange"
)

// passedOn are the headers of the token service's answer that the client gets.
var passedOn = []string{"Content-Type", "Retry-After", "X-Ms-Request-Id", "Client-Request-Id", "X-Ms-Ests-Server", "X-Ms-Clitelem"}

// token answers a token request.
func (p *Proxy) token(w http.ResponseWriter, r *http.Request, tenant string) {
	start := time.Now()
	correlation := r.Header.Get("client-request-id")
	if !exchange.IsClientID(correlation) { // a GUID too
		correlation = ""
	}
	// Who asked, and for what, as far as it is known.
	attributes := []any{"remote", r.RemoteAddr, "tenant", limited(tenant), "correlationId", correlation}
	answer, err := p.answer(w, r, tenant, correlation, &attributes)
	result := resultIssued
	if err != nil {
		known := p.publicError(r.Context(), err)
		result = resultOf(known.Status)
		attributes = append(attributes, "error", err)
		writeError(w, known, correlation)
	} else {
		if answer.Status != http.StatusOK {
			result = resultRefused
			attributes = append(attributes, "status", answer.Status)
		}
		p.passOn(w, answer)
	}
	took := time.Since(start)
	p.metrics.observe(result, took)
	level := slog.LevelInfo
	if result == resultThrottled { // whoever asks without end does not fill the log
		level = slog.LevelDebug
	}
	p.log.Log(r.Context(), level, "token request", append(attributes, "result", result, "took", took)...)
}

// answer decides on a token request, and gives the token service's answer. An
// error for the client is an *azure.Error.
func (p *Proxy) answer(w http.ResponseWriter, r *http.Request, tenant, correlation string, attributes *[]any) (*exchange.Answer, error) {
	if r.Method != http.MethodPost {
		return nil, azure.Errorf(http.StatusMethodNotAllowed, "invalid_request", "The endpoint only accepts POST requests. Received a %s request.", limited(r.Method))
	}
	leave, refused := p.limits.enter(r.RemoteAddr)
	if refused != nil {
		return nil, refused
	}
	defer leave()
	tenant, refused = p.tenant(tenant)
	if refused != nil {
		return nil, refused
	}
	asked, refused := readRequest(w, r)
	if refused != nil {
		return nil, refused
	}
	*attributes = append(*attributes, "clientId", asked.clientID)
	if refused = checkAudience(asked.assertion, p.cfg.Audience); refused != nil {
		return nil, refused
	}
	done, refused := p.limits.decide()
	if refused != nil {
		return nil, refused
	}
	defer done()
	who, err := p.reviews.authenticate(r.Context(), asked.assertion)
	if err != nil {
		return nil, err
	}
	*attributes = append(*attributes, "user", who.Username, "pod", who.pod())
	if err := p.reviews.authorize(r.Context(), who, asked.clientID); err != nil {
		return nil, err
	}
	answer, err := p.exchange.Do(r.Context(), exchange.Request{
		Tenant: tenant, ClientID: asked.clientID, Scope: asked.scope, Claims: asked.claims, ClientInfo: asked.clientInfo,
		CorrelationID: correlation,
	})
	switch {
	case err != nil:
		if _, own := errors.AsType[*exchange.TokenFileError](err); own {
			return nil, err
		}
		return nil, unavailable(err, "The token service gives no answer; the token proxy's log says why.")
	case answer.Status != http.StatusOK && (answer.Status < 400 || answer.Status > 599):
		return nil, unavailable(nil, "The token service answered with status %d.", answer.Status)
	}
	return answer, nil
}

// passOn gives the client the token service's answer as it is.
func (p *Proxy) passOn(w http.ResponseWriter, answer *exchange.Answer) {
	for _, name := range passedOn {
		if values := answer.Header.Values(name); len(values) > 0 {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body)
}

// publicError is what the client may know of an error; the rest is logged.
func (p *Proxy) publicError(ctx context.Context, err error) *azure.Error {
	if known, ok := errors.AsType[*azure.Error](err); ok {
		if known.Err != nil {
			p.log.ErrorContext(ctx, "a token request failed", "told", known.Message, "error", known.Err)
		}
		return known
	}
	p.log.ErrorContext(ctx, "a token request failed", "error", err)
	return azure.Errorf(http.StatusInternalServerError, "server_error", "The token proxy failed; its log says why.")
}
