package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// refusal is what a service refused: an *azure.Error, with words that say what to
// do.
type refusal struct {
	service string
	refused *azure.Error
}

func (e *refusal) Unwrap() error { return e.refused }

// nextSteps say what to do about a refusal, by its code.
var nextSteps = map[string]string{
	"InvalidResourceNamespace":        "this cloud runs with strictAzure, which has none of Lanyard's own operations: start it without to manage it",
	"SubscriptionNotDisabled":         "`lanyard subscription cancel` cancels it",
	"ResourcesExistingOnSubscription": "or cancel it all the same, with --ignore-resources: what is in it can then be read and deleted",
	"ReadOnlyDisabledSubscription":    "`lanyard subscription enable` enables it again",
	"TenantNotEmpty":                  "`lanyard subscription list` with that tenant's environment file lists them",
	"RotationUnderWay":                "`lanyard keys list` says from when it signs",
	"TooManySigningKeys":              "`lanyard keys list` says when each retires",
}

func (e *refusal) Error() string {
	r := e.refused
	// What comes behind it is ours to say.
	message := strings.TrimSuffix(r.Message, ".")
	text := fmt.Sprintf("%s refused (%d %s, %s): %s", e.service, r.Status, http.StatusText(r.Status), r.Code, message)
	step := nextSteps[r.Code]
	if e.operators() {
		step = "that takes an Owner at the root of the cloud's first tenant: use the environment file that the cloud itself wrote"
	}
	if step != "" {
		text += "; " + step
	}
	return text
}

// operators reports whether the refused action is one of the operator's.
func (e *refusal) operators() bool {
	return e.refused.Code == "AuthorizationFailed" && slices.ContainsFunc([]string{"tenants", "signingKeys", "sealingKeys", "backups"}, func(kind string) bool {
		return strings.Contains(e.refused.Message, "'Microsoft.Authorization/"+kind+"/")
	})
}

// isStatus reports whether an error is a refusal with the HTTP status.
func isStatus(err error, status int) bool {
	refused, ok := errors.AsType[*azure.Error](err)
	return ok && refused.Status == status
}

// isCode reports whether an error is a refusal with one of these codes.
func isCode(err error, codes ...string) bool {
	refused, ok := errors.AsType[*azure.Error](err)
	return ok && slices.Contains(codes, refused.Code)
}
