package directory

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

const (
	maxIdentifierURIs = 20  // Lanyard's own, so that deleting fits one transaction
	maxIdentifierURI  = 255 // characters, as in Graph
	maxSecrets        = 50  // Lanyard's own: every token request compares with each
	// secretLifetime is what Graph gives a secret that is asked for without an
	// end.
	secretLifetime = 2 // years
)

// CreateApplication makes an application and its service principal. The
// identifier URIs must be nobody else's in the tenant: neither another
// application's nor one of the cloud's services'.
func (d *Directory) CreateApplication(tx *store.Tx, tenantID, displayName string, identifierURIs ...string) (Application, Principal, error) {
	app, err := d.RegisterApplication(tx, Application{
		TenantID: tenantID, DisplayName: displayName, IdentifierURIs: identifierURIs,
	})
	if err != nil {
		return Application{}, Principal{}, err
	}
	p, err := d.CreateServicePrincipal(tx, tenantID, app.AppID)
	return app, p, err
}

// checkIdentifierURI refuses what is not an absolute URI, and what already
// means something else: a service of the cloud, or, as "api://{GUID}", another
// application with that client ID.
func (d *Directory) checkIdentifierURI(uri, appID string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" || (u.Host == "" && u.Opaque == "") || u.Fragment != "" ||
		len(uri) > maxIdentifierURI || strings.ContainsAny(uri, " \t\r\n") {
		return errInvalid("identifierUris", "Application", "'"+uri+"' is not an absolute URI of at most 255 characters.")
	}
	for _, service := range d.services {
		if service.Names(uri) {
			return errTaken("identifierUris")
		}
	}
	if id, ok := strings.CutPrefix(foldURI(uri), "api://"); ok {
		if guid, isGUID := canonicalGUID(id); isGUID && guid != appID {
			return errInvalid("identifierUris", "Application",
				"'"+uri+"' stands for the application with that client ID, and need not be given.")
		}
	}
	return nil
}

// SetAccessTokenVersion sets which version of tokens an application wants as a
// resource: 1, 2, or 0 for the default, which is 1.
func (d *Directory) SetAccessTokenVersion(tx *store.Tx, tenantID, appID string, version int) error {
	if version < 0 || version > 2 {
		return errInvalid("requestedAccessTokenVersion", "Application", "It is 1, 2 or null.")
	}
	app, err := readApplication(tx, tenantID, appID)
	if err != nil {
		return err
	}
	app.AccessTokenVersion = version
	return store.PutJSON(tx, key(applications, app.TenantID, app.ObjectID), app)
}

// AddSecret adds a client secret that is valid at once to the application with
// the given client ID, and gives its text, which is not kept. A zero end means
// two years from now, as in Graph.
func (d *Directory) AddSecret(tx *store.Tx, tenantID, appID, displayName string, end time.Time) (Secret, string, error) {
	return d.IssueSecret(tx, tenantID, appID, Secret{DisplayName: displayName, End: end})
}

// IssueSecret adds a client secret like [Directory.AddSecret], with the display
// name, the times and the place that s gives. A zero start means now, and a zero
// end two years after the start.
func (d *Directory) IssueSecret(tx *store.Tx, tenantID, appID string, s Secret) (Secret, string, error) {
	now := d.now().UTC()
	if s.Start.IsZero() {
		s.Start = now
	}
	if s.End.IsZero() {
		s.End = s.Start.AddDate(secretLifetime, 0, 0)
	}
	switch {
	case !s.End.After(now):
		return Secret{}, "", errInvalid("passwordCredentials", "Application", "The end date is in the past.")
	case !s.End.After(s.Start):
		return Secret{}, "", errInvalid("passwordCredentials", "Application", "The end date is not after the start date.")
	case utf8.RuneCountInString(s.DisplayName) > maxDisplayName:
		return Secret{}, "", errInvalid("passwordCredentials", "Application", "The display name has more than 256 characters.")
	}
	app, err := readApplication(tx, tenantID, appID)
	if err != nil {
		return Secret{}, "", err
	}
	if len(app.Secrets) >= maxSecrets {
		return Secret{}, "", errBadRequest("The application has %d client secrets, which is the most it can have.", maxSecrets)
	}
	secret, text := newSecret()
	secret.DisplayName, secret.OnPrincipal = s.DisplayName, s.OnPrincipal
	secret.Start, secret.End = s.Start.UTC(), s.End.UTC()
	app.Secrets = append(app.Secrets, secret)
	return secret, text, store.PutJSON(tx, key(applications, app.TenantID, app.ObjectID), app)
}

// RemoveSecret ends the secret with the given key ID, which need not exist.
func (d *Directory) RemoveSecret(tx *store.Tx, tenantID, appID, keyID string) error {
	app, err := readApplication(tx, tenantID, appID)
	if err != nil {
		return err
	}
	app.Secrets = slices.DeleteFunc(app.Secrets, func(s Secret) bool { return s.KeyID == keyID })
	return store.PutJSON(tx, key(applications, app.TenantID, app.ObjectID), app)
}

// readApplication reads the application with the given client ID; Graph's 404
// if there is none in the tenant.
func readApplication(tx *store.Tx, tenantID, appID string) (Application, error) {
	guard, _, err := store.GetJSON[clientGuard](tx, key(clients, appID))
	if errors.Is(err, store.ErrNotFound) {
		return Application{}, errNotFound(appID)
	}
	if err != nil {
		return Application{}, err
	}
	if guard.Application == "" || !azure.EqualFold(guard.TenantID, tenantID) {
		return Application{}, errNotFound(appID)
	}
	app, _, err := store.GetJSON[Application](tx, key(applications, guard.TenantID, guard.Application))
	return app, err
}
