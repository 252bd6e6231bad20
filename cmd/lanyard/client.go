package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/lanyard-id/lanyard/internal/server"
)

// tokenRequest is a client-credentials request: a secret or an assertion.
type tokenRequest struct {
	tenant, clientID, secret, assertion, scope string
}

// getToken asks the token service for an access token.
func getToken(ctx context.Context, env server.Environment, r tokenRequest) (string, error) {
	client, err := env.Client()
	if err != nil {
		return "", err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {r.clientID}, "scope": {r.scope}}
	if r.assertion != "" {
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", r.assertion)
	} else {
		form.Set("client_secret", r.secret)
	}
	endpoint := env.Endpoints.ActiveDirectory + "/" + url.PathEscape(r.tenant) + "/oauth2/v2.0/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return "", notReached(env, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("the token service answered %s without a document", resp.Status)
	}
	if resp.StatusCode != http.StatusOK || answer.AccessToken == "" {
		return "", fmt.Errorf("the token service refused (%s, %s): %s", resp.Status, answer.Error, answer.Description)
	}
	return answer.AccessToken, nil
}

// notReached says why a request did not reach the cloud of an environment file, and
// what to do about it.
func notReached(env server.Environment, err error) error {
	at := env.DialAddress()
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("no cloud answers at %s: start it with `lanyard up`: %w", at, err)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("the certificate of the cloud at %s has ended, or this machine's clock is wrong: %w", at, err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("what answers at %s is not the cloud of the environment file, by the authority %s: "+
			"name the file that this cloud wrote, with --env-file or LANYARD_ENV_FILE: %w", at, env.CAFile, err)
	}
	return err
}
