package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// checkIdentity refuses to mix two clusters up: what one's service accounts may
// do, the other's would come to.
func (r *attachRun) checkIdentity(ctx context.Context) error {
	cloud := r.arm.env.Endpoints.ResourceManager
	if b := r.before; b != nil {
		if !azure.EqualFold(b.ResourceID, r.id.String()) || b.Cloud != cloud {
			return fmt.Errorf("this cluster is attached already, as %s of the cloud %s: take it out with `lanyard detach %s` first, by that cloud's environment file, or with --cluster-only where that cloud is no more", b.ResourceID, b.Cloud, b.ResourceID)
		}
		return nil
	}
	if r.registered == nil || r.registered.Properties.Miscellaneous["enrolled"] != "true" || r.replace {
		return nil
	}
	same, err := r.isEnrolled(ctx)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s is attached, and this cluster is not it: its keys are others. Identities of that cluster would be this one's. "+
			"Take another name; or, if that cluster is no more and this one takes its place, say --replace-cluster", r.id)
	}
	return nil
}

// isEnrolled reports whether this cluster is the registered one: it has a key that
// the cloud knows of that one. A cluster that Helm has the agent in remembers
// nothing of its own.
func (r *attachRun) isEnrolled(ctx context.Context) (bool, error) {
	profile := r.registered.Properties.Issuer
	var known json.RawMessage
	var err error
	switch {
	case r.issuer.URL == profile.IssuerURL:
		known, err = r.publishedKeys(ctx, profile.IssuerURL)
	case r.issuer.URL == profile.SelfHostedURL:
		var trusted struct {
			Properties struct {
				JWKS json.RawMessage `json:"jwks"`
			} `json:"properties"`
		}
		err = r.arm.do(ctx, http.MethodGet, "/providers/Lanyard.Directory/trustedIssuers/"+trustedIssuerName(r.id)+cloudVersion, nil, &trusted)
		if isCode(err, "TrustedIssuerNotFound") {
			// The issuer publishes its own keys: nothing that is enrolled here can
			// put others in their place.
			return true, nil
		}
		known = trusted.Properties.JWKS
	default:
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the keys that the cloud knows of %s: %w", r.id.Name(), err)
	}
	theirs, err := keyIDs(known)
	if err != nil {
		return false, err
	}
	ours, err := keyIDs(r.issuer.JWKS)
	if err != nil {
		return false, err
	}
	for id := range ours {
		if theirs[id] {
			return true, nil
		}
	}
	return false, nil
}

// publishedKeys reads the key set of an issuer that the cloud has assigned.
func (r *attachRun) publishedKeys(ctx context.Context, issuer string) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"openid/v1/jwks", nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.arm.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// keyIDs are the IDs of a JWK set.
func keyIDs(set json.RawMessage) (map[string]bool, error) {
	var parsed struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(set, &parsed); err != nil {
		return nil, fmt.Errorf("reading a key set: %w", err)
	}
	ids := map[string]bool{}
	for _, key := range parsed.Keys {
		ids[key.ID] = true
	}
	delete(ids, "")
	return ids, nil
}
