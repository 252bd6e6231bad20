package lanyardtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// renewBefore is how long before its end a token is no longer given out of a
// credential's cache.
const renewBefore = 5 * time.Minute

// proof adds to a token request what proves who asks.
type proof func(ctx context.Context, form url.Values) error

// secret proves it by a client secret.
func secret(value string) proof {
	return func(_ context.Context, form url.Values) error {
		form.Set("grant_type", "client_credentials")
		form.Set("client_secret", value)
		return nil
	}
}

// credential is an [azcore.TokenCredential] over the cloud's token endpoint.
type credential struct {
	cloud    *Cloud
	clientID string
	proof    proof

	mu     sync.Mutex
	tokens map[string]cached // by tenant and scopes
}

type cached struct {
	token   azcore.AccessToken
	expires time.Time // by the cloud's clock, which ExpiresOn is not
}

func (c *Cloud) newCredential(clientID string, p proof) *credential {
	return &credential{cloud: c, clientID: clientID, proof: p, tokens: map[string]cached{}}
}

// GetToken gives a token for the scopes: the last one, or a new one when that is
// about to expire. The token service's refusal is an [azcore.ResponseError] whose
// ErrorCode is the AADSTS number, such as "AADSTS700213".
func (c *credential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(options.Scopes) == 0 {
		return azcore.AccessToken{}, errors.New("lanyardtest: GetToken needs a scope")
	}
	tenant := options.TenantID
	if tenant == "" {
		tenant = c.cloud.TenantID
	}
	scope := strings.Join(options.Scopes, " ")
	key := tenant + " " + scope
	if options.Claims == "" {
		c.mu.Lock()
		last, ok := c.tokens[key]
		c.mu.Unlock()
		if ok && c.cloud.Now().Before(last.expires.Add(-renewBefore)) {
			return last.token, nil
		}
	}
	form := url.Values{"client_id": {c.clientID}, "scope": {scope}}
	if options.Claims != "" {
		form.Set("claims", options.Claims)
	}
	if err := c.proof(ctx, form); err != nil {
		return azcore.AccessToken{}, err
	}
	token, lifetime, err := c.cloud.requestToken(ctx, tenant, form)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	c.mu.Lock()
	c.tokens[key] = cached{token: token, expires: c.cloud.Now().Add(lifetime)}
	c.mu.Unlock()
	return token, nil
}

// requestToken sends a token request.
func (c *Cloud) requestToken(ctx context.Context, tenant string, form url.Values) (azcore.AccessToken, time.Duration, error) {
	endpoint := c.Endpoints.ActiveDirectory + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/token"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return azcore.AccessToken{}, 0, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.client.Do(r)
	if err != nil {
		return azcore.AccessToken{}, 0, err
	}
	defer response.Body.Close()
	body, err := runtime.Payload(response) // and leaves it there for the error's text
	if err != nil {
		return azcore.AccessToken{}, 0, err
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
		ErrorCodes  []int   `json:"error_codes"`
	}
	decoding := json.Unmarshal(body, &answer)
	if response.StatusCode != http.StatusOK {
		code := answer.Error
		if len(answer.ErrorCodes) > 0 {
			code = fmt.Sprintf("AADSTS%d", answer.ErrorCodes[0])
		}
		return azcore.AccessToken{}, 0, runtime.NewResponseErrorWithErrorCode(response, code)
	}
	if decoding != nil || answer.AccessToken == "" {
		return azcore.AccessToken{}, 0, errors.New("lanyardtest: the token endpoint answered without a token")
	}
	lifetime := time.Duration(answer.ExpiresIn * float64(time.Second))
	return azcore.AccessToken{Token: answer.AccessToken, ExpiresOn: time.Now().Add(lifetime)}, lifetime, nil
}
