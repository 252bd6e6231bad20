package keyvault

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// operation is one entry of the plane's table: what it takes to be allowed, and
// what it does.
type operation struct {
	method string
	// pattern is the path, with "{name}" and "{version}" for parameters.
	pattern string
	// action is the data action of role definitions.
	action string
	// noun and permission are the access policy's: "secrets", "get".
	noun, permission string
	run              func(h *Handler, ctx context.Context, r *request) (result, error)
}

// Data actions, as the built-in roles spell them.
const (
	actionGet      = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
	actionSet      = "Microsoft.KeyVault/vaults/secrets/setSecret/action"
	actionMetadata = "Microsoft.KeyVault/vaults/secrets/readMetadata/action"
	actionUpdate   = "Microsoft.KeyVault/vaults/secrets/update/action"
	actionDelete   = "Microsoft.KeyVault/vaults/secrets/delete"
	actionBackup   = "Microsoft.KeyVault/vaults/secrets/backup/action"
	actionRestore  = "Microsoft.KeyVault/vaults/secrets/restore/action"
	actionRecover  = "Microsoft.KeyVault/vaults/secrets/recover/action"
	actionPurge    = "Microsoft.KeyVault/vaults/secrets/purge/action"
	actionContacts = "Microsoft.KeyVault/vaults/certificatecontacts/read"
)

// operations lists every request that the plane serves. The first entry whose
// pattern and method fit is taken: fixed segments stand above parameters.
var operations = []operation{
	{http.MethodGet, "secrets", actionMetadata, "secrets", "list", (*Handler).listSecrets},
	{http.MethodPost, "secrets/restore", actionRestore, "secrets", "restore", (*Handler).restoreSecret},
	{http.MethodGet, "secrets/{name}", actionGet, "secrets", "get", (*Handler).getSecret},
	{http.MethodPut, "secrets/{name}", actionSet, "secrets", "set", (*Handler).setSecret},
	{http.MethodPatch, "secrets/{name}", actionUpdate, "secrets", "set", (*Handler).updateSecret},
	{http.MethodDelete, "secrets/{name}", actionDelete, "secrets", "delete", (*Handler).deleteSecret},
	{http.MethodGet, "secrets/{name}/versions", actionMetadata, "secrets", "list", (*Handler).listVersions},
	{http.MethodPost, "secrets/{name}/backup", actionBackup, "secrets", "backup", (*Handler).backupSecret},
	{http.MethodGet, "secrets/{name}/{version}", actionGet, "secrets", "get", (*Handler).getSecret},
	{http.MethodPatch, "secrets/{name}/{version}", actionUpdate, "secrets", "set", (*Handler).updateSecret},
	{http.MethodGet, "deletedsecrets", actionMetadata, "secrets", "list", (*Handler).listDeletedSecrets},
	{http.MethodGet, "deletedsecrets/{name}", actionMetadata, "secrets", "get", (*Handler).getDeletedSecret},
	{http.MethodDelete, "deletedsecrets/{name}", actionPurge, "secrets", "purge", (*Handler).purgeDeletedSecret},
	{http.MethodPost, "deletedsecrets/{name}/recover", actionRecover, "secrets", "recover", (*Handler).recoverDeletedSecret},
	{http.MethodGet, "certificates/contacts", actionContacts, "certificates", "managecontacts", (*Handler).getContacts},
}

// unserved are the plane's parts on Azure that Lanyard does not have. They get
// their own answer: a 404 would tell a client that its key does not exist.
var unserved = []string{"keys", "deletedkeys", "certificates", "deletedcertificates", "storage", "deletedstorage", "rng"}

// target is what the path names.
type target struct {
	collection string // "secrets": also for a deleted one, whose scope is the same
	name       string
	version    string
}

var (
	objectName    = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)
	objectVersion = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// route finds the operation of a request. Clients write a trailing slash where
// they leave out the version, and two leading ones where the vault's address
// ended with one; both are read over.
func route(method, escapedPath string, header http.Header) (operation, target, error) {
	segments := strings.Split(strings.TrimSuffix(strings.TrimLeft(escapedPath, "/"), "/"), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return operation{}, target{}, badParameter("The request URI contains an invalid escape sequence: %s", s)
		}
		segments[i] = decoded
	}
	var allowed []string
	for _, op := range operations {
		t, ok := op.match(segments)
		switch {
		case !ok:
		case op.method != method:
			allowed = append(allowed, op.method)
		default:
			return op, t, t.check()
		}
	}
	if len(allowed) > 0 {
		slices.Sort(allowed)
		header.Set("Allow", strings.Join(slices.Compact(allowed), ", "))
		return operation{}, target{}, azure.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed",
			"The method %s is not allowed for this path.", method)
	}
	if slices.ContainsFunc(unserved, func(s string) bool { return azure.EqualFold(s, segments[0]) }) {
		return operation{}, target{}, azure.Errorf(http.StatusNotImplemented, "NotImplemented",
			"This vault holds secrets only: '%s' is not served here.", azure.Fold(segments[0]))
	}
	return operation{}, target{}, azure.Errorf(http.StatusNotFound, "NotFound", "The request URI names nothing that a vault has.")
}

// match compares a path with the operation's pattern. Fixed segments are
// compared without regard to case, as Azure does.
func (op operation) match(segments []string) (target, bool) {
	pattern := strings.Split(op.pattern, "/")
	if len(pattern) != len(segments) {
		return target{}, false
	}
	t := target{collection: op.noun}
	for i, p := range pattern {
		switch {
		case p == "{name}":
			t.name = segments[i]
		case p == "{version}":
			t.version = segments[i]
		case !azure.EqualFold(p, segments[i]):
			return target{}, false
		}
	}
	if strings.Contains(op.pattern, "{name}") && t.name == "" {
		return target{}, false
	}
	return t, true
}

func (t target) check() error {
	if t.name != "" && !objectName.MatchString(t.name) {
		return badParameter("The request URI contains an invalid name: %s", t.name)
	}
	if t.version != "" && !objectVersion.MatchString(t.version) {
		return badParameter("The request URI contains an invalid version: %s", t.version)
	}
	return nil
}

// grantedBy reports whether an access policy has the operation's permission.
// "all" leaves out purge, which Azure wants granted by name.
func (op operation) grantedBy(p AccessPolicy) bool {
	permissions := p.Secrets
	if op.noun == "certificates" {
		permissions = p.Certificates
	}
	return slices.ContainsFunc(permissions, func(have string) bool {
		return azure.EqualFold(have, op.permission) || op.permission != "purge" && azure.EqualFold(have, "all")
	})
}
