package graph

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/store"
)

// passwordCredential is a client secret as clients write it.
type passwordCredential struct {
	KeyID       string `json:"keyId"`
	DisplayName string `json:"displayName"`
	SecretText  string `json:"secretText"`
	period
}

// passwordWrite is the property passwordCredentials of a write; nil: not given.
type passwordWrite struct{ credentials []passwordCredential }

func takePasswords(b body) (*passwordWrite, error) {
	if !b.has("passwordCredentials") {
		return nil, nil
	}
	w := &passwordWrite{}
	_, err := b.takeInto(applicationKind.resource, "passwordCredentials", &w.credentials)
	return w, err
}

// keep leaves an application those of its secrets that the write names. It can
// name no new one: the service alone makes secrets.
func (w *passwordWrite) keep(app *directory.Application) error {
	if w == nil {
		return nil
	}
	var named []string
	for _, c := range w.credentials {
		known := slices.ContainsFunc(app.Secrets, func(s directory.Secret) bool {
			return !s.OnPrincipal && azure.EqualFold(s.KeyID, c.KeyID)
		})
		if !known {
			return badRequest("New password credentials must be generated with service actions.")
		}
		named = append(named, azure.Fold(c.KeyID))
	}
	app.Secrets = slices.DeleteFunc(app.Secrets, func(s directory.Secret) bool {
		return !s.OnPrincipal && !slices.Contains(named, s.KeyID)
	})
	return nil
}

// addPasswords makes the secrets of a new application, and gives their text by
// key ID.
func (h *Handler) addPasswords(tx *store.Tx, app directory.Application, w *passwordWrite) (map[string]string, error) {
	texts := map[string]string{}
	if w == nil {
		return texts, nil
	}
	for _, c := range w.credentials {
		if c.KeyID != "" || c.SecretText != "" {
			return nil, badRequest("New password credentials must be generated with service actions.")
		}
		s, text, err := h.cfg.Directory.IssueSecret(tx, app.TenantID, app.AppID,
			directory.Secret{DisplayName: c.DisplayName, Start: c.Start, End: c.End})
		if err != nil {
			return nil, err
		}
		texts[s.KeyID] = text
	}
	return texts, nil
}

// showSecrets gives an application's own secrets, or those of its service
// principal, with the text of those that have just been made.
func showSecrets(secrets []directory.Secret, onPrincipal bool, texts map[string]string) []entity {
	shown := []entity{}
	for _, s := range secrets {
		if s.OnPrincipal == onPrincipal {
			shown = append(shown, showSecret(s, texts[s.KeyID]))
		}
	}
	return shown
}

func showSecret(s directory.Secret, text string) entity {
	return entity{
		"customKeyIdentifier": nil, "displayName": orNull(s.DisplayName), "hint": s.Hint, "keyId": s.KeyID,
		"secretText": orNull(text), "startDateTime": instant(s.Start), "endDateTime": instant(s.End),
	}
}

// orNull gives text, or null where it is empty.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (h *Handler) addApplicationPassword(r *request) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	return h.addPassword(r, false, func(tx *store.Tx) (directory.Application, error) {
		return h.cfg.Directory.ApplicationIn(tx, r.tenant(), id)
	})
}

func (h *Handler) removeApplicationPassword(r *request) (result, error) {
	id, err := h.applicationID(r)
	if err != nil {
		return result{}, err
	}
	return h.removePassword(r, false, func(tx *store.Tx) (directory.Application, error) {
		return h.cfg.Directory.ApplicationIn(tx, r.tenant(), id)
	})
}

// addPassword makes a secret and answers with its text, which is shown this once.
func (h *Handler) addPassword(r *request, onPrincipal bool, find func(*store.Tx) (directory.Application, error)) (result, error) {
	b, err := readBody(r, true)
	if err != nil {
		return result{}, err
	}
	var c passwordCredential
	if _, err := body(b).takeInto(applicationKind.resource, "passwordCredential", &c); err != nil {
		return result{}, err
	}
	if c.SecretText != "" || c.KeyID != "" {
		return result{}, badRequest("The text and the key ID of a password credential are made by the service, and cannot be given.")
	}
	var made directory.Secret
	var text string
	err = h.update(r.http.Context(), func(tx *store.Tx) error {
		app, err := find(tx)
		if err != nil {
			return err
		}
		made, text, err = h.cfg.Directory.IssueSecret(tx, app.TenantID, app.AppID, directory.Secret{
			DisplayName: c.DisplayName, Start: c.Start, End: c.End, OnPrincipal: onPrincipal,
		})
		return err
	})
	if err != nil {
		return result{}, err
	}
	e := showSecret(made, text)
	e["@odata.context"] = r.metadata("microsoft.graph.passwordCredential")
	return result{status: http.StatusOK, body: e}, nil
}

func (h *Handler) removePassword(r *request, onPrincipal bool, find func(*store.Tx) (directory.Application, error)) (result, error) {
	b, err := readBody(r, false)
	if err != nil {
		return result{}, err
	}
	var keyID string
	if json.Unmarshal(b["keyId"], &keyID) != nil || !azure.IsGUID(keyID) {
		return result{}, malformedBody("The request body must have the member 'keyId', a GUID.")
	}
	return noContent, h.update(r.http.Context(), func(tx *store.Tx) error {
		app, err := find(tx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(app.Secrets, func(s directory.Secret) bool {
			return s.OnPrincipal == onPrincipal && azure.EqualFold(s.KeyID, keyID)
		})
		if i < 0 {
			return badRequest("No password credential found with keyId '%s'.", keyID)
		}
		return h.cfg.Directory.RemoveSecret(tx, app.TenantID, app.AppID, app.Secrets[i].KeyID)
	})
}
